import fc from 'fast-check';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { ORIGIN, PATH, RESOURCE, Wire } from '../support/wire.ts';

/**
 * An independent verifier of DPoP-bound requests as oracle, against the whole gateway: what oauth4webapi refuses, the gateway refuses too.
 * Where the gateway is stricter, it is for one of these reasons:
 * - proof.claims: an empty or overlong jti, an empty htm or htu, exp, nbf or nonce of another type;
 * - proof.target: the oracle normalises by the rules of `URL` (dot segments, backslashes), the gateway by RFC 3986 without dot segments;
 * - proof.critical_header: `b64` stands in the header without `crit`;
 * - proof.malformed: JSON or base64url with a second reading;
 * - proof.key: a key with an empty private member, for another use, or not in its one canonical form;
 * - proof.too_old, proof.issued_in_future: another window;
 * - proof.replayed, proof.expired, proof.not_yet_valid: the oracle does not look;
 * - token.*: as listed in test/token/oauth4webapi_differential.test.ts.
 * In one thing it is the oracle that is stricter: RFC 9449 §4.3 recommends to normalise htu by syntax, and `%70` for `p` stays another URI to it.
 */
const STRICTER =
  /^(?:proof\.(?:claims|target|critical_header|malformed|key|too_old|issued_in_future|replayed|expired|not_yet_valid)|token\.(?:claims|confirmation|critical_header|malformed))$/;

let wire: Wire;
let stranger: TestKey;
const seconds = () => Math.floor(Date.now() / 1000);
beforeAll(async () => {
  [wire, stranger] = await Promise.all([Wire.start({ now: seconds() }), makeKey()]);
});
afterAll(() => wire.close());

async function oracleAccepts(token: string, proof: string): Promise<boolean> {
  const { issuer } = wire.gateway;
  const headers = { authorization: `DPoP ${token}`, dpop: proof };
  try {
    await oauth.validateJwtAccessToken(
      { issuer: issuer.issuer, jwks_uri: `${issuer.issuer}/jwks` },
      new Request(ORIGIN + PATH, { headers }),
      RESOURCE,
      {
        requireDPoP: true,
        signingAlgorithms: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
        [oauth.jwksCache]: { jwks: issuer.jwks() as oauth.JWKS, uat: seconds() },
        [oauth.clockTolerance]: 10,
      },
    );
    return true;
  } catch {
    return false;
  }
}

async function compare(token: string, proof: string): Promise<'both' | 'neither' | 'stricter'> {
  wire.now = seconds();
  const [accepted, outcome] = await Promise.all([
    oracleAccepts(token, proof),
    wire.send({ lines: wire.lines(token, proof) }),
  ]);
  const { answer, summary } = outcome;
  const reason = answer.status === 200 || answer.status === 403 ? null : String(summary['reason']);
  if (reason === null) {
    expect(accepted).toBe(true);
    return 'both';
  }
  if (accepted) expect(reason).toMatch(STRICTER);
  return accepted ? 'stricter' : 'neither';
}

const anything = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined), fc.string());
const time = fc.integer({ min: -200, max: 200 }).map((offset) => seconds() + offset);
const claimForms: Record<string, fc.Arbitrary<unknown>> = {
  jti: fc.oneof(fc.string({ minLength: 1 }), anything),
  htm: fc.oneof(fc.constantFrom('GET', 'get', 'POST', 'GET '), anything),
  htu: fc.oneof(
    fc.constantFrom(
      `${ORIGIN}${PATH}?a=b`,
      `${ORIGIN}${PATH}#x`,
      `${ORIGIN}:443${PATH}`,
      `HTTPS://CLOUD.example.com${PATH}`,
      `${ORIGIN}/v1/x/../projects/p1`,
      `${ORIGIN}\\v1\\projects\\p1`,
      `${ORIGIN}${PATH}/`,
      `http://cloud.example.com${PATH}`,
    ),
    anything,
  ),
  iat: fc.oneof(time, anything),
  ath: fc.oneof(fc.constant('x'.repeat(43)), anything),
  exp: fc.oneof(time, anything),
  nbf: fc.oneof(time, anything),
  nonce: anything,
  extra: anything,
};
const headerForms: Record<string, fc.Arbitrary<unknown>> = {
  typ: fc.oneof(fc.constantFrom('DPoP+JWT', 'application/dpop+jwt', 'JWT', 'at+jwt'), anything),
  alg: fc.oneof(fc.constantFrom('none', 'HS256', 'PS256', 'RS256', 'ES384'), anything),
  crit: fc.oneof(fc.constant(['exp']), anything),
  b64: fc.boolean(),
  kid: anything,
  jwk: fc.oneof(
    anything,
    fc
      .dictionary(fc.constantFrom('d', 'k', 'use', 'key_ops', 'alg', 'kid', 'x', 'y', 'crv', 'kty'), anything, {
        maxKeys: 2,
      })
      .map((members) => ({ patch: members })),
  ),
  extra: anything,
};

