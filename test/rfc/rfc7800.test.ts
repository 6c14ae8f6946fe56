import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfirmation } from '../../src/token/confirmation.ts';
import { JKT, TokenBench } from '../token/fixture.ts';

const X5T = 'A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0';
let bench: TokenBench;

beforeAll(async () => {
  bench = await TokenBench.start();
});

afterAll(async () => {
  await bench.stop();
});

describe('RFC 7800 §3.1: confirmations that are understood', () => {
  it.each([
    ['RFC 9449 §6.1: jkt', { jkt: JKT }, { jkt: JKT }],
    ['RFC 8705 §3.1: x5t#S256', { 'x5t#S256': X5T }, { x5tS256: X5T }],
    ['both, which both must hold', { jkt: JKT, 'x5t#S256': X5T }, { jkt: JKT, x5tS256: X5T }],
    ['none', undefined, {}],
  ])('%s', async (_, cnf, confirmation) => {
    expect((await bench.factsOf(bench.token({ claims: { cnf } }))).confirmation).toEqual(confirmation);
  });
});

describe('RFC 7800 §3.1: confirmations that are not understood refuse, and are never "no confirmation"', () => {
  const jktForms: readonly unknown[] = [
    null,
    42,
    true,
    [],
    [JKT],
    {},
    '',
    'text',
    JKT.slice(1),
    `${JKT}A`,
    `${JKT}=`,
    ` ${JKT}`,
    `${JKT}\n`,
    JKT.replace('-', '+'),
    `${JKT.slice(0, -1)}B`,
    'x'.repeat(5000),
  ];
  const forms: readonly unknown[] = [
    null,
    42,
    JKT,
    '',
    true,
    [],
    [{ jkt: JKT }],
    {},
    { kid: 'k' },
    { jwk: { kty: 'EC' } },
    { jku: 'https://as.example.com/jwks' },
    { jkt: JKT, kid: 'k' },
    { JKT },
    { 'x5t#s256': X5T },
    { 'x5t#S256': X5T, x5t: 'x' },
    ...jktForms.map((jkt) => ({ jkt })),
    ...jktForms.map((jkt) => ({ 'x5t#S256': jkt })),
    ...jktForms.map((jkt) => ({ jkt: JKT, 'x5t#S256': jkt })),
  ];

  it.each(forms.map((cnf) => [JSON.stringify(cnf).slice(0, 90), cnf]))('token.confirmation: %s', async (_, cnf) => {
    expect(await bench.reasonOf(bench.token({ claims: { cnf } }))).toBe('token.confirmation');
  });

  it('token.confirmation: __proto__ with a good jkt in it', async () => {
    const payload = JSON.stringify(bench.claims()).replace(/"cnf":\{/, `"cnf":{"__proto__":{"jkt":"${JKT}"},`);
    expect(await bench.reasonOf(bench.sign(bench.header(), payload))).toBe('token.confirmation');
    const only = JSON.stringify(bench.claims({ cnf: undefined })).replace(
      '{',
      `{"cnf":{"__proto__":{"jkt":"${JKT}"}},`,
    );
    expect(await bench.reasonOf(bench.sign(bench.header(), only))).toBe('token.confirmation');
  });

  it('whatever the value, only well-formed thumbprints come out', () => {
    const thumbprint = fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => Buffer.from(bytes).toString('base64url'));
    const member = fc.oneof(thumbprint, fc.string(), fc.jsonValue());
    const cnf = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.oneof(fc.constantFrom('jkt', 'x5t#S256', 'kid'), fc.string()), member, { maxKeys: 3 }),
    );
    fc.assert(
      fc.property(cnf, (value) => {
        const read = readConfirmation(value);
        if (!read.ok) return;
        const thumbprints = Object.values(read.value) as string[];
        expect(thumbprints.length).toBe(Object.keys(value as object).length);
        expect(thumbprints.length).toBeGreaterThan(0);
        for (const text of thumbprints) {
          expect(Buffer.from(text, 'base64url').length).toBe(32);
          expect(Buffer.from(text, 'base64url').toString('base64url')).toBe(text);
        }
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(thumbprint, (jkt) => {
        expect(readConfirmation({ jkt })).toEqual({ ok: true, value: { jkt } });
      }),
    );
  });
});
