import http2, { type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { ERROR, FLAG, FRAME, frame, uint32 } from '../support/http2_frames.ts';

/** An upstream that speaks HTTP/2: what it gets, and how its faults are told. The caller speaks HTTP/1.1. */

const PATH = '/v1/projects/p1';
const BUILDS = '/v1/projects/p1/builds';

type Handler = (stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders, body: string) => void;
let handler: Handler = () => undefined;
const received: { headers: http2.IncomingHttpHeaders; body: string; trailers: http2.IncomingHttpHeaders | null }[] = [];
const sessions = new Set<http2.ServerHttp2Session>();
const upstream = http2.createServer();
upstream.on('session', (session) => sessions.add(session));
upstream.on('stream', (stream, headers) => {
  let body = '';
  let trailers: http2.IncomingHttpHeaders | null = null;
  stream.on('error', () => undefined);
  stream.setEncoding('utf8');
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: string) => {
    body += chunk;
  });
  stream.on('end', () => {
    received.push({ headers, body, trailers });
    handler(stream, headers, body);
  });
});

let gateway: TestGateway;
beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  gateway = await startTestGateway({
    upstream: url,
    route: {
      upstream: { url, protocol: 'http2', timeout_ms: 400, connect_timeout_ms: 400 },
      trailers: { request: ['x-sum'], response: ['x-sum'] },
    },
  });
});
afterAll(async () => {
  await gateway.close();
  for (const session of sessions) session.destroy();
  upstream.close();
});
afterEach(() => {
  received.length = 0;
});

async function send(method = 'GET', path = PATH, init: RequestInit = {}): Promise<Response> {
  const headers = { ...(await gateway.headers(method, path)), ...(init.headers as Record<string, string>) };
  return fetch(gateway.origin + path, { method, ...init, headers });
}

async function reasonOf(response: Response): Promise<string> {
  return ((await response.json()) as { reason: string }).reason;
}

const ok: Handler = (stream) => {
  stream.respond({ ':status': 200, 'x-from': 'h2', 'content-length': '2' });
  stream.end('ok');
};

