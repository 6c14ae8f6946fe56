import { afterEach, describe, expect, it } from 'vitest';
import type { BodyHandle } from '../../src/kernel/context.ts';
import { eventually } from '../support/eventually.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { valuesOf } from '../support/read_requests.ts';
import {
  OK,
  type RecordingUpstream,
  startRecordingUpstream,
  type UpstreamScript,
} from '../support/recording_upstream.ts';
import { type Front, type FrontOptions, startFront } from './front.ts';

const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

async function start(
  options?: FrontOptions,
  script?: UpstreamScript,
): Promise<{ upstream: RecordingUpstream; front: Front; caller: RawConnection }> {
  const upstream = await startRecordingUpstream(script);
  const front = await startFront(upstream.origin, options);
  open.push(front, upstream);
  return { upstream, front, caller: await connectRaw(front.port) };
}

function chunked(method: string, chunks: readonly string[]): string {
  const body = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
  return `${method} /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nTransfer-Encoding: chunked\r\n\r\n${body}0\r\n\r\n`;
}

function sized(method: string, body: string): string {
  return `${method} /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

const NEXT = 'GET /admin HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n';

describe('the framing of the request that the upstream gets', () => {
  it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS'])(
    'RFC 9112 §6.3: %s without a body is sent without one',
    async (method) => {
      const { upstream, caller } = await start();
      caller.send(`${method} /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n`);
      await caller.until('200 OK');
      const [request] = upstream.requests;
      expect(request?.method).toBe(method);
      expect(valuesOf(request, 'content-length')).toEqual([]);
      expect(valuesOf(request, 'transfer-encoding')).toEqual([]);
      expect(upstream.received.endsWith('\r\n\r\n')).toBe(true);
    },
  );

  it.each(['POST', 'PUT', 'PATCH'])('RFC 9110 §8.6: %s without a body says Content-Length: 0', async (method) => {
    const { upstream, caller } = await start();
    caller.send(`${method} /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n`);
    await caller.until('200 OK');
    expect(valuesOf(upstream.requests[0], 'content-length')).toEqual(['0']);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'GET'])(
    'http-proxy issue 1721: %s with a chunked body is one request, and its body is not another',
    async (method) => {
      const { upstream, caller, front } = await start();
      caller.send(chunked(method, ['GET /admin HTTP/1.1\r\n', 'Host: cloud.example.com\r\n\r\n']));
      await caller.until('200 OK');
      expect(upstream.requests).toHaveLength(1);
      expect(upstream.requests[0]).toMatchObject({ method, body: NEXT, complete: true });
      const framing = [
        ...valuesOf(upstream.requests[0], 'content-length'),
        ...valuesOf(upstream.requests[0], 'transfer-encoding'),
      ];
      expect([['chunked'], [`${NEXT.length}`]]).toContainEqual(framing);
      expect((await front.outcome()).evidence.upstream?.requestBytes).toBe(NEXT.length);
    },
  );

  it.each(
    ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'GET'].flatMap((method) => [
      {
        method,
        framing: 'transfer-encoding',
        value: 'chunked',
        whole: chunked(method, ['GET /admin HTTP/1.1\r\n', '\r\n']),
      },
      { method, framing: 'content-length', value: '23', whole: sized(method, 'GET /admin HTTP/1.1\r\n\r\n') },
    ]),
  )(
    'http-proxy issue 1721: $method with a body ($framing) that comes bit by bit keeps its framing, and is one request',
    async ({ method, framing, value, whole }) => {
      const { upstream, caller } = await start();
      const cut = whole.indexOf('/admin');
      caller.send(whole.slice(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const character of whole.slice(cut)) caller.send(character);
      await caller.until('200 OK');
      expect(upstream.requests).toHaveLength(1);
      expect(upstream.requests[0]).toMatchObject({ method, body: 'GET /admin HTTP/1.1\r\n\r\n', complete: true });
      expect(valuesOf(upstream.requests[0], framing)).toEqual([value]);
      expect(
        upstream.requests[0]?.headers.filter(([name]) => /^(transfer-encoding|content-length)$/i.test(name)),
      ).toHaveLength(1);
    },
  );

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'GET'])(
    'RFC 9112 §6.2: %s with Content-Length keeps exactly that length',
    async (method) => {
      const { upstream, caller } = await start();
      caller.send(sized(method, NEXT));
      await caller.until('200 OK');
      expect(upstream.requests).toHaveLength(1);
      expect(upstream.requests[0]).toMatchObject({ method, body: NEXT, complete: true });
      expect(valuesOf(upstream.requests[0], 'content-length')).toEqual([`${NEXT.length}`]);
      expect(valuesOf(upstream.requests[0], 'transfer-encoding')).toEqual([]);
    },
  );

  it('RFC 9112 §7.1: a chunked body whose end is not there yet stays chunked, and is streamed', async () => {
    const { upstream, caller } = await start();
    caller.send(
      'POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n',
    );
    await eventually('the first part is through', () => upstream.received.includes('first'));
    expect(upstream.requests[0]?.complete).toBe(false);
    caller.send('6\r\nsecond\r\n0\r\n\r\n');
    await caller.until('200 OK');
    expect(valuesOf(upstream.requests[0], 'transfer-encoding')).toEqual(['chunked']);
    expect(upstream.requests[0]).toMatchObject({ body: 'firstsecond', complete: true });
  });

  it('RFC 9112 §7.1.2: trailers and chunk extensions of the caller do not pass', async () => {
    const { upstream, caller } = await start();
    caller.send(
      'POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: Sallyport-Subject\r\n\r\n' +
        '3;x=y\r\nabc\r\n0\r\nSallyport-Subject: admin\r\nAuthorization: Bearer x\r\n\r\n',
    );
    await caller.until('200 OK');
    expect(upstream.requests).toHaveLength(1);
    expect(upstream.requests[0]?.body).toBe('abc');
    expect(upstream.received).not.toMatch(/admin|Bearer|x=y|trailer/i);
  });

  it('RFC 9112 §9.3.2: pipelined requests are judged and sent one by one, and answered in order', async () => {
    const { upstream, front, caller } = await start({}, async (connection) => {
      const { target } = await connection.request();
      // The first answer comes last.
      if (target === '/v1/1') await new Promise((resolve) => setTimeout(resolve, 60));
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${target}`);
    });
    caller.send(['1', '2', '3'].map((n) => `GET /v1/${n} HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n`).join(''));
    await caller.until('/v1/3');
    expect(caller.answers.map(({ body }) => body)).toEqual(['/v1/1', '/v1/2', '/v1/3']);
    expect(upstream.requests).toHaveLength(3);
    await front.outcome(3);
    expect(front.outcomes.map(({ denial }) => denial)).toEqual([null, null, null]);
  });
});

