import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createForwarder } from '../../src/forward/forward.ts';
import { makeCertificate, type TestCertificate } from '../support/certificate.ts';
import { connectRaw } from '../support/raw_connection.ts';
import { answerEach, type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { type Front, startFront, upstreamConfig } from './front.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-forward-tls-'));
const caFile = join(folder, 'ca.pem');
const open: { close(): Promise<void> }[] = [];
let ca: TestCertificate;

beforeAll(() => {
  ca = makeCertificate({ name: 'ca', authority: true });
  writeFileSync(caFile, ca.cert);
});

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

async function start(
  certificate: TestCertificate,
  { host = '127.0.0.1', ca_file = caFile as string | null } = {},
): Promise<{ upstream: RecordingUpstream; front: Front }> {
  const { cert, key } = certificate;
  const upstream = await startRecordingUpstream(answerEach(), { cert, key, ALPNProtocols: ['h2', 'http/1.1'] });
  const front = await startFront(`https://${host}:${upstream.port}`, {
    upstream: ca_file === null ? {} : { ca_file },
  });
  open.push(front, upstream);
  return { upstream, front };
}

async function call(front: Front) {
  const caller = await connectRaw(front.port);
  caller.send('GET /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
  await caller.until('\r\n\r\n');
  return { status: caller.answers[0]?.status, ...(await front.outcome()) };
}

const day = 86_400_000;

describe('TLS to the upstream', () => {
  it.each(['127.0.0.1', 'localhost'])(
    'RFC 9110 §4.3.4: a certificate for %s from the configured authority is accepted',
    async (host) => {
      const { front, upstream } = await start(makeCertificate({ name: host, hosts: [host], issuer: ca }), { host });
      expect(await call(front)).toMatchObject({ status: 200, denial: null });
      const socket = upstream.connections[0]?.socket as TLSSocket & { servername?: string | false };
      // RFC 6066 §3: an address is not a server name.
      expect(socket.servername).toBe(host === 'localhost' ? 'localhost' : false);
      expect(socket.alpnProtocol).toBe('http/1.1');
      expect(upstream.requests[0]?.headers[0]).toEqual(['host', `${host}:${upstream.port}`]);
    },
  );

  it.each([
    [
      'another name',
      () => makeCertificate({ name: 'x', hosts: ['other.example.com'], issuer: ca }),
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'its time over',
      () =>
        makeCertificate({
          name: 'x',
          hosts: ['127.0.0.1'],
          issuer: ca,
          notBefore: new Date(Date.now() - 2 * day),
          notAfter: new Date(Date.now() - day),
        }),
      'CERT_HAS_EXPIRED',
    ],
    [
      'its time to come',
      () =>
        makeCertificate({
          name: 'x',
          hosts: ['127.0.0.1'],
          issuer: ca,
          notBefore: new Date(Date.now() + day),
          notAfter: new Date(Date.now() + 2 * day),
        }),
      'CERT_NOT_YET_VALID',
    ],
    ['itself as issuer', () => makeCertificate({ name: 'x', hosts: ['127.0.0.1'] }), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    [
      'an unknown authority',
      () =>
        makeCertificate({
          name: 'x',
          hosts: ['127.0.0.1'],
          issuer: makeCertificate({ name: 'stranger', authority: true }),
        }),
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ],
  ])('forward.upstream_tls: a certificate with %s is refused, and nothing is sent', async (_, certificate, note) => {
    const { front, upstream } = await start(certificate());
    expect(await call(front)).toMatchObject({ status: 502, denial: { reason: 'forward.upstream_tls', note } });
    expect(upstream.received).toBe('');
  });

  it('forward.upstream_tls: without ca_file only the authorities of Node.js count', async () => {
    const { front } = await start(makeCertificate({ name: 'x', hosts: ['127.0.0.1'], issuer: ca }), {
      ca_file: null,
    });
    expect(await call(front)).toMatchObject({ status: 502, denial: { reason: 'forward.upstream_tls' } });
  });

  it('forward.upstream_tls: an upstream that does not speak TLS', async () => {
    const upstream = await startRecordingUpstream((connection) => connection.send('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const front = await startFront(`https://127.0.0.1:${upstream.port}`);
    open.push(front, upstream);
    expect(await call(front)).toMatchObject({ status: 502, denial: { reason: 'forward.upstream_tls' } });
  });

  it('forward.upstream_timeout: an upstream that takes the connection and never shakes hands', async () => {
    const upstream = await startRecordingUpstream(() => undefined);
    const front = await startFront(`https://127.0.0.1:${upstream.port}`, { upstream: { connect_timeout_ms: 200 } });
    open.push(front, upstream);
    expect(await call(front)).toMatchObject({ status: 504, denial: { reason: 'forward.upstream_timeout' } });
    expect((await front.outcome()).evidence.upstream).toBeUndefined();
  });

  it('forward.upstream_unreachable: an upstream that breaks the handshake off', async () => {
    const upstream = await startRecordingUpstream((connection) => connection.reset());
    const front = await startFront(`https://127.0.0.1:${upstream.port}`);
    open.push(front, upstream);
    expect(await call(front)).toMatchObject({ status: 502, denial: { reason: 'forward.upstream_unreachable' } });
  });

  it('configuration ca_file: one that cannot be read stops the start', () => {
    const routes = new Map([
      ['projects', upstreamConfig('https://127.0.0.1:1', { ca_file: join(folder, 'missing.pem') })],
    ]);
    expect(() => createForwarder({ routes, bodyBytes: 1, clock: Date.now })).toThrow(/missing\.pem/);
  });
});
