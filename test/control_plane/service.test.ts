import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { decodeJwt } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ServiceConfig, service } from '../../src/config/service_schema.ts';
import { createService, type Service } from '../../src/control_plane/service.ts';
import { makeCertificate } from '../support/certificate.ts';

const ends: (() => void)[] = [];
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-service-'));
});
afterEach(() => {
  for (const end of ends.splice(0)) end();
  rmSync(folder, { recursive: true, force: true });
});

function put(name: string, text: string): string {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
}

async function listening(server: http.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function make(settings: object): Service {
  const config: ServiceConfig = service.parse({ name: 'control', timeout_ms: 2000, ...settings });
  const made = createService(config, Date.now);
  ends.push(() => made.close());
  return made;
}

const get = (made: Service) => made.send({ method: 'GET', path: 'x', maxBytes: 1000 });

describe('a service', () => {
  it('is asked over TLS with the configured CA and the certificate of the gateway, and with no other', async () => {
    const ca = makeCertificate({ name: 'ca', authority: true });
    const own = makeCertificate({ name: 'control', hosts: ['127.0.0.1'], issuer: ca });
    const client = makeCertificate({ name: 'gateway', issuer: ca });
    const options = { cert: own.cert, key: own.key, ca: ca.cert, requestCert: true, rejectUnauthorized: true };
    const port = await listening(
      https.createServer(options, ({ socket }, response) =>
        response.end((socket as TLSSocket).getPeerCertificate().subject.CN),
      ),
    );
    const url = `https://127.0.0.1:${port}`;
    const ca_file = put('ca.pem', ca.cert);
    const credentials = {
      type: 'client_certificate',
      certificate_file: put('c.pem', client.cert),
      key_file: put('k.pem', client.key),
    };
    const answer = await get(make({ url, ca_file, credentials }));
    expect(answer.ok && answer.body.toString()).toBe('gateway');
    expect(await get(make({ url, ca_file }))).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/cannot be reached/),
    });
    const stranger = put('other.pem', makeCertificate({ name: 'other', authority: true }).cert);
    expect(await get(make({ url, ca_file: stranger, credentials }))).toMatchObject({ ok: false });
    expect(() => make({ url, ca_file: join(folder, 'none') })).toThrow(/none cannot be read: there is no such file/);
    expect(() =>
      make({ url, ca_file: put('no.pem', 'no'), credentials: { ...credentials, key_file: put('x', 'x') } }),
    ).toThrow(/cannot be used/);
  });

  it('gets a token of client credentials with private_key_jwt, once, and a new one after 401', async () => {
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
    let tokens = 0;
    let good = 'Bearer t1';
    const forms: URLSearchParams[] = [];
    const port = await listening(
      http.createServer(async (request, response) => {
        if (request.url !== '/token') {
          response.writeHead(request.headers.authorization === good ? 200 : 401).end();
          return;
        }
        let body = '';
        for await (const chunk of request) body += String(chunk);
        forms.push(new URLSearchParams(body));
        tokens++;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ access_token: `t${tokens}`, token_type: 'Bearer', expires_in: 300 }));
      }),
    );
    const url = `http://127.0.0.1:${port}`;
    const private_key_file = put('key.json', JSON.stringify(jwk));
    const oauth2 = {
      type: 'oauth2',
      token_endpoint: `${url}/token`,
      client_id: 'gw',
      private_key_file,
      scopes: ['bundles'],
    };
    const made = make({ url, credentials: oauth2 });
    expect(await get(made)).toMatchObject({ ok: true, status: 200 });
    expect(await get(made)).toMatchObject({ ok: true, status: 200 });
    expect(tokens).toBe(1);
    expect(Object.fromEntries(forms[0] ?? [])).toMatchObject({ grant_type: 'client_credentials', scope: 'bundles' });
    const assertion = decodeJwt(forms[0]?.get('client_assertion') ?? '');
    expect(assertion).toMatchObject({ iss: 'gw', sub: 'gw', aud: `${url}/token` });
    good = 'Bearer t2';
    expect(await get(made)).toMatchObject({ ok: true, status: 200 });
    expect(tokens).toBe(2);
  });

  it('whose credentials cannot be had is not asked, and it is said why without anything secret', async () => {
    const seen: string[] = [];
    const port = await listening(
      http.createServer((request, response) => {
        seen.push(request.url ?? '');
        response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_client"}');
      }),
    );
    const url = `http://127.0.0.1:${port}`;
    const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
    const private_key_file = put('key.json', JSON.stringify(jwk));
    const oauth2 = { type: 'oauth2', token_endpoint: `${url}/token`, client_id: 'gw', private_key_file };
    expect(await get(make({ url, credentials: oauth2 }))).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/status 400 \(invalid_client\)/),
    });
    const bearer = make({ url, credentials: { type: 'bearer', token_file: put('token', 'two words') } });
    const answer = await get(bearer);
    expect(answer).toMatchObject({ ok: false, problem: expect.stringMatching(/expected one token/) });
    expect(JSON.stringify(answer)).not.toContain('two words');
    expect(seen).toEqual(['/token']);
  });
});
