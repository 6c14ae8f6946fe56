import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readAnswer } from '../../src/policy/output.ts';

/** The reason of the refusal, or `allowed`. */
function outcomeOf(...values: unknown[]): string {
  const answer = readAnswer(values);
  return answer.ok ? 'allowed' : answer.denial.reason;
}

const NOTHING = {
  setHeaders: [],
  removeResponseHeaders: [],
  maximumBodyBytes: null,
  deadlineMs: null,
  userAuthentication: null,
  rateClasses: [],
};

describe('a positive answer', () => {
  it('is allow: true', () => {
    expect(readAnswer([{ allow: true }])).toEqual({ ok: true, value: { reasons: [], obligations: NOTHING } });
  });

  it('keeps reasons and obligations', () => {
    const answer = {
      allow: true,
      reasons: [{ code: 'covered', message: 'by the first item' }, { code: 'on_call' }],
      requires: { scopes: ['builds:write'] },
      obligations: [{ type: 'maximum_body_bytes', bytes: 10 }],
    };
    expect(readAnswer([answer])).toEqual({
      ok: true,
      value: { reasons: answer.reasons, obligations: { ...NOTHING, maximumBodyBytes: 10 } },
    });
  });
});

describe('policy.undefined', () => {
  it('refuses where the rule has no value', () => {
    expect(outcomeOf()).toBe('policy.undefined');
  });
});

describe('policy.malformed', () => {
  it.each([
    ['null', null],
    ['true', true],
    ['false', false],
    ['a truthy text', 'true'],
    ['an empty text', ''],
    ['a number', 1],
    ['zero', 0],
    ['an empty list', []],
    ['a list with an answer', [{ allow: true }]],
    ['an empty object', {}],
  ])('refuses a decision that is %s', (_, value) => {
    expect(outcomeOf(value)).toBe('policy.malformed');
  });

  it('refuses more than one decision', () => {
    expect(outcomeOf({ allow: true }, { allow: true })).toBe('policy.malformed');
  });

  it.each([undefined, null, 'true', 'yes', 1, 0, [], [true], {}, { allow: true }])('refuses allow: %j', (allow) => {
    expect(outcomeOf({ allow })).toBe('policy.malformed');
  });

  it.each(['Allow', 'allowed', 'deny', 'reason', 'obligation', '', '__proto__', 'constructor', 'toString'])(
    'refuses the unknown member %j',
    (name) => {
      const answer: unknown = JSON.parse(`{"allow":true,${JSON.stringify(name)}:[]}`);
      expect(outcomeOf(answer)).toBe('policy.malformed');
    },
  );

  it.each([
    ['null', null],
    ['a text', 'because'],
    ['an object', { code: 'a' }],
    ['a list of texts', ['because']],
    ['an item without code', [{ message: 'a' }]],
    ['an item with an unknown member', [{ code: 'a', status: 200 }]],
    ['a code that is no text', [{ code: 1 }]],
    ['an empty code', [{ code: '' }]],
    ['a code with a space', [{ code: 'a b' }]],
    ['a code with a line break', [{ code: 'a\nb' }]],
    ['a code that is too long', [{ code: 'a'.repeat(65) }]],
    ['a message that is no text', [{ code: 'a', message: 1 }]],
    ['a message that is null', [{ code: 'a', message: null }]],
    ['a message that is too long', [{ code: 'a', message: 'b'.repeat(513) }]],
    ['too many items', Array.from({ length: 65 }, () => ({ code: 'a' }))],
    ['a good and a bad item', [{ code: 'a' }, null]],
  ])('refuses reasons that are %s, whatever allow says', (_, reasons) => {
    expect(outcomeOf({ allow: true, reasons })).toBe('policy.malformed');
    expect(outcomeOf({ allow: false, reasons })).toBe('policy.malformed');
  });

  it.each([
    ['null', null],
    ['a list', []],
    ['an unknown member', { scopes: [], acr: 'high' }],
    ['scopes in one text', { scopes: 'builds:write' }],
    ['a scope that is no text', { scopes: [1] }],
    ['an empty scope', { scopes: [''] }],
    ['a scope with a quote, which would end the challenge', { scopes: ['a", error="none'] }],
    ['a scope with a line break', { scopes: ['a\r\nX: y'] }],
    ['a scope with a backslash', { scopes: ['a\\'] }],
    ['a scope with a space', { scopes: ['a b'] }],
    ['a scope that is not ASCII', { scopes: ['ü'] }],
    ['a scope that is too long', { scopes: ['a'.repeat(257)] }],
    ['too many scopes', { scopes: Array.from({ length: 65 }, () => 'a') }],
    ['details that are no list', { authorization_details: { type: 'a' } }],
    ['details that are no objects', { authorization_details: ['a'] }],
    ['details without a type', { authorization_details: [{ actions: [] }] }],
    ['details whose type is no text', { authorization_details: [{ type: 1 }] }],
    ['details that are too large', { authorization_details: [{ type: 'a', b: 'c'.repeat(8192) }] }],
    ['details that are nested too deeply', { authorization_details: [{ type: 'a', b: deep(64) }] }],
  ])('refuses requires that is or has %s, whatever allow says', (_, requires) => {
    expect(outcomeOf({ allow: true, requires })).toBe('policy.malformed');
    expect(outcomeOf({ allow: false, requires })).toBe('policy.malformed');
  });

  it.each([null, {}, 'set_header', 1, true])('refuses obligations: %j', (obligations) => {
    expect(outcomeOf({ allow: true, obligations })).toBe('policy.malformed');
  });
});

