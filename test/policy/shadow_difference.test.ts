import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deny } from '../../src/kernel/denial.ts';
import { readAnswer } from '../../src/policy/output.ts';
import { differenceOf, wordFor } from '../../src/policy/shadow_difference.ts';

const judged = (answer: unknown) => readAnswer([answer]);
const difference = (live: unknown, candidate: unknown) => differenceOf(judged(live), judged(candidate));
const refusal = (...codes: string[]) => ({ allow: false, reasons: codes.map((code) => ({ code })) });
const ALLOW = { allow: true };
const header = (name: string, value: string) => ({ type: 'set_header', name, value });

describe('the difference of a candidate', () => {
  it.each([
    ['none', ALLOW, ALLOW],
    ['none', ALLOW, { allow: true, reasons: [], obligations: [] }],
    ['none', refusal('a', 'b'), refusal('b', 'a')],
    ['none', refusal('a'), { allow: false, reasons: [{ code: 'a', message: 'said in other words' }] }],
    [
      'none',
      { ...refusal('a'), requires: { scopes: ['x', 'y'] } },
      { ...refusal('a'), requires: { scopes: ['y', 'x'] } },
    ],
    [
      'none',
      { allow: true, obligations: [header('a', '1'), header('b', '2')] },
      { allow: true, obligations: [header('b', '2'), header('a', '1')] },
    ],
    ['allows', refusal('a'), ALLOW],
    ['allows', 'no answer', ALLOW],
    ['refuses', ALLOW, refusal('a')],
    ['refuses', ALLOW, { allow: false }],
    ['reasons', refusal('a'), refusal('b')],
    ['reasons', refusal('a'), refusal('a', 'b')],
    ['reasons', refusal('a'), refusal('insufficient_scope')],
    ['reasons', 'no answer', refusal('a')],
    ['reasons', ALLOW, { allow: true, reasons: [{ code: 'break_glass' }] }],
    ['requires', refusal('a'), { ...refusal('a'), requires: { scopes: ['x'] } }],
    ['obligations', ALLOW, { allow: true, obligations: [header('a', '1')] }],
    [
      'obligations',
      { allow: true, obligations: [header('x-a', 'x-b')] },
      { allow: true, obligations: [header('x-b', 'x-a')] },
    ],
    ['obligations', { allow: true, obligations: [{ type: 'deadline_ms', milliseconds: 10 }] }, ALLOW],
    ['fails', ALLOW, 'yes'],
    ['fails', refusal('a'), { allow: 'false' }],
    ['fails', refusal('a'), { allow: true, obligations: [{ type: 'pay' }] }],
  ])('is %s: %j beside %j', (expected, live, candidate) => {
    expect(difference(live, candidate)).toBe(expected);
  });

  it('is fails where the candidate is undefined or failed and the live policy is not', () => {
    expect(differenceOf(judged(ALLOW), readAnswer([]))).toBe('fails');
    expect(differenceOf(judged(refusal('a')), deny('policy.failed', 'conflict'))).toBe('fails');
    expect(differenceOf(readAnswer([]), readAnswer([]))).toBe('none');
    expect(differenceOf(readAnswer([]), deny('policy.failed'))).toBe('fails');
  });

  it('property: none with itself, and never none where one allows and the other does not', () => {
    const answers = fc.oneof(
      fc.record({
        allow: fc.boolean(),
        reasons: fc.array(fc.record({ code: fc.constantFrom('a', 'b', 'insufficient_scope') }), { maxLength: 3 }),
      }),
      fc.constantFrom('', null, 1, {}, [], { allow: 'true' }),
    );
    fc.assert(
      fc.property(answers, answers, (live, candidate) => {
        expect(difference(live, live)).toBe('none');
        const [left, right] = [judged(live), judged(candidate)];
        if (left.ok !== right.ok) expect(['allows', 'refuses', 'fails']).toContain(differenceOf(left, right));
        if (right.ok && !left.ok) expect(differenceOf(left, right)).toBe('allows');
      }),
    );
  });

  it('names a judgement by one word', () => {
    expect(wordFor(judged(ALLOW))).toBe('allow');
    expect(wordFor(judged(refusal('b', 'a')))).toBe('a');
    expect(wordFor(judged({ allow: false }))).toBe('policy.denied');
    expect(wordFor(readAnswer([]))).toBe('policy.undefined');
  });
});
