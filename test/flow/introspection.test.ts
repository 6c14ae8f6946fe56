import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK } from 'jose';
import { type Configuration, Provider } from 'oidc-provider';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { TokenClient } from '../../src/oauth/client_credentials.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { discoverMetadata } from '../../src/oauth/metadata.ts';
import { generatePrivateJwk, importSigningKey, publicPartOf, type SigningKey } from '../../src/oauth/signing_key.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { inMemoryAdapter } from '../support/oidc_adapter.ts';
import { OK, RecordingUpstream } from '../support/recording_upstream.ts';

const RESOURCE = 'https://cloud.example.com/v1';
const DETAILS = [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' }];

let server: Server;
let issuer: string;
let folder: string;
let clientKey: SigningKey;
let upstream: RecordingUpstream;
let gateway: TestGateway;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-introspection-flow-'));
  const keys = await Promise.all([generatePrivateJwk(), generatePrivateJwk(), generatePrivateJwk()]);
  const [issuerJwk, clientJwk, gatewayJwk] = keys;
  clientKey = await importSigningKey(clientJwk);
  writeFileSync(join(folder, 'gateway.jwk.json'), JSON.stringify(gatewayJwk));
  server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = (id: string, jwk: typeof clientJwk, grants: string[]) => ({
    client_id: id,
    token_endpoint_auth_method: 'private_key_jwt' as const,
    token_endpoint_auth_signing_alg: 'ES256' as const,
    jwks: { keys: [{ ...publicPartOf(jwk), alg: 'ES256', use: 'sig' }] },
    grant_types: grants,
    response_types: [],
    redirect_uris: [],
    authorization_details_types: ['cloud_api'],
    id_token_signed_response_alg: 'ES256' as const,
    introspection_signed_response_alg: 'ES256' as const,
  });
  const provider = new Provider(issuer, {
    ...configuration(),
    adapter: () => inMemoryAdapter(),
    clients: [client('wf-4711', clientJwk, ['client_credentials']), client('gateway', gatewayJwk, [])],
    jwks: { keys: [{ ...issuerJwk, kid: 'as-1', use: 'sig' }] },
  } as Configuration);
  server.on('request', provider.callback());
  upstream = await new RecordingUpstream(async (connection) => {
    for (let n = 1; ; n++) {
      await connection.request(n);
      connection.socket.write(OK);
    }
  }).listen();
});

afterEach(async () => {
  await gateway.close();
  await upstream.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

function configuration(): Configuration {
  return {
    clientAuthMethods: ['private_key_jwt'],
    enabledJWA: { introspectionSigningAlgValues: ['ES256'], idTokenSigningAlgValues: ['ES256'] },
    responseTypes: [],
    ttl: { ClientCredentials: 120 },
    scopes: ['projects:read'],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientId === 'gateway' },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === token.clientId },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'projects:read',
          audience: resource,
          accessTokenFormat: 'opaque',
          accessTokenTTL: 120,
        }),
      },
      richAuthorizationRequests: {
        enabled: true,
        types: { cloud_api: { validate: () => undefined } },
        authorizationDetailsForAccessToken: () => DETAILS,
        authorizationDetailsForIntrospection: () => DETAILS,
        authorizationDetailsForGrantSource: () => undefined,
      },
    },
  } as Configuration;
}

async function start(response: 'json' | 'jwt'): Promise<void> {
  gateway = await startTestGateway({
    upstream: upstream.origin,
    config: {
      issuers: [
        {
          issuer,
          introspection: {
            endpoint: `${issuer}/token/introspection`,
            client_id: 'gateway',
            private_key_file: join(folder, 'gateway.jwk.json'),
            response,
            cache_seconds: 0,
          },
        },
      ],
    },
  });
}

/** A token for the job's key, from the authorization server. */
async function obtainToken(): Promise<string> {
  const metadata = await discoverMetadata(issuer, { timeoutMs: 2000 });
  if (!metadata.ok) throw new Error(metadata.problem);
  const proofKey = await importSigningKey(await exportJWK(gateway.job.key.privateKey));
  const tokens = new TokenClient({
    server: metadata.value,
    clientId: 'wf-4711',
    clientKey,
    proofKey,
    timeoutMs: 2000,
    clock: Date.now,
  });
  const issued = await tokens.request({ resource: RESOURCE, scopes: ['projects:read'], authorizationDetails: DETAILS });
  return issued.accessToken;
}

async function revoke(token: string): Promise<number> {
  const assertion = await makeClientAssertion({ clientId: 'wf-4711', issuer, key: clientKey, clock: Date.now });
  const form = {
    token,
    client_id: 'wf-4711',
    client_assertion_type: CLIENT_ASSERTION_TYPE,
    client_assertion: assertion,
  };
  const response = await fetch(`${issuer}/token/revocation`, { method: 'POST', body: new URLSearchParams(form) });
  return response.status;
}

async function call(token: string, path = '/v1/projects/p1'): Promise<{ status: number; reason: unknown }> {
  const url = gateway.origin + path;
  const { privateKey, publicJwk, alg } = gateway.job.key;
  const dpop = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, accessToken: token, clock: Date.now });
  const response = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } });
  const text = await response.text();
  return { status: response.status, reason: response.ok ? null : JSON.parse(text).reason };
}

describe.each(['json', 'jwt'] as const)('opaque tokens of oidc-provider, answers as %s', (response) => {
  it('a job gets an opaque token, calls what it covers, and loses it when it is revoked', async () => {
    await start(response);
    const token = await obtainToken();
    expect(token).not.toContain('.');
    expect(await call(token)).toEqual({ status: 200, reason: null });
    expect(await call(token, '/v1/projects/p2')).toMatchObject({ status: 403 });
    expect(await call(`${token}x`)).toEqual({ status: 401, reason: 'token.inactive' });
    expect(await revoke(token)).toBe(200);
    expect(await call(token)).toEqual({ status: 401, reason: 'token.inactive' });
    expect(upstream.requests).toHaveLength(1);
    const [record] = await gateway.records(4);
    expect(record).toMatchObject({
      input: {
        client: { id: 'wf-4711' },
        token: {
          kind: 'opaque',
          issuer,
          subject: 'wf-4711',
          scopes: ['projects:read'],
          authorization_details: DETAILS,
          binding: { method: 'dpop', thumbprint: gateway.job.key.thumbprint },
        },
      },
    });
  });
});
