import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningAuthServer, startAuthServer } from '../../src/authserver/authserver.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { TokenClient } from '../../src/oauth/client_credentials.ts';
import { discoverMetadata } from '../../src/oauth/metadata.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { eventually } from '../support/eventually.ts';
import { type ForeignAuthServer, newKey, startForeignAuthServer } from '../support/foreign_authserver.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { TestIssuer } from '../support/issuer.ts';
import { closedPort } from '../support/key_server.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

/**
 * Several issuers at once: this project's authorization server, a foreign one, and two that are known by their keys only and share a kid. A
 * token of one never passes as another's; keys may change while the gateway runs.
 */

const RESOURCE = 'https://cloud.example.com/v1';
const DETAILS = [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' }];
const KID = 'shared';

let folder: string;
let upstream: RecordingUpstream;
let own: RunningAuthServer;
let foreign: ForeignAuthServer;
let first: TestIssuer;
let second: TestIssuer;
let gateway: TestGateway;
let clientKey: SigningKey;
let ownPort: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-issuers-'));
  upstream = await startRecordingUpstream();
  const clientJwk = await generatePrivateJwk();
  clientKey = await importSigningKey(clientJwk);
  ownPort = await closedPort();
  writeSigningKeys(await newKey('ES256'));
  own = await startOwn();
  const clientPublic = { ...clientKey.publicJwk, alg: 'ES256', use: 'sig' } as JWK;
  foreign = await startForeignAuthServer({ clientJwk: clientPublic, alg: 'PS256', path: '/tenants/a' });
  first = await TestIssuer.create('https://one.example.com');
  second = await TestIssuer.create('https://two.example.com', 'PS256');
  for (const [name, issuer] of Object.entries({ first, second })) {
    const keys = issuer.jwks().keys.map((key) => ({ ...key, kid: KID }));
    writeFileSync(join(folder, `${name}.json`), JSON.stringify({ keys }));
  }
  gateway = await startTestGateway({
    upstream: upstream.origin,
    config: {
      issuers: [
        { issuer: own.issuer, keys: { cooldown_seconds: 1, max_age_seconds: 1 } },
        { issuer: foreign.issuer, algorithms: ['PS256'] },
        { issuer: first.issuer, jwks_file: join(folder, 'first.json'), algorithms: ['ES256'] },
        { issuer: second.issuer, jwks_file: join(folder, 'second.json'), algorithms: ['PS256'] },
      ],
    },
  });
});
afterAll(async () => {
  await gateway.close();
  await foreign.close();
  await own.close();
  await upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

function writeSigningKeys(...keys: JWK[]): void {
  writeFileSync(join(folder, 'signing_keys.json'), JSON.stringify({ keys }), { mode: 0o600 });
}

/** This project's authorization server, always at the same address. */
function startOwn(): Promise<RunningAuthServer> {
  const client = {
    client_id: 'ci',
    jwks: { keys: [clientKey.publicJwk] },
    resources: [RESOURCE],
    scopes: ['projects:read'],
    authorization_details: DETAILS,
  };
  const config = { version: 1, listen: { port: ownPort }, signing_keys_file: 'signing_keys.json', clients: [client] };
  return startAuthServer({ config: parseAuthServerConfig(config, folder), log: createLog({ level: 'fatal' }) });
}

/** A token that is bound to the job's key, by the client credentials flow. */
async function obtainToken(issuer: string, clientId: string): Promise<string> {
  const metadata = await discoverMetadata(issuer, { timeoutMs: 5000 });
  if (!metadata.ok) throw new Error(metadata.problem);
  const proofKey = await importSigningKey(await exportJWK(gateway.job.key.privateKey));
  const client = { server: metadata.value, clientId, clientKey, proofKey, timeoutMs: 5000, clock: Date.now };
  const request = { resource: RESOURCE, scopes: ['projects:read'], authorizationDetails: DETAILS };
  return (await new TokenClient(client).request(request)).accessToken;
}

/** The reason why a call is refused; null when it is allowed. */
async function reasonOf(token: string): Promise<unknown> {
  const headers = await gateway.headers('GET', '/v1/projects/p1', token);
  const response = await fetch(`${gateway.origin}/v1/projects/p1`, { headers });
  const text = await response.text();
  return response.ok ? null : (JSON.parse(text) as Record<string, unknown>)['reason'];
}

const headerOf = (token: string) => decodePart(token, 0);
const claimsOf = (token: string) => decodePart(token, 1);
function decodePart(token: string, index: number): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString()) as Record<string, unknown>;
}
const joined = (header: unknown, claims: unknown, signature: string) =>
  `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;

/** A token of an issuer that is known by its keys, under the shared kid. */
const shared = (issuer: TestIssuer, claims: Record<string, unknown> = {}) =>
  issuer.token(gateway.job.key.thumbprint, { header: { kid: KID }, claims });

describe('several issuers', () => {
  it('RFC 9068 §4: each issuer’s own tokens pass', async () => {
    expect(await reasonOf(await obtainToken(own.issuer, 'ci'))).toBeNull();
    expect(await reasonOf(await obtainToken(foreign.issuer, 'foreign-ci'))).toBeNull();
    expect(await reasonOf(await shared(first))).toBeNull();
    expect(await reasonOf(await shared(second))).toBeNull();
  });

  it('RFC 8414 §3.1: a foreign server below a path is found by its OpenID Connect metadata', async () => {
    expect(new URL(foreign.issuer).pathname).toBe('/tenants/a');
    const token = await obtainToken(foreign.issuer, 'foreign-ci');
    expect(headerOf(token)).toMatchObject({ typ: 'at+jwt', alg: 'PS256' });
    expect(claimsOf(token)).toMatchObject({ iss: foreign.issuer, aud: RESOURCE, client_id: 'foreign-ci' });
  });

  it('RFC 8725 §3.8: the keys of one issuer sign for no other, not under the same kid either', async () => {
    expect(await reasonOf(await shared(first, { iss: second.issuer }))).toBe('token.algorithm');
    expect(await reasonOf(await shared(second, { iss: first.issuer }))).toBe('token.algorithm');
    const sameAlgorithm = await TestIssuer.create(first.issuer);
    expect(await reasonOf(await shared(sameAlgorithm))).toBe('token.signature');
    expect(await reasonOf(await shared(first, { iss: own.issuer }))).toBe('token.key_unknown');
    expect(await reasonOf(await shared(second, { iss: foreign.issuer }))).toBe('token.key_unknown');
  });

  it('RFC 8725 §3.8: a token of one under the name of another, its signature kept', async () => {
    const token = await obtainToken(own.issuer, 'ci');
    const [, , signature = ''] = token.split('.');
    for (const iss of [first.issuer, `${own.issuer}/`, foreign.issuer, 'https://as.example.com']) {
      const forged = joined(headerOf(token), { ...claimsOf(token), iss }, signature);
      expect(await reasonOf(forged)).toMatch(/^token\.(signature|key_unknown|issuer_unknown|algorithm)$/);
    }
    expect(upstream.received).not.toContain(signature);
  });

  it('RFC 8725 §3.1: algorithms are those of the issuer, not of any issuer', async () => {
    const claims = { ...claimsOf(await shared(first)) };
    const { privateKey } = (await TestIssuer.create(first.issuer, 'EdDSA')).key;
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: KID })
      .sign(privateKey);
    expect(await reasonOf(token)).toBe('token.algorithm');
  });
});

describe('keys that change while the gateway runs', () => {
  it('a new key is found by the first token that it signs; tokens of a withdrawn key end', async () => {
    const before = await obtainToken(own.issuer, 'ci');
    expect(await reasonOf(before)).toBeNull();
    const [newer, older] = [await newKey('ES256'), writtenKeys()];
    await restartWith({ ...newer, kid: 'newer' }, ...older);
    const after = await obtainToken(own.issuer, 'ci');
    expect(headerOf(after)['kid']).toBe('newer');
    await eventually('the new key is known', async () => (await reasonOf(after)) === null);
    expect(await reasonOf(before)).toBeNull();
    await restartWith({ ...newer, kid: 'newer' });
    await eventually('the old key is known no more', async () => (await reasonOf(before)) !== null);
    expect(await reasonOf(before)).toBe('token.key_unknown');
    expect(await reasonOf(after)).toBeNull();
  });

  it('while the issuer is down its keys stay in use', async () => {
    const token = await obtainToken(own.issuer, 'ci');
    const unused = await obtainToken(own.issuer, 'ci');
    expect(await reasonOf(token)).toBeNull();
    await own.close();
    // Past the age at which the keys are loaded again.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect([await reasonOf(token), await reasonOf(unused)]).toEqual([null, null]);
    own = await startOwn();
  });

  async function restartWith(...keys: JWK[]): Promise<void> {
    await own.close();
    writeSigningKeys(...keys);
    own = await startOwn();
  }

  function writtenKeys(): JWK[] {
    return (JSON.parse(readFileSync(join(folder, 'signing_keys.json'), 'utf8')) as { keys: JWK[] }).keys;
  }
});
