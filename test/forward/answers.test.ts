import { afterEach, describe, expect, it } from 'vitest';
import { readAnswers } from '../support/raw_client.ts';
import { connectRaw } from '../support/raw_connection.ts';
import {
  answerEach,
  answerOnce,
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
  script: UpstreamScript,
  options?: FrontOptions,
): Promise<{ upstream: RecordingUpstream; front: Front }> {
  const upstream = await startRecordingUpstream(script);
  const front = await startFront(upstream.origin, options);
  open.push(front, upstream);
  return { upstream, front };
}

/** Sends one request and waits until the forwarder is done with it. */
async function call(front: Front, method = 'GET', version = '1.1') {
  const caller = await connectRaw(front.port);
  const n = front.outcomes.length + 1;
  caller.send(`${method} /v1/things HTTP/${version}\r\nHost: cloud.example.com\r\n\r\n`);
  const { denial, evidence } = await front.outcome(n);
  if (denial === null || !caller.socket.destroyed)
    await caller.until((c) => c.socket.closed || c.received.includes('\r\n\r\n'));
  return { caller, denial, evidence };
}

describe('answers of the upstream that pass', () => {
  it.each(['200', '201', '202', '206', '301', '400', '401', '403', '404', '409', '429', '500', '503', '599'])(
    'RFC 9110 §15: status %s passes',
    async (status) => {
      const { front } = await start(answerOnce(`HTTP/1.1 ${status} Whatever\r\nContent-Length: 2\r\n\r\nok`));
      const { caller, denial, evidence } = await call(front);
      expect(denial).toBeNull();
      expect(caller.answers[0]).toMatchObject({ status: Number(status), body: 'ok' });
      expect(evidence).toMatchObject({
        status: Number(status),
        upstream: { status: Number(status), responseBytes: 2, complete: true },
      });
    },
  );

  it('RFC 9110 §5.3: header fields pass as they are, repeated ones repeated, ours last', async () => {
    const { front } = await start(
      answerOnce(
        'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nSET-Cookie: b=2\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n',
      ),
    );
    const { caller } = await call(front);
    const lines = caller.answers[0]?.head.split('\r\n') ?? [];
    expect(lines.slice(1, 5)).toEqual(['set-cookie: a=1', 'SET-Cookie: b=2', 'X-Latin: caf\xe9', 'Content-Length: 0']);
    expect(lines[5]).toBe('Via: 1.1 sallyport');
    expect(lines[6]).toMatch(/^Sallyport-Decision-Id: [0-9a-f-]{36}$/);
    expect(caller.received).not.toMatch(/x-hop/i);
  });

  it('RFC 9110 §6.6.1: an answer without Date gets one, a Date of the upstream stays', async () => {
    const { front } = await start(
      answerOnce('HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n'),
    );
    expect((await call(front)).caller.answers[0]?.headers['date']).toEqual(['Sun, 06 Nov 1994 08:49:37 GMT']);
    const { front: other } = await start(answerOnce(OK));
    expect((await call(other)).caller.answers[0]?.headers['date']).toHaveLength(1);
  });

  it('RFC 9112 §7.1: a chunked answer is chunked anew, without its extensions and trailers', async () => {
    const { front } = await start(
      answerOnce(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;a=b\r\nabc\r\n3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n',
      ),
    );
    const { caller, evidence } = await call(front);
    await caller.until('0\r\n\r\n');
    expect(caller.answers[0]).toMatchObject({ status: 200, body: 'abcdef' });
    expect(caller.received).not.toMatch(/X-T|a=b/);
    expect(evidence.upstream).toMatchObject({ responseBytes: 6, complete: true });
  });

  it('RFC 9112 §6.3: an answer that ends with the connection passes whole', async () => {
    const { front } = await start(answerOnce('HTTP/1.0 200 OK\r\n\r\nabc', { end: true }));
    const { caller, denial } = await call(front);
    await caller.until('0\r\n\r\n');
    expect(denial).toBeNull();
    expect(caller.answers[0]?.body).toBe('abc');
  });

  it('RFC 9112 §9.3: a caller that speaks HTTP/1.0 gets an answer that ends with the connection', async () => {
    const { front } = await start(
      answerOnce('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
    );
    const { caller } = await call(front, 'GET', '1.0');
    await caller.closed();
    expect(caller.received).toMatch(/\r\n\r\nabc$/);
    expect(caller.received).not.toMatch(/transfer-encoding/i);
    expect(caller.ended).toBe(true);
  });

  it.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', '5'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n', '5'],
    ['GET', 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
    ['GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', undefined],
    ['GET', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n', undefined],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', undefined],
  ])(
    'RFC 9112 §6.3: %s answered with %j has no body, and the next answer is its own',
    async (method, bytes, length) => {
      const { front, upstream } = await start(answerEach(({ target }) => (target === '/v1/things' ? bytes : OK)));
      const { caller, denial, evidence } = await call(front, method);
      expect(denial).toBeNull();
      expect(evidence.upstream?.complete).toBe(true);
      expect(caller.received.endsWith('\r\n\r\n')).toBe(true);
      const first = caller.received;
      expect(readAnswers(Buffer.from(first))[0]?.headers['content-length']?.[0]).toBe(length);
      caller.send('GET /v1/next HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n');
      await caller.until((c) => c.received.endsWith('ok'));
      expect(caller.received.slice(first.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(upstream.requests).toHaveLength(2);
    },
  );

  it.each([
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA'],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'],
  ])('cases "Protocol": bytes after the answer are nobody\'s answer: %j', async (bytes) => {
    const { front } = await start(answerEach(({ target }) => (target === '/v1/things' ? bytes : OK)));
    const { caller, denial } = await call(front);
    expect(denial).toBeNull();
    expect(caller.answers[0]?.body).toBe('ok');
    const next = await call(front, 'POST');
    expect(next.caller.answers[0]).toMatchObject({ status: 200, body: 'ok' });
    expect(caller.received + next.caller.received).not.toMatch(/EXTRA|evil/);
  });

  it('RFC 9110 §15.2: interim answers do not pass', async () => {
    const { front } = await start(
      answerOnce(`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${OK}`),
    );
    const { caller, denial } = await call(front);
    expect(denial).toBeNull();
    expect(caller.answers.map(({ status }) => status)).toEqual([200]);
    expect(caller.received).not.toMatch(/Link/);
  });

  it('RFC 9110 §7.8: an answer that offers an upgrade is an answer', async () => {
    const { front } = await start(
      answerOnce('HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok'),
    );
    const { caller } = await call(front);
    expect(caller.answers[0]?.body).toBe('ok');
    expect(caller.received).not.toMatch(/upgrade/i);
  });

  it('RFC 9112 §4: the reason phrase is ours', async () => {
    const { front } = await start(answerOnce('HTTP/1.1 200 \x01evil\xff\r\nContent-Length: 0\r\n\r\n'));
    const { caller } = await call(front);
    expect(caller.received.startsWith('HTTP/1.1 200 OK\r\n')).toBe(true);
  });

  it('obligation remove_response_header: the caller does not get it', async () => {
    const { front } = await start(answerOnce('HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n'), {
      changes: { obligations: { removeResponseHeaders: ['x-secret'] } },
    });
    expect((await call(front)).caller.received).not.toMatch(/x-secret/i);
  });

  it('a connection to the upstream is used again, one request at a time', async () => {
    const { front, upstream } = await start(answerEach());
    for (let i = 0; i < 5; i++) await call(front, i % 2 === 0 ? 'GET' : 'POST');
    expect(upstream.connections).toHaveLength(1);
    expect(upstream.requests).toHaveLength(5);
    expect(front.forwarder.stats().upstreams).toMatchObject([
      { origin: upstream.origin, routes: ['projects'], connected: 1, running: 0, waiting: 0 },
    ]);
  });
});