describe('policy.unknown_obligation', () => {
  it('refuses an obligation that nobody would fulfil, whatever allow says', () => {
    const obligations = [{ type: 'maximum_body_bytes', bytes: 1 }, { type: 'require_approval' }];
    expect(outcomeOf({ allow: true, obligations })).toBe('policy.unknown_obligation');
    expect(outcomeOf({ allow: false, obligations })).toBe('policy.unknown_obligation');
  });
});

describe('a negative answer', () => {
  const codes = (...names: string[]) => names.map((code) => ({ code }));

  it.each([
    ['policy.denied', codes()],
    ['policy.denied', codes('job_not_allowed', 'operation_unknown')],
    ['policy.denied', codes('insufficient_scopes', 'Insufficient_scope')],
    ['policy.insufficient_scope', codes('insufficient_scope')],
    ['policy.insufficient_scope', codes('not_covered_by_authorization_details', 'insufficient_scope')],
    ['policy.insufficient_authorization_details', codes('not_covered_by_authorization_details', 'job_not_allowed')],
  ])('%s: by the codes of its reasons', (reason, reasons) => {
    expect(outcomeOf({ allow: false, reasons })).toBe(reason);
  });

  it('needs no reasons', () => {
    expect(readAnswer([{ allow: false }])).toEqual({
      ok: false,
      denial: { reason: 'policy.denied', policyReasons: [] },
    });
  });

  it('carries the reasons, and what would do', () => {
    const reasons = [{ code: 'insufficient_scope', message: 'builds:write is missing' }];
    const requires = {
      scopes: ['builds:write'],
      authorization_details: [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1/builds' }],
    };
    expect(readAnswer([{ allow: false, reasons, requires }])).toEqual({
      ok: false,
      denial: { reason: 'policy.insufficient_scope', policyReasons: reasons, requires },
    });
    expect(readAnswer([{ allow: false, reasons, requires: {} }])).toEqual({
      ok: false,
      denial: { reason: 'policy.insufficient_scope', policyReasons: reasons },
    });
  });
});

describe('properties of reading an answer', () => {
  it('whatever the policy says is read without an exception, and allows only as allow: true', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 2 }), (values) => {
        const answer = readAnswer(values);
        if (answer.ok) expect((values[0] as { allow: unknown }).allow).toBe(true);
      }),
    );
  });

  it('a good answer with any one member replaced allows only where allow is still true', () => {
    const good = { allow: true, reasons: [{ code: 'a' }], requires: { scopes: ['a'] }, obligations: [] };
    const member = fc.constantFrom('allow', 'reasons', 'requires', 'obligations', 'other');
    fc.assert(
      fc.property(member, fc.jsonValue(), (name, value) => {
        const answer = { ...good, [name]: value };
        const allowed = readAnswer([answer]).ok;
        if (allowed) expect(answer.allow).toBe(true);
        if (name === 'other' || (name === 'allow' && value !== true)) expect(allowed).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });
});

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}
