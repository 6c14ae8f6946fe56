import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { FrameUpstream } from '../support/frame_upstream.ts';
import {
  ERROR,
  FLAG,
  FRAME,
  type FrameConnection,
  frame,
  headerBlock,
  PREFACE,
  settings,
  uint32,
} from '../support/http2_frames.ts';
import { Http2Front, PROJECT, pseudo } from '../support/http2_front.ts';
import { OpenCall, PROTOCOLS, refusalOf } from '../support/open_call.ts';

/** Frames that no client sends: nothing of them reaches the upstream, and others are served. */

const ACK = frame(FRAME.SETTINGS, FLAG.ACK, 0);
type Send = (connection: FrameConnection, fields: readonly (readonly [string, string])[]) => void;
const whole = (
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags: number = FLAG.END_HEADERS | FLAG.END_STREAM,
) => frame(FRAME.HEADERS, flags, stream, headerBlock(fields));

/** The connection ends, and there is no request. */
const ENDS: readonly [name: string, send: Send][] = [
  ['§5.1.1: a stream of the server', (connection, fields) => connection.send(whole(2, fields))],
  ['§6.2: HEADERS on stream 0', (connection, fields) => connection.send(whole(0, fields))],
  ['§6.1: DATA on stream 0', (connection) => connection.send(frame(FRAME.DATA, FLAG.END_STREAM, 0, Buffer.from('x')))],
  [
    '§5.1: DATA on an idle stream',
    (connection) => connection.send(frame(FRAME.DATA, FLAG.END_STREAM, 1, Buffer.from('x'))),
  ],
  [
    '§6.4: RST_STREAM on an idle stream',
    (connection) => connection.send(frame(FRAME.RST_STREAM, 0, 1, uint32(ERROR.CANCEL))),
  ],
  [
    '§6.4: RST_STREAM on stream 0',
    (connection) => connection.send(frame(FRAME.RST_STREAM, 0, 0, uint32(ERROR.CANCEL))),
  ],
  [
    '§6.9: WINDOW_UPDATE on an idle stream',
    (connection) => connection.send(frame(FRAME.WINDOW_UPDATE, 0, 1, uint32(1))),
  ],
  ['§6.9: WINDOW_UPDATE of 0', (connection) => connection.send(frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(0)))],
  [
    '§6.9.1: a window past 2^31-1',
    (connection) =>
      connection.send(
        frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff)),
        frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff)),
      ),
  ],
  [
    '§6.5.2: an initial window past 2^31-1',
    (connection) => connection.send(frame(FRAME.SETTINGS, 0, 0, settings([4, 0x80000000]))),
  ],
  [
    '§6.5.2: frames of a size below the least',
    (connection) => connection.send(frame(FRAME.SETTINGS, 0, 0, settings([5, 1]))),
  ],
  ['§6.5.2: a push setting of 2', (connection) => connection.send(frame(FRAME.SETTINGS, 0, 0, settings([2, 2])))],
  [
    '§6.5: an acknowledgement with settings in it',
    (connection) => connection.send(frame(FRAME.SETTINGS, FLAG.ACK, 0, settings([4, 1]))),
  ],
  ['§6.5: SETTINGS on a stream', (connection) => connection.send(frame(FRAME.SETTINGS, 0, 1, settings([4, 1])))],
  ['§6.7: PING of seven bytes', (connection) => connection.send(frame(FRAME.PING, 0, 0, Buffer.alloc(7)))],
  ['§6.7: PING on a stream', (connection) => connection.send(frame(FRAME.PING, 0, 1, Buffer.alloc(8)))],
  [
    '§8.4: PUSH_PROMISE of a client',
    (connection, fields) =>
      connection.send(frame(FRAME.PUSH_PROMISE, FLAG.END_HEADERS, 1, Buffer.concat([uint32(2), headerBlock(fields)]))),
  ],
  [
    '§6.10: CONTINUATION without HEADERS',
    (connection, fields) => connection.send(frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 1, headerBlock(fields))),
  ],
  [
    '§6.10: another frame within a header section',
    (connection, fields) => {
      const block = headerBlock(fields);
      connection.send(
        frame(FRAME.HEADERS, FLAG.END_STREAM, 1, block.subarray(0, 100)),
        frame(FRAME.PING, 0, 0, Buffer.alloc(8)),
        frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 1, block.subarray(100)),
      );
    },
  ],
  [
    '§6.10: CONTINUATION of another stream',
    (connection, fields) => {
      const block = headerBlock(fields);
      connection.send(
        frame(FRAME.HEADERS, FLAG.END_STREAM, 1, block.subarray(0, 100)),
        frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 3, block.subarray(100)),
      );
    },
  ],
  [
    '§6.2: padding longer than the frame',
    (connection, fields) =>
      connection.send(
        frame(
          FRAME.HEADERS,
          FLAG.END_HEADERS | FLAG.END_STREAM | FLAG.PADDED,
          1,
          Buffer.concat([Buffer.of(255), headerBlock(fields).subarray(0, 50)]),
        ),
      ),
  ],
  [
    '§4.2: a frame that is too large',
    (connection) => connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, Buffer.alloc(20_000))),
  ],
  [
    '§4.3: a block that cannot be decoded',
    (connection) =>
      connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, Buffer.alloc(20, 0xff))),
  ],
  [
    'RFC 7541 §4.2: a table larger than was offered',
    (connection, fields) =>
      connection.send(
        frame(
          FRAME.HEADERS,
          FLAG.END_HEADERS | FLAG.END_STREAM,
          1,
          Buffer.concat([Buffer.of(0x3f, 0xff, 0xff, 0x7f), headerBlock(fields)]),
        ),
      ),
  ],
  [
    '§3.4: no preface',
    (connection) => connection.send(Buffer.from('GET / HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n')),
  ],
];

