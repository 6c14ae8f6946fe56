import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createCertificateReader } from '../../src/authserver/certificate.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { claimsOf, RESOURCE, startTestServer, type TestServer } from '../authserver/fixture.ts';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';

/** Clients of the authorization server whose TLS ends at a proxy in front of it. */

const ca = makeCertificate({ name: 'client ca', authority: true });
const engine = makeCertificate({ name: 'engine', hosts: ['engine.example.com'], issuer: ca });
const selfSigned = makeCertificate({ name: 'self' });
const expired = makeCertificate({
  name: 'self',
  notBefore: new Date(Date.now() - 7_200_000),
  notAfter: new Date(Date.now() - 3_600_000),
});
const proxyCertificate = makeCertificate({ name: 'proxy', hosts: ['proxy.internal.example'], issuer: ca });
const serverCertificate = makeCertificate({ name: 'as', hosts: ['as.example.com'] });

let folder: string;
let server: TestServer | null = null;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-9440-'));
});
afterEach(async () => {
  await server?.close();
  server = null;
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const rights = { resources: [RESOURCE], scopes: ['builds:write'] };
const self = (name = 'self', certificate = selfSigned) => ({
  client_id: name,
  ...rights,
  token_endpoint_auth_method: 'self_signed_tls_client_auth',
  certificate_file: file(`${name}.pem`, certificate.cert),
});
const pki = (name: string, dns: string) => ({
  client_id: name,
  ...rights,
  token_endpoint_auth_method: 'tls_client_auth',
  tls_client_auth_san_dns: dns,
});
const HERE = { addresses: ['127.0.0.0/8'] };
const ELSEWHERE = { addresses: ['10.0.0.0/8', 'fd00::/8'] };

async function start(
  proxies: Record<string, unknown>[],
  clients: Record<string, unknown>[],
  tls?: Record<string, unknown>,
): Promise<TestServer> {
  const listen = { port: 0, front_proxies: proxies, ...(tls === undefined ? {} : { tls }) };
  server = await startTestServer({}, { server: { issuer: 'https://as.example.com', listen }, clients });
  return server;
}

const fieldOf = ({ cert }: TestCertificate) => `:${new X509Certificate(cert).raw.toString('base64')}:`;

/** Asks as a proxy would that passes on these header fields. */
function ask(clientId: string, fields: readonly string[], certificate: TestCertificate | null = null) {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    resource: RESOURCE,
    scope: 'builds:write',
  });
  const headers = [
    'Host',
    'as.example.com',
    'Content-Type',
    'application/x-www-form-urlencoded',
    'Content-Length',
    String(form.toString().length),
    ...fields,
  ];
  const { protocol, port } = new URL(server?.address ?? '');
  const common = {
    method: 'POST',
    path: '/token',
    host: '127.0.0.1',
    port,
    headers: headers as never,
    setHost: false,
    agent: false,
  } as const;
  const tls = {
    servername: 'as.example.com',
    ca: serverCertificate.cert,
    ...(certificate === null ? {} : { cert: certificate.cert, key: certificate.key }),
  };
  return new Promise<{ status: number; body: Record<string, unknown> }>((resolve, reject) => {
    const request = protocol === 'https:' ? https.request({ ...common, ...tls }) : http.request(common);
    request.once('error', reject).once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Record<string, unknown> }),
      );
    });
    request.end(form.toString());
  });
}
const refused = { status: 401, body: { error: 'invalid_client' } };

