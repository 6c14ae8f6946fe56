import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed } from '../support/expect_outcome.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { PATH, RESOURCE, Wire } from '../support/wire.ts';

/**
 * RFC 7518 and RFC 8037 over the wire of a gateway that allows every algorithm there is: each for tokens and for proofs. The issuer has a key
 * for each. Two resources stand behind it, so that what belongs to one shows.
 */

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA'];
const OTHER_RESOURCE = 'https://storage.example.com';
const OTHER_PATH = '/v2/projects/p1';

let folder: string;
let wire: Wire;
const issuerKeys = new Map<string, TestKey>();
const jobKeys = new Map<string, TestKey>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-algorithms-'));
  await Promise.all(
    ALGORITHMS.map(async (alg) => {
      const [issuerKey, jobKey] = await Promise.all([makeKey(alg), makeKey(alg)]);
      issuerKeys.set(alg, issuerKey);
      jobKeys.set(alg, jobKey);
    }),
  );
  const keys = [...issuerKeys].map(([alg, { publicJwk }]) => ({ ...publicJwk, kid: `of ${alg}`, alg, use: 'sig' }));
  writeFileSync(join(folder, 'jwks.json'), JSON.stringify({ keys }));
  const catalogue = new URL('../../catalogs/demo_cloud.yaml', import.meta.url).pathname;
  const other = join(folder, 'other.yaml');
  writeFileSync(
    other,
    `service: storage
operations:
  - { name: projects.get, request: GET ${OTHER_PATH}, resource: projects/p1, access: read, scopes: ["projects:read"] }
`,
  );
  const issuer = 'https://as.example.com';
  wire = await Wire.start({
    transports: TRANSPORTS,
    config: {
      issuers: [{ issuer, jwks_file: join(folder, 'jwks.json'), algorithms: ALGORITHMS }],
      dpop: { algorithms: ALGORITHMS },
    },
    upstreamRoutes: (upstream) => [
      { name: 'projects', path_prefix: '/v1', resource: RESOURCE, operations: catalogue, upstream },
      { name: 'storage', path_prefix: '/v2', resource: OTHER_RESOURCE, operations: other, upstream },
    ],
  });
});
afterAll(async () => {
  await wire.close();
  rmSync(folder, { recursive: true, force: true });
});

const keyOf = (keys: Map<string, TestKey>, alg: string) => keys.get(alg) as TestKey;

function tokenBy(alg: string, claims: Record<string, unknown> = {}, jobKey = keyOf(jobKeys, 'ES256')): string {
  const header = { typ: 'at+jwt', alg, kid: `of ${alg}` };
  return signJws(header, wire.tokenClaims({ cnf: { jkt: jobKey.thumbprint }, ...claims }), keyOf(issuerKeys, alg));
}

