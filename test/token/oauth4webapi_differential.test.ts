import fc from 'fast-check';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Reason } from '../../src/kernel/reasons.ts';
import { CLOCK_SKEW_MS } from '../../src/token/claims.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { RESOURCE, TokenBench } from './fixture.ts';

/**
 * An independent verifier as oracle: what oauth4webapi refuses, stage 2 refuses too. Where stage 2 is stricter, it is for one of these
 * reasons:
 * - token.critical_header: `b64` stands in the header without `crit`;
 * - token.expired: there is no leeway after `exp`;
 * - token.not_yet_valid: `iat` lies ahead;
 * - token.claims: an empty or overlong text, a time out of range, a client_id or scope outside its grammar, an empty audience;
 * - token.confirmation, token.authorization_details: not understood, where the oracle does not look;
 * - token.malformed: JSON or base64url with a second reading.
 */
const STRICTER: readonly Reason[] = [
  'token.critical_header',
  'token.expired',
  'token.not_yet_valid',
  'token.claims',
  'token.confirmation',
  'token.authorization_details',
  'token.malformed',
];

let bench: TokenBench;
let stranger: TestKey;
let server: oauth.AuthorizationServer;

beforeAll(async () => {
  [bench, stranger] = await Promise.all([TokenBench.start(), makeKey('ES256')]);
  // The oracle reads the real clock.
  bench.now = Date.now();
  server = { issuer: bench.server.issuer, jwks_uri: bench.server.jwksUri };
});

afterAll(async () => {
  await bench.stop();
});

const jwksCache: oauth.JWKSCacheInput = {};

async function oracleAccepts(token: string): Promise<boolean> {
  // Under Bearer, so that the binding, which is stage 3's affair here, does not decide.
  const request = new Request('https://cloud.example.com/v1', { headers: { authorization: `Bearer ${token}` } });
  try {
    await oauth.validateJwtAccessToken(server, request, RESOURCE, {
      signingAlgorithms: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
      [oauth.jwksCache]: jwksCache,
      [oauth.clockTolerance]: CLOCK_SKEW_MS / 1000,
      [oauth.allowInsecureRequests]: true,
    });
    return true;
  } catch {
    return false;
  }
}

async function compare(token: string): Promise<'both' | 'neither' | 'stricter'> {
  bench.now = Date.now();
  const [accepted, reason] = await Promise.all([oracleAccepts(token), bench.reasonOf(token)]);
  if (reason === null) {
    expect(accepted).toBe(true);
    return 'both';
  }
  if (accepted) expect(STRICTER).toContain(reason);
  return accepted ? 'stricter' : 'neither';
}

function claims(changes: Record<string, unknown>): Record<string, unknown> {
  const now = Math.floor(bench.now / 1000);
  return { ...bench.claims({ iat: now - 5, exp: now + 300, cnf: undefined }), ...changes };
}

const time = fc.integer({ min: -400, max: 400 }).map((offset) => Math.floor(Date.now() / 1000) + offset);
const anything = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined), fc.string());
const claimForms: Record<string, fc.Arbitrary<unknown>> = {
  iss: fc.oneof(fc.constant('https://as.example.com'), anything),
  aud: fc.oneof(fc.constant([RESOURCE, 'https://other.example.com']), fc.constant([RESOURCE, 1]), anything),
  exp: fc.oneof(time, anything),
  iat: fc.oneof(time, anything),
  nbf: fc.oneof(time, anything),
  sub: anything,
  client_id: anything,
  jti: anything,
  scope: fc.oneof(fc.constant('a b'), anything),
  authorization_details: fc.oneof(fc.constant([{ type: 'cloud_api' }]), anything),
  // Never a good one: which binding goes with which scheme is stage 3's affair.
  cnf: fc.oneof(fc.constantFrom({ jkt: 1 }, { kid: 'k' }), anything),
  extra: anything,
};
const headerForms: Record<string, fc.Arbitrary<unknown>> = {
  typ: fc.oneof(fc.constantFrom('AT+JWT', 'application/at+jwt', 'JWT'), anything),
  alg: fc.oneof(fc.constantFrom('none', 'HS256', 'PS256', 'RS256'), anything),
  kid: fc.oneof(fc.constant('other'), fc.string()),
  crit: fc.oneof(fc.constant(['exp']), anything),
  b64: fc.boolean(),
  jwk: anything,
  extra: anything,
};

/** One or two members with other values: with more, every token would be wrong for several reasons at once. */
function changesOf(forms: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> {
  const one = fc.oneof(...Object.entries(forms).map(([name, form]) => form.map((value) => ({ [name]: value }))));
  return fc.array(one, { minLength: 1, maxLength: 2 }).map((changes) => Object.assign({}, ...changes));
}

describe('stage 2 against oauth4webapi: never laxer', () => {
  it('a good token passes both', async () => {
    expect(await compare(signJws(bench.header(), claims({}), bench.key))).toBe('both');
  });

  it('generated claims', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(changesOf(claimForms), async (changes) => {
        seen.add(await compare(signJws(bench.header(), claims(changes), bench.key)));
      }),
      { numRuns: 400, examples: [[{ extra: 1 }], [{ cnf: {} }], [{ sub: 1 }]] },
    );
    expect(seen).toEqual(new Set(['both', 'neither', 'stricter']));
  });

  it('generated headers', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(changesOf(headerForms), async (changes) => {
        seen.add(await compare(signJws(bench.header(changes), claims({}), bench.key)));
      }),
      { numRuns: 200, examples: [[{ extra: 1 }], [{ b64: true }], [{ typ: 'JWT' }]] },
    );
    expect(seen).toEqual(new Set(['both', 'neither', 'stricter']));
  });

  it('one character changed anywhere', async () => {
    const token = signJws(bench.header(), claims({}), bench.key);
    const replacement = fc.constantFrom('A', 'b', '0', '_', '-', '.', '=', '+', ' ', '~');
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), replacement, async (index, character) => {
        const changed = token.slice(0, index) + character + token.slice(index + 1);
        if (changed !== token) expect(await compare(changed)).not.toBe('both');
      }),
      { numRuns: 200 },
    );
  });

  it('another key, with and without a kid', async () => {
    for (const kid of [undefined, stranger.thumbprint.slice(0, 8), bench.key.thumbprint.slice(0, 8)]) {
      expect(await compare(signJws(bench.header({ kid }), claims({}), stranger))).toBe('neither');
    }
  });
});