describe('an upstream over HTTP/2', () => {
  it('RFC 9113 §8.3.1: gets the judged path, its own authority, and none of the fields that end at the gateway', async () => {
    handler = ok;
    const answer = await send('GET', `${PATH}?dry_run=true`, { headers: { 'x-custom': '1', cookie: 'a=b' } });
    expect([answer.status, answer.headers.get('x-from'), await answer.text()]).toEqual([200, 'h2', 'ok']);
    // RFC 9110 §7.6.3: each direction says what it was received in.
    expect([answer.headers.get('via'), received[0]?.headers['via']]).toEqual(['2 sallyport', '1.1 sallyport']);
    const headers = received[0]?.headers ?? {};
    expect(headers).toMatchObject({
      ':method': 'GET',
      ':path': `${PATH}?dry_run=true`,
      ':scheme': 'http',
      'x-custom': '1',
    });
    expect(headers[':authority']).toMatch(/^127\.0\.0\.1:\d+$/);
    for (const name of ['authorization', 'dpop', 'cookie', 'host', 'connection', 'te'])
      expect(headers[name]).toBeUndefined();
  });

  it('gets bodies whole, with their length and chunked, and many at once on few connections', async () => {
    handler = ok;
    const before = sessions.size;
    const bodies = Array.from({ length: 30 }, (_, n) => `{"n":${n},"fill":"${'x'.repeat(n * 1000)}"}`);
    const answers = await Promise.all(bodies.map((body) => send('POST', BUILDS, { body })));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(received.map(({ body }) => body).sort()).toEqual([...bodies].sort());
    expect(sessions.size - before).toBeLessThanOrEqual(2);
  });

  it('HEAD, 204 and answers without length', async () => {
    handler = (stream, headers) => {
      if (headers[':method'] === 'HEAD')
        stream.respond({ ':status': 200, 'content-length': '100' }, { endStream: true });
      else {
        stream.respond({ ':status': 200 });
        stream.write('one ');
        setTimeout(() => stream.end('two'), 20);
      }
    };
    expect((await send('HEAD')).headers.get('content-length')).toBe('100');
    expect(await (await send()).text()).toBe('one two');
    handler = (stream) => stream.respond({ ':status': 204 }, { endStream: true });
    expect((await send('DELETE', PATH)).status).not.toBe(502);
  });

  it('interim answers end at the gateway', async () => {
    handler = (stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>; rel=preload' });
      ok(stream, {}, '');
    };
    expect((await send()).status).toBe(200);
  });

  it.each([
    [
      'RST_STREAM before an answer',
      'forward.upstream_broken',
      502,
      (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
    ],
    [
      'REFUSED_STREAM is not sent again',
      'forward.upstream_broken',
      502,
      (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM),
    ],
    ['the connection breaks', 'forward.upstream_broken', 502, (stream) => stream.session?.destroy()],
    ['no answer in time', 'forward.upstream_timeout', 504, () => undefined],
  ] as [string, string, number, Handler][])('%s: %s', async (_name, reason, status, fault) => {
    handler = fault;
    const answer = await send();
    expect([answer.status, await reasonOf(answer)]).toEqual([status, reason]);
    expect(received).toHaveLength(1);
    handler = ok;
    expect((await send()).status).toBe(200);
  });

  it.each([
    ['the connection breaks', (stream) => stream.session?.destroy()],
    ['a pause that is too long', () => undefined],
  ] as [string, (stream: ServerHttp2Stream) => void][])(
    'an answer that is cut short never looks whole: %s',
    async (_name, cut) => {
      handler = (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('half');
        setTimeout(() => cut(stream), 50);
      };
      const answer = await send();
      expect(answer.status).toBe(200);
      await expect(answer.text()).rejects.toThrow();
    },
  );

  it.each([ERROR.NO_ERROR, ERROR.INTERNAL_ERROR, ERROR.CANCEL, ERROR.REFUSED_STREAM])(
    'RFC 9113 §8.1.1: an answer that is reset with code %i in the middle never looks whole',
    async (code) => {
      // By hand: node:http2 ends a stream in order before it resets it.
      const raw = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.write(frame(FRAME.SETTINGS, 0, 0));
        let answered = false;
        socket.on('data', (chunk: Buffer) => {
          if (answered || !chunk.includes(Buffer.from([FLAG.END_HEADERS | FLAG.END_STREAM, 0, 0, 0, 1]))) return;
          answered = true;
          socket.write(
            Buffer.concat([
              frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, Buffer.of(0x88)),
              frame(FRAME.DATA, 0, 1, Buffer.from('half')),
            ]),
          );
          setTimeout(() => socket.write(frame(FRAME.RST_STREAM, 0, 1, uint32(code))), 50);
        });
      });
      await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
      const url = `http://127.0.0.1:${(raw.address() as AddressInfo).port}`;
      const other = await startTestGateway({ upstream: url, route: { upstream: { url, protocol: 'http2' } } });
      const answer = await fetch(other.origin + PATH, { headers: await other.headers('GET', PATH) });
      expect(answer.status).toBe(200);
      await expect(answer.text()).rejects.toThrow();
      const [record] = await other.records(1);
      expect(record?.['custom']).toMatchObject({
        sallyport: { reason: 'forward.upstream_broken', upstream: { complete: false } },
      });
      await other.close();
      raw.close();
    },
  );

  it('RFC 9113 §8.1.1: a request body that is cut short never looks whole', async () => {
    let whole = 0;
    const codes: number[] = [];
    handler = () => {
      whole++;
    };
    const watch = (stream: ServerHttp2Stream) => stream.on('close', () => codes.push(stream.rstCode));
    upstream.on('stream', watch);
    const headers = await gateway.headers('POST', BUILDS);
    const socket = connect(gateway.port, '127.0.0.1');
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const host = new URL(gateway.origin).host;
    socket.write(`POST ${BUILDS} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n${lines.join('')}\r\nhalf`);
    await eventually('it is under way', () => gateway.gateway !== null && upstream.listenerCount('stream') === 2);
    await new Promise((resolve) => setTimeout(resolve, 300));
    socket.destroy();
    await eventually('the reset', () => codes.length === 1);
    upstream.off('stream', watch);
    expect(codes).toEqual([http2.constants.NGHTTP2_INTERNAL_ERROR]);
    // node:http2 ends what it reads of a reset stream, so that its code is what tells.
    expect(whole).toBeLessThanOrEqual(1);
  });

  it('a caller that goes away resets the stream', async () => {
    let reset = Number.NaN;
    handler = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('on and on');
      stream.on('close', () => {
        reset = stream.rstCode;
      });
    };
    const gone = new AbortController();
    const answer = await send('GET', PATH, { signal: gone.signal });
    expect(answer.status).toBe(200);
    gone.abort();
    await eventually('the reset', () => reset === http2.constants.NGHTTP2_CANCEL);
  });

  it('GOAWAY: requests under way are answered, the next goes on another connection', async () => {
    handler = (stream) => {
      stream.session?.close();
      setTimeout(() => ok(stream, {}, ''), 50);
    };
    expect((await send()).status).toBe(200);
    handler = ok;
    expect((await send()).status).toBe(200);
  });

  it('forward.upstream_unreachable, and forward.upstream_invalid where the upstream does not choose h2', async () => {
    const { cert, key } = makeCertificate({ name: 'upstream', hosts: ['127.0.0.1', 'localhost'] });
    const { createServer: createTlsServer } = await import('node:https');
    const { writeFileSync } = await import('node:fs');
    const { join } = await import('node:path');
    const old = createTlsServer({ cert, key }, (_request, response) => response.end('no'));
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
    const port = (old.address() as AddressInfo).port;
    const start = (url: string, more: Record<string, unknown> = {}) =>
      startTestGateway({ upstream: url, route: { upstream: { url, protocol: 'http2', ...more } } });
    const ca = join(gateway.folder, 'upstream.crt');
    writeFileSync(ca, cert);
    for (const [url, more, reason] of [
      ['http://127.0.0.1:1', {}, 'forward.upstream_unreachable'],
      [`https://127.0.0.1:${port}`, {}, 'forward.upstream_tls'],
      [`https://127.0.0.1:${port}`, { ca_file: ca }, 'forward.upstream_'],
    ] as const) {
      const other = await start(url, more);
      const answer = await fetch(other.origin + PATH, { headers: await other.headers('GET', PATH) });
      expect(answer.status).toBe(502);
      expect(await reasonOf(answer)).toContain(reason);
      await other.close();
    }
    old.close();
  });
});