describe('RFC 7518 §3, RFC 8037 §3.1: every algorithm that may be configured', () => {
  it.each(ALGORITHMS)('RFC 7518 §3: %s, for tokens', async (alg) => {
    const key = keyOf(jobKeys, 'ES256');
    expectAllowed(await wire.call({ token: tokenBy(alg), key }));
    const [header, payload, signature = ''] = tokenBy(alg).split('.');
    const spoilt = Buffer.from(signature, 'base64url').map((byte, index) => (index === 7 ? byte ^ 1 : byte));
    const forged = `${header}.${payload}.${Buffer.from(spoilt).toString('base64url')}`;
    expect((await wire.call({ token: forged, key })).summary['reason']).toBe('token.signature');
  });

  it.each(ALGORITHMS)('RFC 7518 §3: %s, for proofs', async (alg) => {
    const key = keyOf(jobKeys, alg);
    const token = tokenBy('ES256', {}, key);
    expectAllowed(await wire.call({ token, key }));
    const [header, payload, signature = ''] = wire.proof(token, { key }).split('.');
    const spoilt = Buffer.from(signature, 'base64url').map((byte, index) => (index === 7 ? byte ^ 1 : byte));
    const lines = wire.lines(token, `${header}.${payload}.${Buffer.from(spoilt).toString('base64url')}`);
    expect((await wire.send({ lines })).summary['reason']).toBe('proof.signature');
  });

  it.each([
    ['PS256', 'RS256'],
    ['RS256', 'PS256'],
    ['RS256', 'RS384'],
    ['PS384', 'PS256'],
  ])('RFC 8725 §3.1: a signature by %s is none by %s, the key being one of both', async (made, said) => {
    const key = keyOf(jobKeys, made);
    const outcome = await wire.call({ token: tokenBy('ES256', {}, key), key, header: { alg: said } });
    expect(outcome.summary['reason']).toBe('proof.signature');
  });

  it.each([
    ['ES256', 'ES384'],
    ['ES384', 'ES256'],
    ['ES256', 'EdDSA'],
    ['EdDSA', 'ES256'],
    ['ES256', 'RS256'],
    ['PS256', 'ES256'],
  ])('RFC 7518 §3.4: a key for %s is none for %s', async (made, said) => {
    const key = keyOf(jobKeys, made);
    const outcome = await wire.call({ token: tokenBy('ES256', {}, key), key, header: { alg: said } });
    expect(outcome.summary['reason']).toBe('proof.key');
  });

  it.each([
    ['ES256', 'ES384', 'token.key_unknown'],
    ['PS256', 'RS256', 'token.key_unknown'],
    ['EdDSA', 'ES256', 'token.key_unknown'],
  ])('RFC 8725 §3.1: the issuer’s key for %s does not sign tokens that say %s', async (made, said, reason) => {
    const header = { typ: 'at+jwt', alg: said, kid: `of ${made}` };
    const claims = wire.tokenClaims({ cnf: { jkt: keyOf(jobKeys, 'ES256').thumbprint } });
    const outcome = await wire.call({
      token: signJws(header, claims, keyOf(issuerKeys, made)),
      key: keyOf(jobKeys, 'ES256'),
    });
    expect(outcome.summary['reason']).toBe(reason);
  });

  it('RFC 9449 §7.1: the challenge names what is allowed here', async () => {
    const { answer } = await wire.send({ lines: [] });
    expect(answer.headers['www-authenticate']?.[0]).toContain(`algs="${ALGORITHMS.join(' ')}"`);
  });
});

describe('RFC 8707 §2, RFC 9449 §11.1: two resources behind one gateway', () => {
  const both = (claims: Record<string, unknown> = {}) =>
    tokenBy('ES256', { aud: [RESOURCE, OTHER_RESOURCE], ...claims });
  const key = () => keyOf(jobKeys, 'ES256');

  it('RFC 8707 §2: a token for one is refused by the other, in either order', async () => {
    const token = tokenBy('ES256');
    expect((await wire.call({ token, key: key(), path: OTHER_PATH })).summary['reason']).toBe('token.audience');
    expectAllowed(await wire.call({ token, key: key() }));
    expect((await wire.call({ token, key: key(), path: OTHER_PATH })).summary['reason']).toBe('token.audience');
    const other = tokenBy('ES256', { aud: OTHER_RESOURCE });
    expectAllowed(await wire.call({ token: other, key: key(), path: OTHER_PATH }));
    expect((await wire.call({ token: other, key: key() })).summary['reason']).toBe('token.audience');
  });

  it('RFC 8707 §2: a token for both passes at both', async () => {
    const token = both();
    expectAllowed(await wire.call({ token, key: key() }));
    expectAllowed(await wire.call({ token, key: key(), path: OTHER_PATH }));
  });

  it('RFC 9449 §11.1: a jti counts for each resource alone', async () => {
    const [token, claims] = [both(), { jti: 'at two resources' }];
    expectAllowed(await wire.call({ token, key: key(), claims }));
    expectAllowed(await wire.call({ token, key: key(), claims, path: OTHER_PATH }));
    for (const path of [PATH, OTHER_PATH]) {
      expect((await wire.call({ token, key: key(), claims, path })).summary['reason']).toBe('proof.replayed');
    }
  });

  it('RFC 9449 §4.3 check 9: the proof for one is none for the other', async () => {
    const token = both();
    const proof = wire.proof(token, { key: key(), path: OTHER_PATH });
    expect((await wire.send({ lines: wire.lines(token, proof) })).summary['reason']).toBe('proof.target');
  });

  it('RFC 9728 §5.1: each answers with its own metadata', async () => {
    const { answer } = await wire.send({ target: OTHER_PATH, lines: [] });
    expect(answer.headers['www-authenticate']?.[0]).toContain('/.well-known/oauth-protected-resource/storage"');
  });
});
