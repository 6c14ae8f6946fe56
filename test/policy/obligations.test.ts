import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readObligations } from '../../src/policy/obligations.ts';

const NOTHING = {
  setHeaders: [],
  removeResponseHeaders: [],
  maximumBodyBytes: null,
  deadlineMs: null,
  userAuthentication: null,
  rateClasses: [],
};

/** What one or several obligations come to; the reason of the refusal where they are refused. */
function read(...obligations: unknown[]) {
  const result = readObligations(obligations);
  return result.ok ? result.value : result.denial.reason;
}

const setHeader = (name: unknown, value: unknown = 'v') => ({ type: 'set_header', name, value });
const removeHeader = (name: unknown) => ({ type: 'remove_response_header', name });

describe('obligations', () => {
  it('may be none', () => {
    expect(read()).toEqual(NOTHING);
  });

  it('are read by type', () => {
    expect(
      read(
        setHeader('X-Tenant', 'p1'),
        setHeader('x-trace', ''),
        removeHeader('Server'),
        removeHeader('server'),
        { type: 'maximum_body_bytes', bytes: 0 },
        { type: 'deadline_ms', milliseconds: 1500 },
        { type: 'rate_class', name: 'few' },
        { type: 'user_authentication', acr_values: ['phr', 'mfa'], max_age: 300 },
      ),
    ).toEqual({
      setHeaders: [
        ['x-tenant', 'p1'],
        ['x-trace', ''],
      ],
      removeResponseHeaders: ['server'],
      maximumBodyBytes: 0,
      rateClasses: [{ name: 'few', key: null }],
      deadlineMs: 1500,
      userAuthentication: { acrValues: ['phr', 'mfa'], maxAge: 300 },
    });
  });

  it('of user_authentication one demand may be null, not both, and there is at most one', () => {
    const demand = (acrs: unknown, age: unknown) => ({ type: 'user_authentication', acr_values: acrs, max_age: age });
    expect(read(demand(['mfa'], null))).toMatchObject({ userAuthentication: { acrValues: ['mfa'], maxAge: null } });
    expect(read(demand(null, 0))).toMatchObject({ userAuthentication: { acrValues: null, maxAge: 0 } });
    for (const [acrs, age] of [
      [null, null],
      [[], null],
      ['mfa', null],
      [['a b'], null],
      [['a"'], null],
      [[''], null],
      [[1], null],
      [Array(17).fill('a'), null],
      [['a'], -1],
      [['a'], 1.5],
      [['a'], '60'],
      [['a'], 1e9],
      [['a'], [60]],
    ]) {
      expect(read(demand(acrs, age)), JSON.stringify([acrs, age])).toBe('policy.malformed');
    }
    expect(read({ type: 'user_authentication', acr_values: ['a'] })).toBe('policy.malformed');
    expect(read(demand(['a'], null), demand(['b'], null))).toBe('policy.malformed');
  });

  it('of several bounds the strictest counts, in any order', () => {
    const bytes = [30, 10, 20].map((limit) => ({ type: 'maximum_body_bytes', bytes: limit }));
    const deadlines = [10, 30, 20].map((milliseconds) => ({ type: 'deadline_ms', milliseconds }));
    expect(read(...bytes, ...deadlines)).toMatchObject({ maximumBodyBytes: 10, deadlineMs: 10 });
  });
});

describe('policy.unknown_obligation', () => {
  it.each(['', 'set_headers', 'SET_HEADER', 'require_mfa', 'toString', '__proto__', 'constructor'])(
    'refuses the type %j',
    (type) => {
      expect(read({ type })).toBe('policy.unknown_obligation');
    },
  );

  it.each([
    'Authorization',
    'authorization',
    'Cookie',
    'DPoP',
    'Proxy-Authorization',
    'Client-Cert',
    'Connection',
    'Keep-Alive',
    'TE',
    'Trailer',
    'Transfer-Encoding',
    'transfer_encoding',
    'Upgrade',
    'Content-Length',
    'content_length',
    'Host',
    'Expect',
    'Via',
    'Forwarded',
    'X-Forwarded-For',
    'X_Forwarded_For',
    'X-HTTP-Method-Override',
    'Sallyport-Subject',
    'SALLYPORT_JOB',
    'sallyport-anything',
  ])('refuses to set %s, which only the gateway writes', (name) => {
    expect(read(setHeader(name))).toBe('policy.unknown_obligation');
  });

  it.each(['Content-Length', 'transfer-encoding', 'Connection', 'Upgrade', 'Trailer'])(
    'refuses to remove %s from the answer',
    (name) => {
      expect(read(removeHeader(name))).toBe('policy.unknown_obligation');
    },
  );
});

