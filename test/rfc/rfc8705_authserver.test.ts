import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { assertionFor, claimsOf, RESOURCE, startTestServer, type TestServer } from '../authserver/fixture.ts';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';

const ISSUER = 'https://as.example.com';
const serverCertificate = makeCertificate({ name: 'as', hosts: ['as.example.com'] });
const ca = makeCertificate({ name: 'client ca', authority: true });
const issued = makeCertificate({
  name: 'engine',
  hosts: ['engine.example.com', 'uri:spiffe://example.com/engine', '192.0.2.7'],
  issuer: ca,
});
const sibling = makeCertificate({ name: 'other engine', hosts: ['other.example.com'], issuer: ca });
const expired = makeCertificate({
  name: 'engine',
  hosts: ['engine.example.com'],
  issuer: ca,
  notBefore: new Date(Date.now() - 7_200_000),
  notAfter: new Date(Date.now() - 3_600_000),
});
const pretender = makeCertificate({ name: 'engine', hosts: ['engine.example.com'] });
const selfSigned = makeCertificate({ name: 'self' });
const selfExpired = makeCertificate({
  name: 'self',
  notBefore: new Date(Date.now() - 7_200_000),
  notAfter: new Date(Date.now() - 3_600_000),
});

let folder: string;
let server: TestServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-mtls-'));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const rights = { resources: [RESOURCE], scopes: ['builds:write'] };
  const by = (client_id: string, more: Record<string, unknown>) => ({ client_id, ...rights, ...more });
  const pki = (client_id: string, name: Record<string, string>) =>
    by(client_id, { token_endpoint_auth_method: 'tls_client_auth', ...name });
  server = await startTestServer(
    {},
    {
      server: {
        issuer: ISSUER,
        listen: {
          port: 0,
          tls: {
            certificate_file: file('as.crt', serverCertificate.cert),
            key_file: file('as.key', serverCertificate.key),
            client_certificates: 'optional',
            client_ca_file: file('ca.pem', ca.cert),
          },
        },
      },
      clients: [
        pki('dn', { tls_client_auth_subject_dn: 'CN=engine' }),
        pki('dns', { tls_client_auth_san_dns: 'engine.example.com' }),
        pki('uri', { tls_client_auth_san_uri: 'spiffe://example.com/engine' }),
        pki('ip', { tls_client_auth_san_ip: '192.0.2.7' }),
        by('self', {
          token_endpoint_auth_method: 'self_signed_tls_client_auth',
          certificate_file: file('self.pem', selfSigned.cert),
        }),
        by('self-x5c', {
          token_endpoint_auth_method: 'self_signed_tls_client_auth',
          jwks: { keys: [jwkWithCertificate(selfSigned)] },
        }),
        by('self-old', {
          token_endpoint_auth_method: 'self_signed_tls_client_auth',
          certificate_file: file('self-old.pem', selfExpired.cert),
        }),
        by('for-jobs', {
          token_endpoint_auth_method: 'self_signed_tls_client_auth',
          certificate_file: join(folder, 'self.pem'),
          tls_client_certificate_bound_access_tokens: false,
        }),
      ],
    },
  );
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

function jwkWithCertificate({ cert }: TestCertificate): Record<string, unknown> {
  const certificate = new X509Certificate(cert);
  return { ...certificate.publicKey.export({ format: 'jwk' }), x5c: [certificate.raw.toString('base64')] };
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Asks for a token over a connection with a client certificate, or none. */
async function ask(
  clientId: string,
  certificate: TestCertificate | null,
  parts: { parameters?: Record<string, string>; proof?: boolean; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    resource: RESOURCE,
    scope: 'builds:write',
    ...parts.parameters,
  });
  const { privateKey, publicJwk } = server.jobKey;
  const proof = { privateKey, publicJwk, method: 'POST', url: `${ISSUER}/token`, clock: Date.now };
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    ...(parts.proof === true ? { dpop: await makeProof(proof) } : {}),
    ...parts.headers,
  };
  return post(form.toString(), headers, certificate);
}

function post(body: string, headers: Record<string, string>, certificate: TestCertificate | null): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        method: 'POST',
        path: '/token',
        headers,
        host: '127.0.0.1',
        port: new URL(server.address).port,
        servername: 'as.example.com',
        ca: serverCertificate.cert,
        agent: false,
        ...(certificate === null ? {} : { cert: certificate.cert, key: certificate.key }),
      },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += String(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

describe('RFC 8705 §2: clients that authenticate by certificate', () => {
  it.each(['dn', 'dns', 'uri', 'ip'])('RFC 8705 §2.1: tls_client_auth by %s', async (clientId) => {
    const answer = await ask(clientId, issued);
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'Bearer', scope: 'builds:write' } });
    expect(claimsOf(answer.body['access_token'])).toMatchObject({
      client_id: clientId,
      cnf: { 'x5t#S256': thumbprintOf(issued) }, // RFC 8705 §3.1
    });
  });

  it.each<[string, TestCertificate | null]>([
    ['none', null],
    ['that of a sibling of the same CA', sibling],
    ['one with the same names that nobody signed', pretender],
    ['one that has expired', expired],
  ])('RFC 8705 §2.1: invalid_client with the certificate %s', async (_what, certificate) => {
    for (const clientId of ['dn', 'dns']) {
      const answer = await ask(clientId, certificate);
      expect([clientId, answer.status, answer.body['error']]).toEqual([clientId, 401, 'invalid_client']);
    }
  });

  it.each(['self', 'self-x5c'])('RFC 8705 §2.2: self_signed_tls_client_auth (%s)', async (clientId) => {
    const answer = await ask(clientId, selfSigned);
    expect(answer.status).toBe(200);
    expect(claimsOf(answer.body['access_token'])['cnf']).toEqual({ 'x5t#S256': thumbprintOf(selfSigned) });
    for (const certificate of [null, issued, makeCertificate({ name: 'self' })]) {
      expect(await ask(clientId, certificate)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    }
  });

  it('RFC 8705 §2.2: a registered certificate that has expired is none', async () => {
    expect(await ask('self-old', selfExpired)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  it('RFC 8705 §2: a certificate in a header is none', async () => {
    const der = new X509Certificate(selfSigned.cert).raw.toString('base64');
    const headers = { 'client-cert': `:${der}:`, 'x-ssl-client-cert': encodeURIComponent(selfSigned.cert) };
    expect(await ask('self', null, { headers })).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  it('RFC 8705 §2: a client with a certificate has no other way in, and one with a key none by certificate', async () => {
    const assertion = await assertionFor(server);
    const parameters = {
      client_assertion: assertion,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    };
    expect((await ask('self', selfSigned, { parameters, proof: true })).status).toBeGreaterThanOrEqual(400);
    expect(await ask('ci', selfSigned, { proof: true })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    });
  });
});

describe('RFC 8705 §3, RFC 9449 §5: what the token is bound to', () => {
  it('a proof beside the certificate binds to both', async () => {
    const answer = await ask('dn', issued, { proof: true });
    expect(answer.body['token_type']).toBe('DPoP');
    expect(claimsOf(answer.body['access_token'])['cnf']).toEqual({
      'x5t#S256': thumbprintOf(issued),
      jkt: server.jobKey.thumbprint,
    });
  });

  it('a client that asks for its jobs binds to their key alone, and always', async () => {
    const answer = await ask('for-jobs', selfSigned, { proof: true });
    expect(claimsOf(answer.body['access_token'])['cnf']).toEqual({ jkt: server.jobKey.thumbprint });
    expect(await ask('for-jobs', selfSigned)).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } });
  });
});
