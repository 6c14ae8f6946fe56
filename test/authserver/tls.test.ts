import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { assertionFor, proofFor, RESOURCE, startTestServer, type TestServer } from './fixture.ts';

const certificate = makeCertificate({ name: 'authserver', hosts: ['as.example.com'] });
const ISSUER = 'https://as.example.com';
let directory: string;
let server: TestServer;
let trusted = certificate.cert;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
  await writeFile(join(directory, 'as.crt'), certificate.cert);
  await writeFile(join(directory, 'as.key'), certificate.key);
  const tls = { certificate_file: join(directory, 'as.crt'), key_file: join(directory, 'as.key') };
  server = await startTestServer({}, { server: { issuer: ISSUER, listen: { port: 0, tls } } });
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

/** Over TLS, with the name of the issuer and the port where the server really is. */
function send(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = '',
): Promise<[number, unknown]> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(server.address);
    const options = {
      method,
      path,
      headers,
      host: '127.0.0.1',
      port,
      servername: 'as.example.com',
      ca: trusted,
      agent: false,
    };
    const request = https.request(options, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += String(chunk);
      });
      response.on('end', () => resolve([response.statusCode ?? 0, JSON.parse(text) as unknown]));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function ask(url: string, headers: Record<string, string>): Promise<[number, unknown]> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await assertionFor(server),
    resource: RESOURCE,
    scope: 'builds:write',
  });
  const type = { 'content-type': 'application/x-www-form-urlencoded' };
  return send('POST', '/token', { ...type, ...headers, dpop: await proofFor(server, { url }) }, form.toString());
}

describe('an authorization server with TLS and an issuer of its own', () => {
  it('RFC 8414 §3.3: names the configured issuer, not where it listens', async () => {
    expect(server.issuer).toBe(ISSUER);
    expect(server.address).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const [status, metadata] = await send('GET', '/.well-known/oauth-authorization-server');
    expect(status).toBe(200);
    expect(metadata).toMatchObject({ issuer: ISSUER, token_endpoint: `${ISSUER}/token`, jwks_uri: `${ISSUER}/jwks` });
  });

  it('a new certificate is used without a restart, and a broken one is not', async () => {
    const next = makeCertificate({ name: 'next', hosts: ['as.example.com'] });
    await writeFile(join(directory, 'as.crt'), 'broken');
    await eventually('the broken one is refused', () =>
      server.lines.some(({ message }) => message.startsWith('the new certificate was refused')),
    );
    expect((await send('GET', '/jwks'))[0]).toBe(200);
    await writeFile(join(directory, 'as.key'), next.key);
    await writeFile(join(directory, 'as.crt'), next.cert);
    await eventually('the new one is used', () =>
      send('GET', '/jwks').then(
        () => false,
        () => true,
      ),
    );
    trusted = next.cert;
    expect((await send('GET', '/jwks'))[0]).toBe(200);
  });

  it('RFC 9449 §4.3 check 9: htu is the endpoint below the issuer, whatever Host says', async () => {
    for (const host of ['as.example.com', 'localhost', 'evil.example']) {
      const [status] = await ask(`${ISSUER}/token`, { host });
      expect([host, status]).toEqual([host, 200]);
    }
    const [status, body] = await ask('https://evil.example/token', { host: 'evil.example' });
    expect([status, body]).toEqual([400, expect.objectContaining({ error: 'invalid_dpop_proof' })]);
  });
});