describe('the body that stage 1 has read in part', () => {
  const handle = (body: Partial<BodyHandle>): BodyHandle => ({ state: 'parsed', head: [], complete: true, ...body });

  it('RFC 9112 §6.2: a body that was read whole is sent with its length, however it was framed', async () => {
    const head = [Buffer.from('{"a"'), Buffer.from(':1}')];
    const { upstream, caller, front } = await start({ changes: { method: 'POST', body: handle({ head }) } });
    caller.send('GET / HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    await caller.until('200 OK');
    expect(upstream.requests[0]).toMatchObject({ method: 'POST', body: '{"a":1}', complete: true });
    expect(valuesOf(upstream.requests[0], 'content-length')).toEqual(['7']);
    expect((await front.outcome()).evidence.upstream?.requestBytes).toBe(7);
  });

  it('RFC 9112 §6.2: what was read goes first, the rest follows from the connection', async () => {
    const { upstream, caller, front } = await start({
      changes: async (request) => {
        const first = await new Promise<Buffer>((resolve) => request.once('data', resolve));
        request.pause();
        return { body: handle({ state: 'too_large', head: [first], complete: false }) };
      },
    });
    caller.send('POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 10\r\n\r\nhello');
    await eventually('the first part is through', () => upstream.received.includes('hello'));
    caller.send('world');
    await caller.until('200 OK');
    expect(upstream.requests[0]).toMatchObject({ body: 'helloworld', complete: true });
    expect(valuesOf(upstream.requests[0], 'content-length')).toEqual(['10']);
    expect((await front.outcome()).evidence.upstream?.requestBytes).toBe(10);
  });
});

describe('the size of the request body', () => {
  it('request.body_too_large: a length over the limit is refused before anything is sent', async () => {
    const { upstream, caller, front } = await start({ forwarder: { bodyBytes: 9 } });
    caller.send(sized('POST', '0123456789'));
    await caller.until('413');
    expect(upstream.connections).toHaveLength(0);
    expect(await front.outcome()).toMatchObject({ denial: { reason: 'request.body_too_large' } });
    expect((await front.outcome()).evidence.upstream).toBeUndefined();
  });

  it('request.body_too_large: a body that was read whole is refused before anything is sent', async () => {
    const body: BodyHandle = { state: 'parsed', head: [Buffer.alloc(10)], complete: true };
    const { upstream, caller } = await start({ forwarder: { bodyBytes: 9 }, changes: { method: 'POST', body } });
    caller.send('GET / HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    await caller.until('413');
    expect(upstream.connections).toHaveLength(0);
  });

  it('request.body_too_large: the policy can allow less', async () => {
    const { caller } = await start({ changes: { obligations: { maximumBodyBytes: 4 } } });
    caller.send(sized('POST', '01234'));
    await caller.until('413');
  });

  it('request.body_too_large: a body of exactly the limit passes', async () => {
    const { caller, upstream } = await start({ changes: { obligations: { maximumBodyBytes: 4 } } });
    caller.send(sized('POST', '0123'));
    await caller.until('200 OK');
    expect(upstream.requests[0]?.body).toBe('0123');
  });

  it('request.body_too_large: a chunked body that grows past the limit is cut, and never ends for the upstream', async () => {
    const { upstream, caller, front } = await start({ forwarder: { bodyBytes: 8 } });
    caller.send(
      'POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n',
    );
    await eventually('the first part is through', () => upstream.received.includes('0123'));
    caller.send('5\r\n45678\r\n0\r\n\r\n');
    await caller.until('413');
    await upstream.connections[0]?.closed();
    expect(upstream.requests).toHaveLength(1);
    expect(upstream.requests[0]).toMatchObject({ body: '0123', complete: false });
    expect(await front.outcome()).toMatchObject({ denial: { reason: 'request.body_too_large' } });
  });
});

describe('an answer that comes before the request is through', () => {
  const early: UpstreamScript = async (connection) => {
    await connection.until('\r\n\r\n');
    connection.send(OK);
  };

  it.each([
    ['short', NEXT],
    ['longer than what streams hold', NEXT.repeat(4000)],
  ])('RFC 9112 §9.3: it passes, and the rest of the body, %s, is taken for what it is', async (_, rest) => {
    const { upstream, front, caller } = await start({}, early);
    caller.send(`POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: ${rest.length + 1}\r\n\r\nx`);
    await caller.until('ok');
    caller.send(rest);
    // The connection is in a known state: the next request on it is read as one.
    caller.send('GET /v1/next HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    await caller.until(({ answers }) => answers.length === 2);
    await front.outcome(2);
    expect(upstream.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
      'POST /v1/things',
      'GET /v1/next',
    ]);
    expect(front.outcomes.map(({ denial }) => denial)).toEqual([null, null]);
    expect(upstream.connections[0]?.socket.destroyed).toBe(true);
  });

  it('RFC 9112 §9.6: a body that goes on and on is cut', async () => {
    const { caller } = await start({}, early);
    caller.send('POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 100000000\r\n\r\nx');
    await caller.until('ok');
    const part = Buffer.alloc(65_536);
    for (let i = 0; i < 100 && !caller.socket.destroyed; i++) {
      caller.send(part);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await caller.closed();
    expect(caller.answers[0]?.status).toBe(200);
  });

  it('RFC 9112 §9.6: a body that never comes is cut', async () => {
    const { caller } = await start({}, early);
    caller.send('POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 10\r\n\r\nx');
    await caller.until('ok');
    await caller.closed();
    expect(caller.answers).toHaveLength(1);
  });

  it('RFC 9110 §9.3.3: the answer and the body may also pass at the same time', async () => {
    const { upstream, caller } = await start({}, async (connection) => {
      await connection.until('\r\n\r\n');
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst');
      await connection.request();
      connection.send('later');
    });
    caller.send('POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 4\r\n\r\nb');
    await caller.until('first');
    caller.send('ody');
    await caller.until('firstlater');
    expect(upstream.requests[0]).toMatchObject({ body: 'body', complete: true });
  });
});

describe('the path that the upstream gets', () => {
  it.each([
    '/v1/p1',
    '/v1/p1/',
    '/v1//double///slashes',
    '/v1/%7Bp1%7d/%2F/%2e',
    "/v1/a'b(c)*;v=1,2:@&=+$!~",
    '/v1/p1?',
    '/v1/p1?a=b&a=//c//..%2F../&u=http://x//y?z#'.replace('#', ''),
    '/v1/a"b<c>d`e{f}g|h^i',
  ])('invariant "one parse": %s is sent byte for byte', async (target) => {
    const [path = '', ...query] = target.split('?');
    const { upstream, caller } = await start({
      changes: { path, query: target.includes('?') ? query.join('?') : null },
    });
    caller.send('GET / HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    await caller.until('200 OK');
    expect(upstream.received.startsWith(`GET ${target} HTTP/1.1\r\n`)).toBe(true);
  });

  it.each([
    ['', '/v1/p1'],
    ['/', '/v1/p1'],
    ['/base', '/base/v1/p1'],
    ['/base/', '/base/v1/p1'],
  ])('configuration upstream.url: with the path "%s" the upstream gets %s', async (base, expected) => {
    const upstream = await startRecordingUpstream();
    const front = await startFront(`${upstream.origin}${base}`);
    open.push(front, upstream);
    const caller = await connectRaw(front.port);
    caller.send('GET /v1/p1 HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
    await caller.until('200 OK');
    expect(upstream.requests[0]?.target).toBe(expected);
    expect(valuesOf(upstream.requests[0], 'host')).toEqual([`127.0.0.1:${upstream.port}`]);
  });
});
