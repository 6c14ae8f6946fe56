import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate, type TestCertificate, thumbprintOf } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw } from '../support/raw_connection.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { PATH, Scene } from './scene.ts';

const hosts = ['127.0.0.1'];
const ca = makeCertificate({ name: 'ca', authority: true });

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(() => scene.close());

/** What a caller saw: the reason where there is one, else the status; or the code of the error that ended the connection. */
function call(port: number, headers: Record<string, string>, client?: TestCertificate): Promise<number | string> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path: PATH, headers, ca: ca.cert, agent: false } as const;
    const outgoing = request({ ...options, ...(client && { cert: client.cert, key: client.key }) }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      answer.on('end', () => resolve(/"reason":"([^"]+)"/.exec(body)?.[1] ?? answer.statusCode ?? 0));
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    outgoing.end();
  });
}

/** The name in the certificate that a new connection gets to see. */
function nameAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca: ca.cert }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

describe('certificate and key of the gateway', () => {
  let gateway: GatewayProcess;
  const install = (file: string, { cert, key }: TestCertificate, keyOf: { key: string } = { key }) => {
    writeFileSync(join(scene.folder, `${file}.crt`), cert);
    writeFileSync(join(scene.folder, `${file}.key`), keyOf.key);
  };
  const certificate = (name: string) => makeCertificate({ name, hosts, issuer: ca });
  const dpop = () => scene.headers(gateway);

  beforeAll(async () => {
    install('gateway', certificate('first'));
    const tls = { certificate_file: 'gateway.crt', key_file: 'gateway.key', client_certificates: 'optional' };
    gateway = await scene.start(scene.config(upstream.origin, { listen: { port: 0, tls } }));
  });

  it('the origin is https, and a request passes', async () => {
    expect(gateway.origin).toBe(`https://127.0.0.1:${gateway.port}`);
    expect(await nameAt(gateway.port)).toBe('first');
    expect(await call(gateway.port, await dpop())).toBe(200);
  });

  it('replaced: used for new connections without a restart; connections that stand go on', async () => {
    const standing = connect({ host: '127.0.0.1', port: gateway.port, ca: ca.cert });
    await new Promise((resolve) => standing.once('secureConnect', resolve));
    install('gateway', certificate('second'));
    await eventually('the new certificate is used', async () => (await nameAt(gateway.port)) === 'second');
    expect(await call(gateway.port, await dpop())).toBe(200);
    const answer = new Promise((resolve) => standing.once('data', (data) => resolve(String(data))));
    standing.write(await scene.bytes(gateway));
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    standing.destroy();
  });

  it.each([
    ['a key of another certificate', () => install('gateway', certificate('third'), certificate('fourth'))],
    ['no PEM', () => writeFileSync(join(scene.folder, 'gateway.crt'), 'not a certificate')],
    ['an empty file', () => writeFileSync(join(scene.folder, 'gateway.key'), '')],
  ])('broken (%s): refused, the old one stays; SIGHUP looks at once', async (_, breakIt) => {
    const refused = () => gateway.log.filter(({ msg }) => /^the new certificate was refused/.test(String(msg))).length;
    const before = refused();
    breakIt();
    gateway.signal('SIGHUP');
    await eventually('it is refused', () => refused() > before);
    expect(await nameAt(gateway.port)).toBe('second');
    expect(await call(gateway.port, await dpop())).toBe(200);
  });

  it('put right: used again', async () => {
    install('gateway', certificate('fifth'));
    gateway.signal('SIGHUP');
    await eventually('the new certificate is used', async () => (await nameAt(gateway.port)) === 'fifth');
  });

  it('plain HTTP to the TLS port: nothing is answered, nothing is sent upstream, and the gateway goes on', async () => {
    const before = upstream.requests.length;
    const caller = await connectRaw(gateway.port);
    caller.send(await scene.bytes(gateway));
    await caller.closed();
    expect(caller.received).toBe('');
    expect(upstream.requests).toHaveLength(before);
    expect(await call(gateway.port, await dpop())).toBe(200);
  });

  it('RFC 8705 §3: a certificate-bound token needs the certificate of the connection; no CA is needed for that', async () => {
    const own = makeCertificate({ name: 'job' });
    const token = await scene.issuer.token(null, { claims: { cnf: { 'x5t#S256': thumbprintOf(own) } } });
    const headers = { authorization: `Bearer ${token}` };
    expect(await call(gateway.port, headers, own)).toBe(200);
    expect(await call(gateway.port, headers)).toBe('proof.certificate_missing');
    expect(await call(gateway.port, headers, makeCertificate({ name: 'job' }))).toBe('proof.key_mismatch');
  });
});

describe.each([
  ['with a CA', true],
  ['without a CA', false],
])('client_certificates: required, %s', (_, withCa) => {
  let gateway: TestGateway;

  beforeAll(async () => {
    const { cert, key } = makeCertificate({ name: 'gateway', hosts, issuer: ca });
    const path = (file: string) => join(scene.folder, `required_${file}`);
    writeFileSync(path('crt'), cert);
    writeFileSync(path('key'), key);
    writeFileSync(path('ca'), ca.cert);
    const files = {
      certificate_file: path('crt'),
      key_file: path('key'),
      ...(withCa && { client_ca_file: path('ca') }),
    };
    const tls = { ...files, client_certificates: 'required' };
    gateway = await startTestGateway({ upstream: upstream.origin, config: { listen: { port: 0, tls } } });
  });

  afterAll(() => gateway.close());

  it('a caller with one passes, one without is not read', async () => {
    const client = makeCertificate({ name: 'client', issuer: ca });
    expect(await call(gateway.port, await gateway.headers('GET', PATH), client)).toBe(200);
    expect(await call(gateway.port, await gateway.headers('GET', PATH))).toMatch(/^(ECONNRESET|EPIPE|ERR_SSL_)/);
    expect(await gateway.records(1)).toHaveLength(1);
  });

  it(`one of another CA: ${withCa ? 'not read' : 'taken'}`, async () => {
    const client = makeCertificate({ name: 'stranger' });
    const seen = await call(gateway.port, await gateway.headers('GET', PATH), client);
    if (withCa) expect(seen).toMatch(/^(ECONNRESET|EPIPE|ERR_SSL_)/);
    else expect(seen).toBe(200);
  });
});
