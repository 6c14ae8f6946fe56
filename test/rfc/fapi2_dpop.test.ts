import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { NOW, ORIGIN, PATH, type ProofChanges, Wire } from '../support/wire.ts';

/**
 * The 32 calls that the OpenID Foundation's conformance suite for FAPI 2.0 (Security Profile, final) makes to a DPoP-protected resource in
 * its module of negative tests, in its order: one token, one good call between many bad ones. What is made of each is stricter here than
 * there: not just any 400 or 401, but the one status, error code and reason.
 */

let wire: Wire;
let rsaKey: TestKey;
let token: string;
let rsaToken: string;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
  rsaKey = await makeKey('PS256');
  token = wire.token();
  rsaToken = wire.token({ claims: { cnf: { jkt: rsaKey.thumbprint } } });
});
afterAll(() => wire.close());

/** One call: header lines, and the target where it is not the usual one. */
interface Call {
  readonly lines: readonly string[];
  readonly target?: string;
}

const authorization = () => `Authorization: DPoP ${token}`;
/** A call with one proof, spelled by the test. */
const proven = (proof: string): Call => ({ lines: [authorization(), `DPoP: ${proof}`] });
/** A call whose proof differs from a good one by these changes. */
const changed = (changes: ProofChanges) => () => proven(wire.proof(token, changes));
const without = (claim: string) => changed({ claims: { [claim]: undefined } });

/** Cuts a member out of a header after signing. */
function withoutAlg(proof: string): string {
  const [header = '', payload, signature] = proof.split('.');
  const { alg: _, ...rest } = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>;
  return `${Buffer.from(JSON.stringify(rest)).toString('base64url')}.${payload}.${signature}`;
}

function withoutSignature(proof: string): string {
  const [, payload] = proof.split('.');
  const header = Buffer.from(JSON.stringify(wire.proofHeader({ alg: 'none' }))).toString('base64url');
  return `${header}.${payload}.`;
}

function spoiltSignature(proof: string): string {
  const [header, payload, signature = ''] = proof.split('.');
  const bytes = Buffer.from(signature, 'base64url').map((byte) => byte ^ 0x5a);
  return `${header}.${payload}.${Buffer.from(bytes).toString('base64url')}`;
}

async function privateJwk(): Promise<Record<string, unknown>> {
  return {
    ...(await crypto.subtle.exportKey('jwk', wire.jobKey.privateKey)),
    alg: undefined,
    key_ops: undefined,
    ext: undefined,
  };
}

type Row = readonly [name: string, call: () => Call | Promise<Call>, reason: string | null];

const REUSED = { claims: { jti: 'the same in two calls' } };