let front: Http2Front;
beforeAll(async () => {
  front = await Http2Front.start({ config: { limits: { headers_timeout_ms: 1500, keep_alive_timeout_ms: 1500 } } });
});
afterAll(() => front.close());
afterEach(async () => {
  await front.skipRecords();
  expect((await front.send(await front.good())).answer).toMatchObject({ statuses: [200], body: 'ok' });
});

describe('RFC 9113, frames of a caller', () => {
  it.each(ENDS)('%s: the connection ends, and no request was made', async (name, send) => {
    const before = front.upstream.requests.length;
    const connection = await front.connect({ quiet: name.includes('no preface') });
    if (!name.includes('no preface')) connection.send(ACK);
    send(connection, await front.good());
    await eventually('it ends', () => connection.closed);
    expect(connection.answer(1).statuses.filter((status) => status === 200)).toEqual([]);
    expect(front.upstream.requests).toHaveLength(before);
  });

  it('§5.1.1: a stream number that was passed over: the first is answered, the second is none', async () => {
    const before = front.upstream.requests.length;
    const connection = await front.connect();
    connection.send(ACK, whole(5, await front.good()));
    await eventually('the answer', () => connection.answer(5).ended);
    connection.send(whole(3, await front.good()));
    await eventually('it ends', () => connection.closed);
    expect(connection.answer(3).statuses).toEqual([]);
    expect(front.upstream.requests).toHaveLength(before + 1);
  });

  it('§5.1: a second header section, or data, after the end of a request is no second request', async () => {
    for (const after of [
      whole(1, await front.good('GET', `${PROJECT}`)),
      frame(FRAME.DATA, FLAG.END_STREAM, 1, Buffer.from('GET / HTTP/1.1\r\n\r\n')),
    ]) {
      const before = front.upstream.requests.length;
      const connection = await front.connect();
      connection.send(ACK, whole(1, await front.good()), after);
      await eventually(
        'it is over',
        () => connection.closed || connection.answer(1).ended || connection.answer(1).reset !== null,
      );
      await front.nextRecord();
      expect(front.upstream.requests.length - before).toBeLessThanOrEqual(1);
      connection.socket.destroy();
    }
  });

  it('§4.1, §5.5: frames of unknown types and unknown settings change nothing', async () => {
    const connection = await front.connect();
    connection.send(ACK, frame(0xee, 0xff, 0, Buffer.from('what')), frame(FRAME.SETTINGS, 0, 0, settings([0x7777, 1])));
    connection.send(whole(1, await front.good()), frame(0xee, 0, 1, Buffer.from('what')));
    await eventually('the answer', () => connection.answer(1).ended);
    expect(connection.answer(1)).toMatchObject({ statuses: [200], body: 'ok' });
    connection.socket.destroy();
  });

  it('§6.8: a caller that says GOAWAY still gets its answer', async () => {
    const connection = await front.connect();
    connection.send(
      ACK,
      whole(1, await front.good()),
      frame(FRAME.GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(0)])),
    );
    await eventually('it is over', () => connection.answer(1).ended || connection.closed);
    expect(await front.nextRecord()).toMatchObject({ path: PROJECT });
    connection.socket.destroy();
  });

  it('§6.9.2: a window that shrinks below zero within an answer stops it, and goes on when it grows', async () => {
    const big = 'x'.repeat(100_000);
    const other = await Http2Front.start({
      script: async (one) => {
        await one.request(1);
        one.send(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n${big}`);
      },
    });
    const connection = await other.connect({ quiet: true });
    connection.send(PREFACE, frame(FRAME.SETTINGS, 0, 0, settings([4, 20_000])), ACK, whole(1, await other.good()));
    await eventually('the window is full', () => connection.answer(1).body.length === 20_000);
    connection.send(frame(FRAME.SETTINGS, 0, 0, settings([4, 0])));
    connection.send(frame(FRAME.WINDOW_UPDATE, 0, 1, uint32(10_000)));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(connection.answer(1).body).toHaveLength(20_000);
    connection.send(
      frame(FRAME.WINDOW_UPDATE, 0, 1, uint32(1_000_000)),
      frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(1_000_000)),
    );
    await eventually('the rest', () => connection.answer(1).ended);
    expect(connection.answer(1).body).toBe(big);
    connection.socket.destroy();
    await other.close();
  });
});

describe('RFC 9113 §6.9: an upstream that opens no window', () => {
  let upstream: FrameUpstream;
  let stalled: Http2Front;
  beforeAll(async () => {
    upstream = await FrameUpstream.start();
    upstream.behaviour = () => undefined;
    stalled = await Http2Front.start({
      upstream: upstream.origin,
      artifact: await compilePolicy('package sallyport\n\ndecision := {"allow": true}\n'),
      route: { upstream: { url: upstream.origin, protocol: 'http2', timeout_ms: 700, connect_timeout_ms: 1000 } },
    });
  });
  afterAll(async () => {
    await stalled.close();
    await upstream.close();
  });

  it.each(PROTOCOLS)('forward.upstream_timeout: %s', async (protocol) => {
    await stalled.skipRecords();
    // More than a window; the caller has one of its own.
    const call = await OpenCall.open(stalled, protocol, { path: '/v1/upload', body: 'x'.repeat(60_000), more: true });
    call.sendMore('x'.repeat(5000));
    await eventually('the answer', () => call.view().whole || call.view().cut);
    expect(call.view().status).toBe(504);
    expect(refusalOf(call.view())).toBe('forward.upstream_timeout');
    expect(await stalled.nextRecord()).toMatchObject({ reason: 'forward.upstream_timeout', status: 504 });
    const frames = () => upstream.connections.flatMap((one) => one.frames);
    await eventually('the upstream is left', () => frames().some(({ type }) => type === FRAME.RST_STREAM));
    expect(frames().some(({ type, flags }) => type === FRAME.DATA && (flags & FLAG.END_STREAM) !== 0)).toBe(false);
    call.hangUp();
  });
});

describe('RFC 9113 §8.3, requests that smuggle', () => {
  it.each([
    ['a space in :method', { method: 'GET /admin HTTP/1.1' }],
    ['a line break in :method', { method: 'GET\r\nX: y' }],
    ['a space in :path', { path: `${PROJECT} HTTP/1.1` }],
    ['a line break in :path', { path: `${PROJECT}\r\nX: y` }],
    ['a fragment in :path', { path: `${PROJECT}#x` }],
    ['an absolute :path', { path: `https://evil.example.com${PROJECT}` }],
    ['no slash in :path', { path: PROJECT.slice(1) }],
    ['* in :path', { path: '*' }],
    ['user information in :authority', { authority: 'user@cloud.example.com' }],
    ['a path in :authority', { authority: 'cloud.example.com/x' }],
    ['a line break in :authority', { authority: 'cloud.example.com\r\nX: y' }],
    ['a list in :authority', { authority: 'cloud.example.com, evil.example.com' }],
    ['an empty :authority', { authority: '' }],
    ['a colon and no port in :authority', { authority: 'cloud.example.com:' }],
    ['a scheme in upper case', { scheme: 'HTTPS' }],
    ['a scheme with more', { scheme: 'https://evil.example.com/?' }],
    ['no scheme', { scheme: '' }],
  ] as const)('%s: nothing reaches the upstream', async (_name, changes) => {
    const before = front.upstream.requests.length;
    const connection = await front.connect();
    connection.send(ACK);
    connection.request(1, [...pseudo(changes), ...(await front.credentials('GET', PROJECT))]);
    await eventually(
      'it is over',
      () => connection.answer(1).ended || connection.answer(1).reset !== null || connection.closed,
    );
    expect(connection.answer(1).statuses).not.toContain(200);
    expect(front.upstream.requests).toHaveLength(before);
    connection.socket.destroy();
  });
});
