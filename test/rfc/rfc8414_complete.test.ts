import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RegistrationServer, startRegistrationServer } from '../authserver/registration_fixture.ts';
import { AUDIENCE } from '../authserver/workload_fixture.ts';
import { makeCertificate } from '../support/certificate.ts';

/** The metadata of a server that has everything; each thing they say is asked for. */

const certificate = makeCertificate({ name: 'as', hosts: ['as.example.com'] });
const client = makeCertificate({ name: 'client' });
let folder: string;
let server: RegistrationServer;
let metadata: Record<string, unknown>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-metadata-'));
  for (const [name, text] of Object.entries({ 'as.crt': certificate.cert, 'as.key': certificate.key }))
    writeFileSync(join(folder, name), text);
  const tls = {
    certificate_file: join(folder, 'as.crt'),
    key_file: join(folder, 'as.key'),
    client_certificates: 'optional',
    client_ca_file: join(folder, 'as.crt'),
  };
  const types = ['cloud_api', 'object_store', 'kubernetes'].map((type) => ({ type }));
  const jwks = { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43) }] };
  server = await startRegistrationServer(
    {},
    {
      server: {
        issuer: AUDIENCE,
        listen: { port: 0, tls },
        authorization_details_types: types,
        resource_servers: [{ client_id: 'gateway', jwks, resources: ['https://cloud.example.com/v1'] }],
      },
    },
  );
  metadata = JSON.parse((await send('GET', '/.well-known/oauth-authorization-server')).text) as typeof metadata;
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

function send(method: string, path: string, form?: Record<string, string>): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        method,
        path,
        host: '127.0.0.1',
        port: new URL(server.address).port,
        servername: 'as.example.com',
        ca: certificate.cert,
        cert: client.cert,
        key: client.key,
        agent: false,
        headers: form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += String(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    request.on('error', reject);
    request.end(form === undefined ? undefined : new URLSearchParams(form).toString());
  });
}

async function errorOf(path: string, form: Record<string, string>): Promise<unknown> {
  return (JSON.parse((await send('POST', path, form)).text) as { error: unknown }).error;
}

describe('RFC 8414 §2: everything that a server can say', () => {
  it('RFC 8414 §2: is said where it is configured', () => {
    const algorithms = ['ES256', 'PS256', 'EdDSA', 'Ed25519'];
    const methods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];
    expect(metadata).toEqual({
      issuer: AUDIENCE,
      token_endpoint: `${AUDIENCE}/token`,
      jwks_uri: `${AUDIENCE}/jwks`,
      registration_endpoint: `${AUDIENCE}/register`,
      response_types_supported: [],
      grant_types_supported: [
        'client_credentials',
        'urn:ietf:params:oauth:grant-type:token-exchange',
        'urn:ietf:params:oauth:grant-type:jwt-bearer',
      ],
      token_endpoint_auth_methods_supported: [...methods, 'none'],
      token_endpoint_auth_signing_alg_values_supported: algorithms,
      introspection_endpoint: `${AUDIENCE}/introspect`,
      introspection_endpoint_auth_methods_supported: ['private_key_jwt'],
      introspection_endpoint_auth_signing_alg_values_supported: algorithms,
      introspection_signing_alg_values_supported: ['ES256'],
      revocation_endpoint: `${AUDIENCE}/revoke`,
      revocation_endpoint_auth_methods_supported: [...methods, 'none'],
      revocation_endpoint_auth_signing_alg_values_supported: algorithms,
      dpop_signing_alg_values_supported: algorithms,
      tls_client_certificate_bound_access_tokens: true,
      authorization_details_types_supported: ['cloud_api', 'object_store', 'kubernetes'],
    });
  });

  it('RFC 8414 §2: every endpoint is there, and answers only as it should', async () => {
    for (const [name, url] of Object.entries(metadata)) {
      if (!/_endpoint$/.test(name)) continue;
      const { pathname } = new URL(String(url));
      expect([name, (await send('GET', pathname)).status]).toEqual([name, 405]);
      const { status } = await send('POST', pathname, {});
      expect([name, [400, 401].includes(status)]).toEqual([name, true]);
    }
    expect((await send('GET', '/jwks')).status).toBe(200);
  });

  it('RFC 8414 §2: every grant exists, and no other', async () => {
    const grants = metadata['grant_types_supported'] as string[];
    for (const grant of [...grants, 'password', 'authorization_code', 'refresh_token', 'implicit', 'urn:other']) {
      const error = await errorOf('/token', { grant_type: grant, client_id: 'deploy' });
      expect([grant, error === 'unsupported_grant_type']).toEqual([grant, !grants.includes(grant)]);
    }
  });

  it('RFC 7009 §2.1: a client without a key takes its token back by naming itself', async () => {
    expect((await send('POST', '/revoke', { client_id: 'deploy', token: 'x' })).status).toBe(200);
  });
});
