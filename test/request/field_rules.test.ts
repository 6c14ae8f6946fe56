import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requestHeaders } from '../../src/config/request_headers.ts';
import { foldFieldName } from '../../src/kernel/fields.ts';
import { applyFieldRules, createFieldRules, type FieldRules } from '../../src/request/field_rules.ts';

const rules = (refuse: string[], strip: string[] = []): FieldRules =>
  createFieldRules([{ refuse, strip }]) as FieldRules;

describe('fields that are not for the upstream', () => {
  it('no names: nothing is looked at', () => {
    expect(createFieldRules([{ refuse: [], strip: [] }])).toBeNull();
    expect(createFieldRules([])).toBeNull();
  });

  it.each([
    ['Impersonate-User'],
    ['impersonate-user'],
    ['IMPERSONATE-USER'],
    ['impersonate_user'],
    ['Impersonate_User'],
    ['Impersonate-Extra-a%2fb'],
    ['impersonate-'],
  ])('request.header_refused: %s', (name) => {
    const refused = applyFieldRules(['Accept', '*/*', name, ''], rules(['impersonate-*']));
    expect(refused).toMatchObject({ ok: false, denial: { reason: 'request.header_refused' } });
  });

  it.each([['X-Impersonate-User'], ['Impersonate'], ['Impersonator'], ['imp-ersonate-user']])(
    '%s is another field',
    (name) => {
      const raw = [name, 'a'];
      expect(applyFieldRules(raw, rules(['impersonate-*']))).toEqual({ ok: true, value: raw });
    },
  );

  it('takes away in any spelling, as often as it stands, and keeps all else as it is', () => {
    const raw = ['A', '1', 'X-Debug', 'on', 'b', '2', 'x_debug', 'on', 'X-DEBUG', '', 'A', '3'];
    expect(applyFieldRules(raw, rules([], ['x-debug']))).toEqual({ ok: true, value: ['A', '1', 'b', '2', 'A', '3'] });
    expect(raw).toHaveLength(12);
  });

  it('lists of route and catalogue count together, and a refusal goes before', () => {
    const both = createFieldRules([
      { refuse: ['a'], strip: ['b'] },
      { refuse: ['c'], strip: ['a'] },
    ]) as FieldRules;
    for (const name of ['a', 'c']) expect(applyFieldRules(['b', '1', name, '1'], both).ok).toBe(false);
    expect(applyFieldRules(['b', '1', 'd', '1'], both)).toEqual({ ok: true, value: ['d', '1'] });
  });

  it('property: what is left holds no name of either list in any spelling, and everything else in order', () => {
    const name = fc.constantFrom('a', 'A', 'a-b', 'A_b', 'a_B', 'ab', 'a-c', 'x', 'X-y', 'x_Y');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, fc.string())),
        fc.subarray(['a', 'a-*', 'x']),
        fc.subarray(['a-b', 'x-*', 'ab']),
        (fields, refuse, strip) => {
          const covered = (list: string[], one: string) =>
            list.some((each) =>
              each.endsWith('*') ? foldFieldName(one).startsWith(each.slice(0, -1)) : foldFieldName(one) === each,
            );
          const made = createFieldRules([{ refuse, strip }]);
          if (made === null) return;
          const result = applyFieldRules(fields.flat(), made);
          expect(result.ok).toBe(!fields.some(([one]) => covered(refuse, one)));
          if (result.ok) expect(result.value).toEqual(fields.filter(([one]) => !covered(strip, one)).flat());
        },
      ),
    );
  });
});

describe('request_headers of a configuration', () => {
  it.each([
    'host',
    'authorization',
    'dpop',
    'content-length',
    'transfer-encoding',
    'connection',
    'content-*',
    'a*',
    '*',
    'd*',
    'Impersonate-User',
    'impersonate_user',
    'imp*ersonate',
    'a b',
    '',
    'a:b',
  ])('%j cannot be refused', (name) => {
    expect(requestHeaders.safeParse({ refuse: [name] }).success).toBe(false);
    expect(requestHeaders.safeParse({ strip: [name] }).success).toBe(false);
  });

  it.each(['impersonate-*', 'x-*', 'cookie', 'x-remote-user', 'x-forwarded-*'])('%j can', (name) => {
    expect(requestHeaders.safeParse({ refuse: [name] }).success).toBe(true);
  });

  it('what ends at the gateway anyway need not be taken away', () => {
    expect(requestHeaders.safeParse({ strip: ['cookie'] }).success).toBe(false);
    expect(requestHeaders.safeParse({ strip: ['x-debug'] }).success).toBe(true);
  });
});
