import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { generatePrivateJwk, importSigningKey, publicPartOf } from '../../src/oauth/signing_key.ts';
import { askAbout } from '../authserver/ask_fixture.ts';
import { proofFor, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { OK, RecordingUpstream } from '../support/recording_upstream.ts';

/** The authorization server and the gateway of this project, with introspection between them. */

const RESOURCE = 'https://cloud.example.com/v1';
const GET = { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' };

let folder: string;
let server: TestServer;
let gateway: TestGateway;
let upstream: RecordingUpstream;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-as-gateway-'));
  upstream = await new RecordingUpstream(async (connection) => {
    for (let n = 1; ; n++) {
      await connection.request(n);
      connection.socket.write(OK);
    }
  }).listen();
});
afterEach(async () => {
  await gateway.close();
  await server.close();
  await upstream.close();
  rmSync(folder, { recursive: true });
});

async function start(format: string, introspection: Record<string, unknown>): Promise<void> {
  const gatewayJwk = await generatePrivateJwk();
  writeFileSync(join(folder, 'gateway.jwk.json'), JSON.stringify(gatewayJwk), { mode: 0o600 });
  const jwks = { keys: [{ ...publicPartOf(gatewayJwk) }] };
  server = await startTestServer(
    { scopes: ['projects:read'], authorization_details: [{ ...GET, identifier: 'projects' }] },
    { server: { resource_servers: [{ client_id: 'gateway', jwks, resources: [RESOURCE], token_format: format }] } },
  );
  const asks = {
    endpoint: `${server.issuer}/introspect`,
    client_id: 'gateway',
    private_key_file: join(folder, 'gateway.jwk.json'),
    cache_seconds: 0,
    ...introspection,
  };
  gateway = await startTestGateway({
    upstream: upstream.origin,
    config: { issuers: [{ issuer: server.issuer, introspection: asks }] },
  });
}

async function obtain(details: unknown[]): Promise<string> {
  const jobKey = await importSigningKey(await exportJWK(gateway.job.key.privateKey));
  const proof = await proofFor({ ...server, jobKey });
  const parameters = { scope: 'projects:read', authorization_details: JSON.stringify(details) };
  const { body } = await requestToken(server, { proof, parameters });
  return String(body['access_token']);
}

async function call(token: string, path = '/v1/projects/p1'): Promise<[number, unknown]> {
  const url = gateway.origin + path;
  const { privateKey, publicJwk, alg } = gateway.job.key;
  const dpop = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, accessToken: token, clock: Date.now });
  const response = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } });
  const text = await response.text();
  return [response.status, response.ok ? null : JSON.parse(text).reason];
}

describe.each([
  ['opaque', 'json', 'opaque'],
  ['opaque', 'jwt', 'opaque'],
  ['jwt', 'json', 'always'],
  ['jwt', 'jwt', 'always'],
])('tokens that are %s, answers as %s', (format, response, when) => {
  it('a job calls what its token covers, and nothing once it is taken back', async () => {
    await start(format, { response, when });
    const token = await obtain([GET]);
    expect(token.includes('.')).toBe(format === 'jwt');
    expect(await call(token)).toEqual([200, null]);
    expect((await call(token, '/v1/projects/p2'))[0]).toBe(403);
    await askAbout(server, 'revoke', { clientId: 'ci', key: server.clientKey }, { token });
    expect(await call(token)).toEqual([401, 'token.inactive']);
    expect(upstream.requests).toHaveLength(1);
  });
});

it('authorization_details that no header could carry reach the policy', async () => {
  await start('auto', { response: 'json' });
  const many = Array.from({ length: 49 }, (_, index) => ({
    ...GET,
    identifier: `projects/${'x'.repeat(200)}${index}`,
  }));
  const token = await obtain([...many, GET]);
  expect(token).toMatch(/^spat_/);
  expect(await call(token)).toEqual([200, null]);
  expect((await call(token, '/v1/projects/p2'))[0]).toBe(403);
});
