import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signJws } from '../support/sign_jws.ts';
import { type Outcome, Wire } from '../support/wire.ts';
import { FUZZ_TIMEOUT, fuzzed } from './fuzzing.ts';

/**
 * Tokens and proofs that nobody thought of, over the wire: correctly signed, and anything inside. Whatever it is, the answer is the caller's
 * fault or a good answer, never 5xx; nothing reaches the upstream but what is allowed; there is one record.
 */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());

const RUNS = fuzzed(150);
const json = fc.jsonValue({ maxDepth: 3 });
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom('__proto__', 'constructor', '\u0000', '\r\n\r\n'),
);
const value = fc.oneof(json, text, fc.integer(), fc.double(), fc.constant(undefined));
/** Text that can stand in a header field, whatever else it says. */
const field = fc
  .string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)), maxLength: 200 })
  .filter((line) => !line.includes('\x7f'));

/** What holds for every request. */
function holds({ answer, upstream, summary, record }: Outcome): void {
  expect(answer.status).toBeLessThan(500);
  expect(upstream).toHaveLength(answer.status === 200 ? 1 : 0);
  expect(summary['outcome']).toBe(answer.status === 200 ? 'allowed' : 'refused');
  expect(summary['status']).toBe(answer.status);
  expect(JSON.stringify(record)).not.toMatch(/eyJ[\w-]{40,}\.eyJ/);
  expect(answer.head).toMatch(/^HTTP\/1\.1 \d{3} [\x20-\x7e]+(\r\n[\w-]+: [\x20-\x7e]*)*$/);
}

const member = (names: readonly string[]) => fc.oneof(fc.constantFrom(...names), text);
const changes = (names: readonly string[]) => fc.array(fc.tuple(member(names), value), { minLength: 1, maxLength: 3 });
const merged = (base: Record<string, unknown>, list: readonly (readonly [string, unknown])[]) => ({
  ...base,
  ...Object.fromEntries(list),
});

const PROOF_HEADER = ['typ', 'alg', 'jwk', 'crit', 'b64', 'kid', 'jku', 'x5c', 'zip'];
const PROOF_CLAIMS = ['jti', 'htm', 'htu', 'iat', 'ath', 'nonce', 'exp', 'nbf', 'aud', 'sub'];
const TOKEN_HEADER = ['typ', 'alg', 'kid', 'crit', 'b64', 'jwk', 'jku', 'x5u', 'cty'];
const TOKEN_CLAIMS = [
  ...['iss', 'aud', 'exp', 'nbf', 'iat', 'sub', 'client_id', 'jti', 'scope', 'authorization_details', 'cnf'],
  ...['status', 'act', 'job', 'acr', 'auth_time', 'roles', 'groups', 'entitlements'],
];

describe('tokens and proofs that nobody thought of', { timeout: FUZZ_TIMEOUT }, () => {
  it('property: any members of a proof', async () => {
    await fc.assert(
      fc.asyncProperty(changes(PROOF_HEADER), changes(PROOF_CLAIMS), fc.nat(2), async (header, claims, which) => {
        const token = wire.token();
        const proof = signJws(
          merged(wire.proofHeader(), which === 0 ? [] : header),
          merged(wire.proofClaims(token), which === 1 ? [] : claims),
          wire.jobKey,
        );
        holds(await wire.send({ lines: wire.lines(token, proof) }));
      }),
      RUNS,
    );
  });

  it('property: any members of a token', async () => {
    await fc.assert(
      fc.asyncProperty(changes(TOKEN_HEADER), changes(TOKEN_CLAIMS), fc.nat(3), async (header, claims, which) => {
        const token = wire.signToken(
          merged(wire.tokenHeader(), which === 0 ? header : []),
          merged(wire.tokenClaims(), which === 0 ? [] : claims),
        );
        holds(await wire.send({ lines: wire.lines(token) }));
      }),
      RUNS,
    );
  });

  it('property: any authorization_details', async () => {
    const item = fc.record(
      {
        type: fc.oneof(fc.constant('cloud_api'), value),
        actions: fc.oneof(fc.constant(['projects.get']), value),
        identifier: fc.oneof(fc.constant('projects/p1'), value),
        locations: fc.oneof(fc.constant(['https://cloud.example.com/v1']), value),
      },
      { requiredKeys: ['type'] },
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.array(fc.oneof(item, value), { maxLength: 4 }), value), async (details) => {
        const token = wire.token({ claims: { authorization_details: details } });
        holds(await wire.send({ lines: wire.lines(token) }));
      }),
      RUNS,
    );
  });

  it('property: any key', async () => {
    const jwk = fc.dictionary(
      fc.constantFrom('kty', 'crv', 'x', 'y', 'n', 'e', 'use', 'key_ops', 'alg', 'd', 'k', 'kid'),
      value,
    );
    await fc.assert(
      fc.asyncProperty(jwk, fc.boolean(), async (members, whole) => {
        const token = wire.token();
        const header = { jwk: whole ? members : { ...wire.jobKey.publicJwk, ...members } };
        holds(await wire.send({ lines: wire.lines(token, wire.proof(token, { header })) }));
      }),
      RUNS,
    );
  });

  it('property: any bytes in the two fields', async () => {
    await fc.assert(
      fc.asyncProperty(field, field, fc.constantFrom('DPoP ', 'Bearer ', ''), async (authorization, proof, scheme) => {
        holds(await wire.send({ lines: [`Authorization: ${scheme}${authorization}`, `DPoP: ${proof}`] }));
      }),
      RUNS,
    );
  });

  it('property: a good token or proof with any part of it replaced', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(40),
        fc.base64String({ maxLength: 40 }),
        fc.boolean(),
        async (at, cut, put, which) => {
          const token = wire.token();
          const proof = wire.proof(token);
          const spoil = (jws: string) => jws.slice(0, at % jws.length) + put + jws.slice((at % jws.length) + cut);
          const lines = which ? wire.lines(spoil(token), proof) : wire.lines(token, spoil(proof));
          holds(await wire.send({ lines }));
        },
      ),
      RUNS,
    );
  });
});
