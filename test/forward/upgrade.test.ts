import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { valuesOf } from '../support/read_requests.ts';
import {
  answerOnce,
  type RecordingUpstream,
  startRecordingUpstream,
  type UpstreamScript,
} from '../support/recording_upstream.ts';
import { type Front, type FrontOptions, startFront } from './front.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-upgrade-'));
const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

interface Scene {
  readonly upstream: RecordingUpstream;
  readonly front: Front;
  readonly caller: RawConnection;
}

async function start(script: UpstreamScript, options?: FrontOptions): Promise<Scene> {
  const upstream = await startRecordingUpstream(script);
  const front = await startFront(upstream.origin, options);
  open.push(front, upstream);
  return { upstream, front, caller: await connectRaw(front.port) };
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

function request(target = '/v1/socket', fields = ''): string {
  return (
    `GET ${target} HTTP/1.1\r\nHost: cloud.example.com\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Protocol: a, b\r\n${fields}\r\n`
  );
}

/** RFC 6455 §4.2.2. */
function switching(fields = ''): string {
  const accept = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${fields}\r\n`;
}

/** Switches, then sends everything back. */
const echo: UpstreamScript = async (connection) => {
  await connection.until('\r\n\r\n');
  connection.send(switching());
  connection.socket.on('data', (chunk: Buffer) => connection.send(chunk));
};

const silent: UpstreamScript = () => undefined;

describe('a request to switch to WebSocket', () => {
  it('RFC 6455 §4: is switched, and bytes pass both ways', async () => {
    const { upstream, front, caller } = await start(echo);
    caller.send(request());
    await caller.until('\r\n\r\n');
    expect(caller.answers[0]).toMatchObject({ status: 101 });
    caller.send('\x81\x05hello');
    await caller.until('\x81\x05hello');
    expect(front.forwarder.stats().upgrades).toBe(1);
    caller.end();
    await caller.closed();
    await upstream.connections[0]?.closed();
    expect(await front.outcome()).toMatchObject({
      denial: null,
      evidence: { status: 101, upstream: { status: 101, requestBytes: 7, responseBytes: 7, complete: true } },
    });
    expect(front.forwarder.stats().upgrades).toBe(0);
  });

  it('RFC 6455 §4.1: bytes that came with the request reach the upstream after the switch', async () => {
    const { upstream, caller } = await start(echo);
    caller.send(`${request()}early`);
    await caller.until('early');
    expect(upstream.received.endsWith('\r\n\r\nearly')).toBe(true);
  });

  it('RFC 6455 §4.1: bytes that come with the switching answer reach the caller', async () => {
    const { caller } = await start(answerOnce(`${switching()}greeting`));
    caller.send(request());
    await caller.until('greeting');
  });

  it('RFC 9110 §7.6.1: the header fields are those of any other request, and the switch', async () => {
    const { upstream, caller, front } = await start(echo, {
      changes: { token: { subject: 'job-1' }, obligations: { setHeaders: [['x-tenant', 'p1']] } },
    });
    caller.send(
      request(
        '/v1/socket',
        'Authorization: DPoP secret\r\nDPoP: proof\r\nCookie: a=b\r\nX-Hop: 1\r\nx_tenant: evil\r\nsallyport_subject: root\r\n' +
          'X-Forwarded-For: 1.2.3.4\r\nTransfer-Encoding_: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Twice: 1\r\nx-twice: 2\r\nExpect: 100-continue\r\n',
      ),
    );
    await caller.until('101');
    const [got] = upstream.requests;
    expect(valuesOf(got, 'host')).toEqual([`127.0.0.1:${upstream.port}`]);
    expect(valuesOf(got, 'connection')).toEqual(['Upgrade']);
    expect(valuesOf(got, 'upgrade')).toEqual(['websocket']);
    expect(valuesOf(got, 'sec-websocket-key')).toEqual([KEY]);
    expect(valuesOf(got, 'sec-websocket-protocol')).toEqual(['a, b']);
    expect(valuesOf(got, 'x-twice')).toEqual(['1', '2']);
    expect(valuesOf(got, 'x-tenant')).toEqual(['p1']);
    expect(valuesOf(got, 'sallyport-subject')).toEqual(['job-1']);
    expect(valuesOf(got, 'via')).toEqual(['1.1 sallyport']);
    expect(upstream.received).not.toMatch(/secret|proof|cookie|x-hop|evil|root|1\.2\.3\.4|expect/i);
    expect(valuesOf(got, 'sallyport-decision-id')).toHaveLength(1);
    expect(front.outcomes).toHaveLength(0);
  });

  it.each(['/v1/a//b///c', '/v1/%2F%7b/x', "/v1/a'b(c)", '/v1/s?u=http://x//y/../z&v=%2e', '/v1/http:/x', '/v1/s?'])(
    'invariant "one parse": %s is sent byte for byte',
    async (target) => {
      const { upstream, caller } = await start(echo);
      caller.send(request(target));
      await caller.until('101');
      expect(upstream.received.startsWith(`GET ${target} HTTP/1.1\r\n`)).toBe(true);
    },
  );

  it('configuration upstream.url: its path stands before', async () => {
    const upstream = await startRecordingUpstream(echo);
    const front = await startFront(`${upstream.origin}/base/`);
    open.push(front, upstream);
    const caller = await connectRaw(front.port);
    caller.send(request('/v1/s'));
    await caller.until('101');
    expect(upstream.requests[0]?.target).toBe('/base/v1/s');
  });

  it('credentials: the upstream gets ours', async () => {
    const value_file = join(folder, 'credential');
    writeFileSync(value_file, 'Bearer ours\n');
    const { upstream, caller } = await start(echo, {
      upstream: { credential: { header: 'Authorization', value_file } },
    });
    caller.send(request('/v1/s', 'Authorization: DPoP theirs\r\n'));
    await caller.until('101');
    expect(valuesOf(upstream.requests[0], 'authorization')).toEqual(['Bearer ours']);
  });

  it('forward.credential_unavailable: nothing is sent', async () => {
    const { upstream, caller } = await start(echo, {
      upstream: { credential: { header: 'Authorization', value_file: join(folder, 'missing') } },
    });
    caller.send(request());
    await caller.until('503');
    expect(upstream.connections).toHaveLength(0);
  });

  it('RFC 9110 §7.6.1: of the switching answer the caller gets what concerns it', async () => {
    const { caller } = await start(
      answerOnce(
        switching(
          'DPoP-Nonce: x\r\nSallyport-Subject: x\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Secret: 1\r\n',
        ),
      ),
      { changes: { obligations: { removeResponseHeaders: ['x-secret'] } } },
    );
    caller.send(request());
    await caller.until('\r\n\r\n');
    const { headers } = caller.answers[0] ?? { headers: {} as Record<string, readonly string[]> };
    expect(headers['connection']).toEqual(['Upgrade']);
    expect(headers['upgrade']).toEqual(['websocket']);
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(headers['via']).toEqual(['1.1 sallyport']);
    expect(headers['sallyport-decision-id']).toHaveLength(1);
    expect(caller.received).not.toMatch(/nonce|subject|keep-alive|secret/i);
  });

  it.each([
    ['a switching answer', switching('DPoP-Nonce: x\r\n')],
    ['a refusal of the upstream', 'HTTP/1.1 404 Not Found\r\nDPoP-Nonce: x\r\nContent-Length: 0\r\n\r\n'],
  ])('RFC 9449 §8.2: %s carries the nonce that is due, and only that', async (_, answer) => {
    const { caller } = await start(answerOnce(answer), { changes: { nonce: 'ours' } });
    caller.send(request());
    await caller.until('\r\n\r\n');
    expect(caller.answers[0]?.headers['dpop-nonce']).toEqual(['ours']);
  });

  it('TLS: the upstream is verified as for other requests', async () => {
    const ca = makeCertificate({ name: 'ca', authority: true });
    const good = makeCertificate({ name: 'up', hosts: ['127.0.0.1'], issuer: ca });
    const ca_file = join(folder, 'ca.pem');
    writeFileSync(ca_file, ca.cert);
    const upstream = await startRecordingUpstream(echo, { cert: good.cert, key: good.key });
    open.push(upstream);
    for (const [options, status] of [
      [{ ca_file }, 101],
      [{}, 502],
    ] as const) {
      const front = await startFront(upstream.origin, { upstream: options });
      open.push(front);
      const caller = await connectRaw(front.port);
      caller.send(request());
      await caller.until('\r\n\r\n');
      expect(caller.answers[0]?.status).toBe(status);
      if (status === 502) expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_tls' });
    }
  });
});

describe('an upstream that does not switch', () => {
  it.each([
    ['with a length', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nno'],
    ['chunked', 'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n2\r\nno\r\n0\r\n\r\n'],
  ])('RFC 9110 §7.8: its answer is passed on, framed right, and the connection ends (%s)', async (_, bytes) => {
    const { upstream, front, caller } = await start(answerOnce(bytes));
    caller.send(request());
    await caller.closed();
    expect(caller.answers).toHaveLength(1);
    expect(caller.answers[0]).toMatchObject({ status: 403, body: 'no' });
    expect(caller.answers[0]?.headers).toMatchObject({ 'x-a': ['1'], connection: ['close'], via: ['1.1 sallyport'] });
    expect(await front.outcome()).toMatchObject({
      denial: null,
      evidence: { status: 403, upstream: { status: 403, responseBytes: 2, complete: true } },
    });
    await upstream.connections[0]?.closed();
  });

  it('forward.upstream_broken: a truncated refusal does not end normally', async () => {
    const { front, caller } = await start(
      answerOnce('HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n', { end: true }),
    );
    caller.send(request());
    await caller.closed();
    expect(caller.received).not.toContain('0\r\n\r\n');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_broken' });
  });

  it.each([
    ['switches to h2c', switching().replace('websocket', 'h2c')],
    ['speaks no HTTP', 'hello\r\n\r\n'],
    ['folds lines', 'HTTP/1.1 403 Forbidden\r\nX-A: a\nX-B: b\r\n\r\n'],
    [
      'answers with a coding nobody asked for',
      'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    ],
    ['answers 600', 'HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n'],
  ])('forward.upstream_invalid: %s', async (_, bytes) => {
    const { upstream, front, caller } = await start(answerOnce(bytes));
    caller.send(request());
    await caller.until('502');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_invalid' });
    await upstream.connections[0]?.closed();
  });

  it('forward.upstream_broken: closes without an answer; the gateway answers', async () => {
    const { front, caller } = await start(answerOnce('', { end: true }));
    caller.send(request());
    await caller.until('502');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_broken' });
  });

  it('forward.upstream_unreachable: nobody listens; the gateway answers', async () => {
    const gone = await startRecordingUpstream();
    const { origin } = gone;
    await gone.close();
    const front = await startFront(origin);
    open.push(front);
    const caller = await connectRaw(front.port);
    caller.send(request());
    await caller.until('502');
    expect(await front.outcome()).toMatchObject({ denial: { reason: 'forward.upstream_unreachable' } });
    expect((await front.outcome()).evidence.upstream).toBeUndefined();
  });

  it('forward.upstream_timeout: says nothing', async () => {
    const { upstream, front, caller } = await start(silent, { upstream: { timeout_ms: 150 } });
    caller.send(request());
    await caller.until('504');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout' });
    await upstream.connections[0]?.closed();
  });

  it('forward.upstream_timeout: a refusal that stops', async () => {
    const { front, caller } = await start(answerOnce('HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno'), {
      upstream: { timeout_ms: 150 },
    });
    caller.send(request());
    await caller.closed();
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout' });
  });
});

describe('the end of an upgraded connection', () => {
  async function switched(script: UpstreamScript = echo, options?: FrontOptions): Promise<Scene> {
    const scene = await start(script, options);
    scene.caller.send(request());
    await scene.caller.until('\r\n\r\n');
    return scene;
  }

  it('RFC 6750 §5.2, forward.upgrade_expired: with the token', async () => {
    const expiresAt = Math.ceil(Date.now() / 1000) + 1;
    const { upstream, front, caller } = await switched(echo, { changes: { token: { expiresAt } } });
    caller.send('still');
    await caller.until('still');
    await caller.closed();
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt * 1000);
    await upstream.connections[0]?.closed();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upgrade_expired' },
      evidence: { status: 101, upstream: { requestBytes: 5, responseBytes: 5, complete: false } },
    });
  });

  it('forward.upgrade_expired: by the injected clock, and at once when the token is over', async () => {
    const { front, caller } = await start(echo, { forwarder: { clock: () => 5_000_000_000_000 } });
    caller.send(request());
    await caller.closed();
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upgrade_expired' });
  });

  it('forward.upgrade_withdrawn: those and only those whose policy was withdrawn', async () => {
    const { front, caller, upstream } = await switched(echo, {
      changes: (incoming) => ({ token: { subject: incoming.url === '/v1/socket' ? 'withdrawn' : 'kept' } }),
    });
    const kept = await connectRaw(front.port);
    kept.send(request('/v1/kept'));
    await kept.until('\r\n\r\n');
    for (const connection of front.forwarder.underWay()) {
      if (connection.authorized.token.subject === 'withdrawn') connection.end({ reason: 'forward.upgrade_withdrawn' });
    }
    await caller.closed();
    await upstream.connections[0]?.closed();
    expect((await front.outcome()).denial).toEqual({ reason: 'forward.upgrade_withdrawn' });
    kept.send('alive');
    await kept.until('alive');
    expect(front.forwarder.stats().upgrades).toBe(1);
  });

  it('forward.upgrade_withdrawn: while it is being opened, the gateway answers', async () => {
    const { front, caller, upstream } = await start(silent);
    caller.send(request());
    await eventually('the upstream is reached', () => upstream.requests.length === 1);
    for (const connection of front.forwarder.underWay()) connection.end({ reason: 'forward.upgrade_withdrawn' });
    await caller.until('403');
    await upstream.connections[0]?.closed();
  });

  it.each(['endUpgrades', 'close'] as const)('forward.stopping: at %s', async (method) => {
    const { front, caller, upstream } = await switched();
    await front.forwarder[method]();
    await caller.closed();
    await upstream.connections[0]?.closed();
    expect((await front.outcome()).denial).toEqual({ reason: 'forward.stopping' });
    const late = await connectRaw(front.port);
    late.send(request());
    await late.until('503');
    expect(upstream.connections).toHaveLength(1);
  });

  it('http-proxy: a caller that hangs up takes the upstream with it', async () => {
    const { front, caller, upstream } = await switched();
    caller.reset();
    await upstream.connections[0]?.closed();
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.client_closed' });
  });

  it('http-proxy: an upstream that resets takes the caller with it', async () => {
    const { front, caller, upstream } = await switched();
    upstream.connections[0]?.reset();
    await caller.closed();
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_broken' });
  });

  it('an upstream that ends: what it sent still arrives, then the connection ends', async () => {
    const { front, caller } = await start(answerOnce(`${switching()}last words`, { end: true }));
    caller.send(request());
    await caller.closed();
    expect(caller.received.endsWith('last words')).toBe(true);
    expect(caller.ended).toBe(true);
    expect(await front.outcome()).toMatchObject({ denial: null, evidence: { upstream: { complete: true } } });
  });

  it('an upstream that ends: a caller that keeps its side open is cut', async () => {
    const upstream = await startRecordingUpstream(answerOnce(switching(), { end: true }));
    const front = await startFront(upstream.origin);
    open.push(front, upstream);
    const caller = await connectRaw(front.port, { allowHalfOpen: true });
    caller.send(request());
    expect(await front.outcome()).toMatchObject({ denial: null });
    caller.socket.destroy();
  });

  it.each(['end', 'reset'] as const)('forward.client_closed: while it is being opened (%s)', async (how) => {
    const { upstream, front, caller } = await start(silent);
    caller.send(request());
    await eventually('the upstream is reached', () => upstream.requests.length === 1);
    caller[how]();
    await upstream.connections[0]?.closed();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.client_closed' },
      evidence: { status: 499 },
    });
  });

  it('much passes both ways without being held: whoever does not read stops the other', async () => {
    const { caller, front } = await switched(async (connection) => {
      await connection.until('\r\n\r\n');
      connection.send(switching());
      connection.socket.removeAllListeners('data');
      connection.socket.pause();
    });
    const part = Buffer.alloc(1_048_576);
    let sent = 0;
    for (let held = false; !held && sent < 256; sent++) {
      caller.send(part);
      held = await Promise.race([once(caller.socket, 'drain').then(() => false), sleep(500, true)]);
    }
    // The kernel and two streams hold some; a gateway that buffered would take it all.
    expect(sent).toBeLessThan(64);
    for (const connection of front.forwarder.underWay()) connection.end({ reason: 'forward.upgrade_withdrawn' });
    await caller.closed();
    expect((await front.outcome()).evidence.upstream?.requestBytes).toBeLessThan(64_000_000);
  });
});