function changesOf(forms: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> {
  const one = fc.oneof(...Object.entries(forms).map(([name, form]) => form.map((value) => ({ [name]: value }))));
  return fc.array(one, { minLength: 1, maxLength: 2 }).map((changes) => Object.assign({}, ...changes));
}

/** A patch of the good key stands for what cannot be known before there is one. */
function withKey(header: Record<string, unknown>): Record<string, unknown> {
  const { jwk } = header as { jwk?: { patch?: object } | null };
  return typeof jwk === 'object' && jwk?.patch !== undefined
    ? { ...header, jwk: { ...wire.jobKey.publicJwk, ...jwk.patch } }
    : header;
}

describe('the whole gateway against oauth4webapi, for DPoP-bound requests: never laxer', { timeout: 60_000 }, () => {
  it('a good request passes both', async () => {
    const token = wire.token();
    expect(await compare(token, wire.proof(token, { claims: { iat: seconds() } }))).toBe('both');
  });

  it('generated claims of the proof', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(changesOf(claimForms), async (claims) => {
        const token = wire.token();
        seen.add(await compare(token, wire.proof(token, { claims })));
      }),
      { numRuns: 300, examples: [[{ extra: 1 }], [{ exp: 1 }], [{ htm: 'POST' }]] },
    );
    expect(seen).toEqual(new Set(['both', 'neither', 'stricter']));
  });

  it('escapes of unreserved characters in htu, the one thing that the oracle does not normalise', async () => {
    const token = wire.token();
    const proof = wire.proof(token, { claims: { htu: `${ORIGIN}/v1/projects/%70%31`, iat: seconds() } });
    expect(await oracleAccepts(token, proof)).toBe(false);
    wire.now = seconds();
    expect((await wire.send({ lines: wire.lines(token, proof) })).answer.status).toBe(200);
  });

  it('generated headers of the proof', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(changesOf(headerForms), async (header) => {
        const token = wire.token();
        seen.add(await compare(token, wire.proof(token, { header: withKey(header) })));
      }),
      { numRuns: 250, examples: [[{ extra: 1 }], [{ b64: true }], [{ typ: 'JWT' }]] },
    );
    expect(seen).toEqual(new Set(['both', 'neither', 'stricter']));
  });

  it('one character of the proof changed anywhere', async () => {
    const token = wire.token();
    const replacement = fc.constantFrom('A', 'b', '0', '_', '-', '.', '=', '+', '~');
    await fc.assert(
      fc.asyncProperty(fc.nat(), replacement, async (at, character) => {
        const proof = wire.proof(token);
        const index = at % proof.length;
        const changed = proof.slice(0, index) + character + proof.slice(index + 1);
        if (changed !== proof) expect(await compare(token, changed)).not.toBe('both');
      }),
      { numRuns: 150 },
    );
  });

  it('another key, in the header, in the signature, in the token', async () => {
    const token = wire.token();
    const header = wire.proofHeader();
    const claims = () => wire.proofClaims(token);
    expect(await compare(token, wire.proof(token, { key: stranger }))).toBe('neither');
    expect(await compare(token, signJws(header, claims(), stranger))).toBe('neither');
    const theirs = wire.token({ claims: { cnf: { jkt: stranger.thumbprint } } });
    expect(await compare(theirs, wire.proof(theirs))).toBe('neither');
    const unbound = wire.token({ claims: { cnf: undefined } });
    expect(await compare(unbound, wire.proof(unbound))).toBe('neither');
  });
});