const CALLS: readonly Row[] = [
  ['1: the header name in upper case', () => ({ lines: [authorization(), `DPOP: ${wire.proof(token)}`] }), null],
  [
    '2: two DPoP headers',
    () => ({ lines: [authorization(), `DPoP: ${wire.proof(token)}`, `DPoP: ${wire.proof(token)}`] }),
    'request.proof_repeated',
  ],
  ['3: a proof that is no well-formed JWT', () => proven(wire.proof(token).replace('.', '')), 'proof.malformed'],
  ['4: no typ', changed({ header: { typ: undefined } }), 'proof.type'],
  ['5: no alg', () => proven(withoutAlg(wire.proof(token))), 'proof.algorithm'],
  ['6: no jwk', changed({ header: { jwk: undefined } }), 'proof.key'],
  ['7: no jti', without('jti'), 'proof.claims'],
  ['8: no htm', without('htm'), 'proof.claims'],
  ['9: no htu', without('htu'), 'proof.claims'],
  ['10: no iat', without('iat'), 'proof.claims'],
  ['11: no ath', without('ath'), 'proof.claims'],
  ['12: another typ', changed({ header: { typ: 'JWT' } }), 'proof.type'],
  [
    '13: RS256, with an RSA key',
    async () => {
      // The same key, as one that signs by RS256.
      const pkcs8 = await crypto.subtle.exportKey('pkcs8', rsaKey.privateKey);
      const rs256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
      const privateKey = await crypto.subtle.importKey('pkcs8', pkcs8, rs256, false, ['sign']);
      const proof = wire.proof(rsaToken, { key: { ...rsaKey, alg: 'RS256', privateKey } });
      return { lines: [`Authorization: DPoP ${rsaToken}`, `DPoP: ${proof}`] };
    },
    'proof.algorithm',
  ],
  ['14: alg none', () => proven(withoutSignature(wire.proof(token))), 'proof.malformed'],
  ['15: a signature that is not valid', () => proven(spoiltSignature(wire.proof(token))), 'proof.signature'],
  [
    '16: a private key in jwk',
    async () => proven(wire.proof(token, { header: { jwk: await privateJwk() } })),
    'proof.key',
  ],
  ['17: htm of another method', changed({ claims: { htm: 'PUT' } }), 'proof.method'],
  ['18: htu with a query and a fragment', changed({ claims: { htu: `${ORIGIN}${PATH}?a=b#c` } }), null],
  ['19: htu without the query of the request', () => ({ ...proven(wire.proof(token)), target: `${PATH}?a=b` }), null],
  ['20: htu of another URL', changed({ claims: { htu: 'https://other.example.com/' } }), 'proof.target'],
  ['21: iat an hour ahead', changed({ claims: { iat: NOW + 3600 } }), 'proof.issued_in_future'],
  ['22: iat an hour ago', changed({ claims: { iat: NOW - 3600 } }), 'proof.too_old'],
  ['23: a jti, used for the first time', changed(REUSED), null],
  ['24: that jti in another proof', changed(REUSED), 'proof.replayed'],
  [
    '25: ath of something else',
    changed({ claims: { ath: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo' } }),
    'proof.token_hash',
  ],
  ['26: a proof of another key', async () => proven(wire.proof(token, { key: await makeKey() })), 'proof.key_mismatch'],
  [
    '27: further members in header and payload',
    changed({ header: { extra: [1] }, claims: { extra: { a: null } } }),
    null,
  ],
  ['28: scheme and host of htu in upper case', changed({ claims: { htu: `HTTPS://CLOUD.EXAMPLE.COM${PATH}` } }), null],
  ['29: htu with the default port', changed({ claims: { htu: `${ORIGIN}:443${PATH}` } }), null],
  ['30: no proof', () => ({ lines: [authorization()] }), 'proof.missing'],
  [
    '31: no proof, and the scheme Bearer',
    () => ({ lines: [`Authorization: Bearer ${token}`] }),
    'proof.bound_token_as_bearer',
  ],
  ['32: a good call, after all that', () => proven(wire.proof(token)), null],
];

describe('FAPI 2.0 Security Profile: calls to a DPoP-protected resource', () => {
  it('are 32', () => expect(CALLS).toHaveLength(32));

  it.each(CALLS)('FAPI 2.0 call %s', async (_, make, reason) => {
    const outcome = await wire.send(await make());
    if (reason === null) expectAllowed(outcome);
    else expectRefused(outcome, reason);
  });

  it('FAPI 2.0 call 13, the positive side: the same RSA key passes by PS256', async () => {
    expectAllowed(await wire.send({ lines: wire.lines(rsaToken, wire.proof(rsaToken, { key: rsaKey })) }));
  });
});

describe('FAPI 2.0 Security Profile §5.3: clocks that differ', () => {
  it.each<[string, Record<string, unknown>, string | null]>([
    ['iat 10 s ago', { iat: NOW - 10 }, null],
    ['iat 10 s ahead', { iat: NOW + 10 }, null],
    ['iat 61 s ahead', { iat: NOW + 61 }, 'proof.issued_in_future'],
    ['nbf 10 s ahead', { nbf: NOW + 10 }, null],
    ['nbf 61 s ahead', { nbf: NOW + 61 }, 'proof.not_yet_valid'],
    ['exp ahead', { exp: NOW + 60 }, null],
    ['exp five minutes ago', { exp: NOW - 300 }, 'proof.expired'],
  ])('FAPI 2.0 §5.3.2.1: a proof with %s', async (_, claims, reason) => {
    const outcome = await wire.call({ token, claims });
    if (reason === null) expectAllowed(outcome);
    else expectRefused(outcome, reason);
  });

  it.each<[string, Record<string, unknown>, string | null]>([
    ['iat and nbf 10 s ahead', { iat: NOW + 10, nbf: NOW + 10 }, null],
    ['iat 61 s ahead', { iat: NOW + 61 }, 'token.not_yet_valid'],
    ['nbf 61 s ahead', { nbf: NOW + 61 }, 'token.not_yet_valid'],
  ])('FAPI 2.0 §5.3.2.1: a token with %s', async (_, claims, reason) => {
    const outcome = await wire.call({ token: wire.token({ claims }) });
    if (reason === null) expectAllowed(outcome);
    else expectRefused(outcome, reason);
  });

  it('FAPI 2.0 §5.3.4: a token of the algorithm RS256 is refused, by default', async () => {
    const key = await makeKey('RS256');
    const rs256 = signJws(wire.tokenHeader({ alg: 'RS256' }), wire.tokenClaims(), key);
    expectRefused(await wire.call({ token: rs256 }), 'token.algorithm');
  });
});