describe('answers of the upstream that are not valid HTTP', () => {
  it.each([
    [
      'a transfer coding and a length',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ],
    [
      'a length and a transfer coding',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc'],
    ['no length in Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nabc'],
    [
      'a transfer coding nobody asked for',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ],
    ['CR in a value', 'HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n'],
    ['LF in a value', 'HTTP/1.1 200 OK\r\nX-A: a\nX-B: b\r\nContent-Length: 0\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
    ['space before the colon', 'HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 0\r\n\r\n'],
    ['NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n'],
    ['an empty name', 'HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n'],
    ['100 that nobody asked for', `HTTP/1.1 100 Continue\r\n\r\n${OK}`],
    ['101 to h2c', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'],
    ['101 to nothing', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['interim answers without end', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(20)],
    ['status 099', 'HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n'],
    ['status 600', 'HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n'],
    ['status 1000', 'HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n'],
    ['no HTTP at all', '\x16\x03\x01\r\n\r\n'],
    ['a header section over 64 KiB', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70_000)}\r\nContent-Length: 0\r\n\r\n`],
  ])('forward.upstream_invalid: %s', async (_, bytes) => {
    const { front, upstream } = await start(answerOnce(bytes));
    const { caller, denial, evidence } = await call(front);
    expect(denial).toMatchObject({ reason: 'forward.upstream_invalid' });
    expect(caller.answers[0]?.status).toBe(502);
    expect(evidence.upstream).toMatchObject({ complete: false, responseBytes: 0 });
    expect(upstream.requests).toHaveLength(1);
    await upstream.connections[0]?.closed();
  });

  it.each([
    ['a chunk size that is none', 'zz\r\n'],
    ['a chunk longer than it says', '3\r\nabcXX'],
  ])('forward.upstream_invalid: %s, after the answer has begun, destroys the connection', async (_, bytes) => {
    const { front } = await start(
      answerOnce(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n${bytes}`),
    );
    const { caller, denial, evidence } = await call(front);
    await caller.closed();
    expect(denial).toMatchObject({ reason: 'forward.upstream_invalid' });
    expect(evidence).toMatchObject({ status: 200, upstream: { status: 200, complete: false } });
    expect(caller.received).not.toContain('0\r\n\r\n');
  });
});