describe('RFC 9440 §2.2: Client-Cert of a trusted proxy', () => {
  it('RFC 8705 §2.2: a self-signed certificate authenticates its client, and binds the token', async () => {
    await start([HERE], [self()]);
    const answer = await ask('self', ['Client-Cert', fieldOf(selfSigned)]);
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'Bearer' } });
    expect(claimsOf(answer.body['access_token'])['cnf']).toEqual({ 'x5t#S256': thumbprintOf(selfSigned) });
    for (const other of [makeCertificate({ name: 'self' }), engine])
      expect(await ask('self', ['Client-Cert', fieldOf(other)])).toMatchObject(refused);
    expect(await ask('self', [])).toMatchObject(refused);
  });

  it('RFC 8705 §2.1: tls_client_auth, where the proxy vouches for chains, by name', async () => {
    await start(
      [{ ...HERE, verifies_chains: true }],
      [pki('engine', 'engine.example.com'), pki('other', 'other.example.com')],
    );
    const answer = await ask('engine', ['Client-Cert', fieldOf(engine), 'Client-Cert-Chain', `${fieldOf(ca)}`]);
    expect(claimsOf(answer.body['access_token'])).toMatchObject({
      client_id: 'engine',
      cnf: { 'x5t#S256': thumbprintOf(engine) },
    });
    expect(await ask('other', ['Client-Cert', fieldOf(engine)])).toMatchObject(refused);
  });

  it('RFC 8705 §2.1: of a proxy that does not vouch for chains a certificate does not do for tls_client_auth', async () => {
    await start([{ addresses: ['10.0.0.0/8'], verifies_chains: true }, HERE], [pki('engine', 'engine.example.com')]);
    expect(await ask('engine', ['Client-Cert', fieldOf(engine)])).toMatchObject(refused);
  });

  it('one that has expired is none', async () => {
    await start([HERE], [self('old', expired)]);
    expect(await ask('old', ['Client-Cert', fieldOf(expired)])).toMatchObject(refused);
  });

  it('RFC 8414: the metadata say that certificates are taken', async () => {
    const { address } = await start([{ ...HERE, verifies_chains: true }], [self()]);
    const metadata = (await (await fetch(`${address}/.well-known/oauth-authorization-server`)).json()) as Record<
      string,
      string[]
    >;
    expect(metadata['token_endpoint_auth_methods_supported']).toEqual(
      expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    );
    expect(metadata['tls_client_certificate_bound_access_tokens']).toBe(true);
  });
});

describe('RFC 9440 §4: what others send is nothing', () => {
  it.each([
    ['no proxy is configured', []],
    ['the proxies are elsewhere', [ELSEWHERE]],
  ])('%s: the field is not read, not even where it is malformed', async (_name, proxies) => {
    const tls = {
      certificate_file: file('as.crt', serverCertificate.cert),
      key_file: file('as.key', serverCertificate.key),
      client_certificates: 'optional',
    };
    await start(proxies, [self()], tls);
    for (const value of [fieldOf(selfSigned), 'made up', '']) {
      expect(await ask('self', ['Client-Cert', value])).toMatchObject(refused);
      expect(await ask('self', ['Client-Cert', value, 'Client-Cert', value])).toMatchObject(refused);
    }
    expect((await ask('self', ['Client-Cert', fieldOf(engine)], selfSigned)).status).toBe(200);
  });

  it('aliases of the field, and those of other proxies, are none', async () => {
    await start([HERE], [self()]);
    const pem = encodeURIComponent(selfSigned.cert);
    for (const [name, value] of [
      ['Client_Cert', fieldOf(selfSigned)],
      ['X-Client-Cert', fieldOf(selfSigned)],
      ['X-SSL-Client-Cert', pem],
      ['X-Forwarded-Client-Cert', `Cert="${pem}"`],
    ])
      expect(await ask('self', [String(name), String(value)])).toMatchObject(refused);
  });

  it.each([
    ['twice', [fieldOf(selfSigned), fieldOf(selfSigned)]],
    ['twice, with two', [fieldOf(selfSigned), fieldOf(engine)]],
    ['PEM', [encodeURIComponent(selfSigned.cert)]],
    ['without colons', [fieldOf(selfSigned).slice(1, -1)]],
    ['with a parameter', [`${fieldOf(selfSigned)};a=1`]],
    ['base64url', [`:${new X509Certificate(selfSigned.cert).raw.toString('base64url')}:`]],
    [
      'bytes behind the certificate',
      [`:${Buffer.concat([new X509Certificate(selfSigned.cert).raw, Buffer.from([0])]).toString('base64')}:`],
    ],
    ['no certificate', [':aGVsbG8=:']],
    ['a list', [`${fieldOf(selfSigned)}, ${fieldOf(engine)}`]],
    ['empty', ['']],
  ])('RFC 9440 §2.1: %s: 400, since the proxy is set up wrongly', async (_name, values) => {
    await start([HERE], [self()]);
    const answer = await ask(
      'self',
      values.flatMap((value) => ['Client-Cert', value]),
    );
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(String(answer.body['error_description'])).toMatch(/^Client-Cert is (repeated|malformed)$/);
  });

  it('RFC 9440 §2.3: a chain without a certificate, or that is no list, is 400', async () => {
    await start([HERE], [self()]);
    for (const fields of [
      ['Client-Cert-Chain', fieldOf(ca)],
      ['Client-Cert', fieldOf(selfSigned), 'Client-Cert-Chain', 'x'],
    ])
      expect(await ask('self', fields)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});

it('RFC 9440 §2.1: whatever stands in the field of a proxy, it is a certificate or a problem, and the problem holds nothing of it', () => {
  const listen = parseAuthServerConfig(
    { version: 1, signing_keys_file: 'k.json', listen: { front_proxies: [HERE] }, clients: [self()] },
    folder,
  ).listen;
  const read = createCertificateReader(listen, Date.now);
  const good = fieldOf(selfSigned);
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.base64String().map((text) => `:${text}:`),
    fc
      .tuple(fc.nat(good.length), fc.string({ maxLength: 3 }))
      .map(([at, put]) => good.slice(0, at) + put + good.slice(at + 1)),
    fc.constant(good),
  );
  const name = fc.constantFrom('Client-Cert', 'client-cert', 'CLIENT-CERT', 'Client_Cert', 'Client-Cert-Chain', 'X');
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 3 }), (fields) => {
      const request = {
        socket: { remoteAddress: '127.0.0.1' },
        rawHeaders: fields.flat(),
      } as unknown as http.IncomingMessage;
      const answer = read(request);
      const given = fields.filter(([one]) => one.toLowerCase() === 'client-cert');
      if (answer.ok && answer.value !== null)
        expect(given.map(([, text]) => text)).toEqual([
          fieldOf({ ...selfSigned, cert: answer.value.certificate.toString() }),
        ]);
      if (answer.ok && answer.value === null) expect(given).toEqual([]);
      if (!answer.ok) expect(answer.problem).toMatch(/^Client-Cert(-Chain)? is (repeated|malformed)$/);
    }),
    { numRuns: 500 },
  );
});