describe('policy.malformed', () => {
  it.each([
    null,
    'set_header',
    1,
    true,
    [],
    [setHeader('x-a')],
    {},
    { type: null },
    { type: 1 },
    { type: ['set_header'] },
  ])('refuses the obligation %j', (obligation) => {
    expect(read(obligation)).toBe('policy.malformed');
  });

  it.each([
    { type: 'set_header', name: 'x-a' },
    { type: 'set_header', value: 'v' },
    { ...setHeader('x-a'), append: true },
    { type: 'remove_response_header' },
    { ...removeHeader('server'), value: 'v' },
    { type: 'maximum_body_bytes' },
    { type: 'maximum_body_bytes', value: 1 },
    { type: 'deadline_ms', seconds: 1 },
  ])('refuses missing and further members: %j', (obligation) => {
    expect(read(obligation)).toBe('policy.malformed');
  });

  it.each(['', ' ', 'x a', 'x:a', 'x\r\ny', 'x\u0000', 'ü', 'x"', '(x)', null, 1, ['x-a'], 'x'.repeat(129)])(
    'refuses the field name %j',
    (name) => {
      expect(read(setHeader(name))).toBe('policy.malformed');
      expect(read(removeHeader(name))).toBe('policy.malformed');
    },
  );

  it.each([
    'a\r\nb',
    'a\nb',
    'a\u0000',
    '\u007f',
    'a\tb',
    ' a',
    'a ',
    ' ',
    'ü',
    null,
    1,
    true,
    ['v'],
    'v'.repeat(4097),
  ])('refuses the field value %j', (value) => {
    expect(read(setHeader('x-a', value))).toBe('policy.malformed');
  });

  it('refuses two values for one field, in any spelling', () => {
    expect(read(setHeader('X-A', '1'), setHeader('x-a', '2'))).toBe('policy.malformed');
    expect(read(setHeader('x-a', '1'), setHeader('x_a', '1'))).toBe('policy.malformed');
  });

  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', null, true, [1]])(
    'refuses %j bytes',
    (bytes) => {
      expect(read({ type: 'maximum_body_bytes', bytes })).toBe('policy.malformed');
    },
  );

  it.each([0, -1, 1.5, 3_600_001, '1', null])('refuses a deadline of %j ms', (milliseconds) => {
    expect(read({ type: 'deadline_ms', milliseconds })).toBe('policy.malformed');
  });

  it('refuses more obligations than anybody needs', () => {
    expect(read(...Array.from({ length: 65 }, (_, index) => setHeader(`x-${index}`)))).toBe('policy.malformed');
  });
});

describe('properties of reading obligations', () => {
  const words = fc.constantFrom(
    'set_header',
    'remove_response_header',
    'maximum_body_bytes',
    'rate_class',
    'deadline_ms',
  );
  const obligation = fc.record(
    {
      type: words,
      name: fc.string(),
      value: fc.string({ unit: 'binary' }),
      bytes: fc.integer(),
      milliseconds: fc.integer(),
    },
    { requiredKeys: [] },
  );

  it('whatever is demanded is read without an exception; header fields that come out can be sent', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(obligation, fc.jsonValue()), { maxLength: 4 }), (obligations) => {
        const result = read(...obligations);
        if (typeof result === 'string') return;
        for (const [name, value] of result.setHeaders) {
          const headers = new Headers([[name, value]]);
          expect(headers.get(name)).toBe(value);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('every visible text is a value, and comes out as it is', () => {
    const visible = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) });
    fc.assert(
      fc.property(visible, (value) => {
        expect(read(setHeader('x-a', value))).toMatchObject({ setHeaders: [['x-a', value]] });
      }),
    );
  });
});

describe('rate_class', () => {
  it('names a class, and what is counted together where the policy says so', () => {
    const uses = [
      { type: 'rate_class', name: 'few' },
      { type: 'rate_class', name: 'per_path', key: 'a' },
    ];
    expect(read(...uses)).toMatchObject({
      rateClasses: [
        { name: 'few', key: null },
        { name: 'per_path', key: 'a' },
      ],
    });
  });

  it.each([
    [{ name: 'few' }, { name: 'few', key: 'a' }],
    [{}],
    [{ name: 1 }],
    [{ name: '' }],
    [{ name: 'Few' }],
    [{ name: 'few', key: '' }],
    [{ name: 'few', key: 1 }],
    [{ name: 'few', key: ['a'] }],
    [{ name: 'few', key: 'x'.repeat(1025) }],
    [{ name: 'few', requests: 1 }],
    Array.from({ length: 9 }, (_, n) => ({ name: `c${n}` })),
  ])('policy.malformed: %j', (...uses) => {
    expect(read(...uses.map((use) => ({ type: 'rate_class', ...use })))).toBe('policy.malformed');
  });
});