describe('a proxy that is known by its own certificate', () => {
  const tls = () => ({
    certificate_file: file('as.crt', serverCertificate.cert),
    key_file: file('as.key', serverCertificate.key),
    client_certificates: 'optional',
    client_ca_file: file('ca.pem', ca.cert),
  });

  it('is believed with it and not without, and its own certificate is never the one of a client', async () => {
    await start(
      [{ certificate_names: ['proxy.internal.example'] }],
      [self(), pki('proxy', 'proxy.internal.example'), pki('engine', 'engine.example.com')],
      tls(),
    );
    const fields = ['Client-Cert', fieldOf(selfSigned)];
    expect((await ask('self', fields, proxyCertificate)).status).toBe(200);
    expect(await ask('self', fields, engine)).toMatchObject(refused);
    expect(await ask('self', fields)).toMatchObject(refused);
    expect(await ask('proxy', [], proxyCertificate)).toMatchObject(refused);
    const direct = await ask('engine', fields, engine);
    expect(claimsOf(direct.body['access_token'])['cnf']).toEqual({ 'x5t#S256': thumbprintOf(engine) });
  });
});

describe('the configuration of front proxies', () => {
  const problemsOf = (listen: Record<string, unknown>, client: Record<string, unknown> = self()) => {
    try {
      parseAuthServerConfig({ version: 1, signing_keys_file: 'k.json', listen, clients: [client] }, folder);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  it.each([
    [{ front_proxies: [{}] }, 'say how the proxies are known'],
    [{ front_proxies: [{ addresses: ['0.0.0.0/0'] }] }, 'that is every address'],
    [{ front_proxies: [{ addresses: ['::/0'] }] }, 'that is every address'],
    [{ front_proxies: [{ addresses: ['10.0.0.0/33'] }] }, 'expected an address or a network'],
    [
      { front_proxies: [{ certificate_names: ['proxy.internal'] }] },
      'needs listen.tls with client_certificates: optional',
    ],
    [{ front_proxies: [{ ...HERE, header: 'X-Mine' }] }, 'header'],
    [{}, 'needs listen.tls with client_certificates: optional, or listen.front_proxies'],
  ])('%j: %s', (listen, words) => expect(problemsOf(listen)).toContain(words));

  it('tls_client_auth needs somebody who vouches for chains', () => {
    expect(problemsOf({ front_proxies: [HERE] }, pki('a', 'a.example'))).toContain(
      'a front proxy with verifies_chains: true',
    );
    expect(problemsOf({ front_proxies: [{ ...HERE, verifies_chains: true }] }, pki('a', 'a.example'))).toBe('');
  });
});
