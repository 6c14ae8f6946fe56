import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import {
  ERROR,
  FLAG,
  FRAME,
  type FrameConnection,
  frame,
  headerBlock,
  indexedLiteral,
  integer,
  settings,
  uint32,
} from '../support/http2_frames.ts';
import { BUILDS, Http2Front, PROJECT, pseudo, reasonOf } from '../support/http2_front.ts';

/** What one HTTP/2 connection may cost: each flood ends at a bound, and others are served meanwhile and afterwards. */

let front: Http2Front;
beforeEach(async () => {
  front = await Http2Front.start({
    config: {
      limits: { http2_streams: 10, headers_timeout_ms: 600, keep_alive_timeout_ms: 900, request_timeout_ms: 800 },
    },
  });
});
afterEach(async () => {
  await front.skipRecords();
  const clean = await front.send(await front.good());
  expect(clean.answer).toMatchObject({ statuses: [200], body: 'ok' });
  await front.close();
});

/** Sends parts again and again until the connection ends; fails when it takes them all. */
async function floodUntilEnd(connection: FrameConnection, part: (n: number) => Buffer, times = 200): Promise<void> {
  for (let n = 0; n < times && !connection.closed; n++) {
    connection.send(part(n));
    await sleep(2);
  }
  await eventually('the connection ends', () => connection.closed);
}

const repeat = (count: number, make: (n: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, n) => make(n)));

describe('floods (RFC 9113 §10.5)', () => {
  it('CVE-2023-44487: rapid resets end the connection, and the work for them is bounded', async () => {
    const connection = await front.connect();
    const block = headerBlock(pseudo());
    const open = (n: number) => {
      const stream = 2 * n + 1;
      return Buffer.concat([
        frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, stream, block),
        frame(FRAME.RST_STREAM, 0, stream, uint32(ERROR.CANCEL)),
      ]);
    };
    await floodUntilEnd(connection, (round) => repeat(50, (n) => open(round * 50 + n)));
    expect(front.upstream.requests).toHaveLength(0);
    // nghttp2 allows 200 at once and 33 more each second.
    expect(await front.recordsLeft()).toBeLessThan(1000);
  });

  it('CVE-2023-44487: authorized requests that are reset leave their upstream, and no more than allowed are under way', async () => {
    const slow = await Http2Front.start({
      script: async (connection) => {
        await connection.request(1);
      },
      config: { limits: { http2_streams: 5 } },
    });
    const connection = await slow.connect();
    for (let n = 0; n < 30; n++) {
      connection.request(2 * n + 1, await slow.good());
      await sleep(15);
      connection.send(frame(FRAME.RST_STREAM, 0, 2 * n + 1, uint32(ERROR.CANCEL)));
    }
    await eventually(
      'all are over',
      async () => slow.gateway.gateway.readiness() !== null && (await slow.recordsLeft()) === 30,
    );
    await eventually('the upstream is left', () =>
      slow.upstream.connections.every(({ socket }) => socket.destroyed || socket.readableEnded),
    );
    connection.socket.destroy();
    await slow.close();
  });

  it('RFC 9113 §5.1.2: more streams than allowed at once are refused without work', async () => {
    const connection = await front.connect();
    for (let n = 0; n < 60; n++) connection.request(2 * n + 1, pseudo({ method: 'POST', path: BUILDS }), 0);
    await eventually('the last is refused', () => connection.answer(119).reset !== null || connection.closed);
    const refused = Array.from({ length: 60 }, (_, n) => connection.answer(2 * n + 1)).filter(
      ({ reset }) => reset === ERROR.REFUSED_STREAM,
    );
    expect(refused.length).toBeGreaterThanOrEqual(40);
    connection.socket.destroy();
  });

  it('CVE-2024-27316: CONTINUATION without end', async () => {
    const connection = await front.connect();
    connection.send(frame(FRAME.HEADERS, FLAG.END_STREAM, 1, headerBlock(pseudo())));
    await floodUntilEnd(connection, (n) =>
      frame(FRAME.CONTINUATION, 0, 1, headerBlock([[`x-${n}`, 'y'.repeat(1000)]])),
    );
    expect(await front.recordsLeft()).toBe(0);
  });

  it('CVE-2024-27316: a header section that stops in the middle holds its connection no longer than an idle one', async () => {
    const connection = await front.connect();
    connection.send(frame(FRAME.HEADERS, FLAG.END_STREAM, 1, headerBlock(pseudo())));
    await eventually('the connection ends', () => connection.closed);
  });

  it('CVE-2016-6581: a header section that decodes to far more than was sent', async () => {
    const connection = await front.connect();
    const fields = [...pseudo(), ...(await front.credentials('GET', PROJECT))];
    const bomb = Buffer.concat([
      headerBlock(fields),
      indexedLiteral('x', 'y'.repeat(3900)),
      repeat(60, () => integer(62, 7, 0x80)),
    ]);
    connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, bomb));
    await eventually('it is refused', () => connection.answer(1).ended || connection.answer(1).reset !== null);
    expect(front.upstream.requests).toHaveLength(0);
    if (connection.answer(1).reset === null) expect(reasonOf(connection.answer(1))).toBe('request.headers_too_large');
    connection.socket.destroy();
  });

  it('RFC 7541 §7.3: more fields than are ever read reset the stream', async () => {
    const connection = await front.connect();
    const block = Buffer.concat([headerBlock(pseudo()), repeat(5000, () => Buffer.of(0x90))]);
    connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 1, block));
    await eventually('the reset', () => connection.answer(1).reset !== null);
    expect(connection.answer(1).reset).toBe(ERROR.ENHANCE_YOUR_CALM);
    connection.socket.destroy();
  });

  it('CVE-2019-9512: PING', async () => {
    const connection = await front.connect();
    await floodUntilEnd(connection, () => repeat(50, () => frame(FRAME.PING, 0, 0, Buffer.alloc(8))));
  });

  it('CVE-2019-9515: SETTINGS', async () => {
    const connection = await front.connect();
    await floodUntilEnd(connection, (n) => repeat(50, () => frame(FRAME.SETTINGS, 0, 0, settings([4, 65_535 + n]))));
  });

  it('CVE-2019-9518: empty DATA frames', async () => {
    const connection = await front.connect();
    connection.request(1, await front.good('POST', BUILDS), 0);
    await floodUntilEnd(connection, () => repeat(50, () => frame(FRAME.DATA, 0, 1)));
  });

  it('CVE-2019-9514: requests that make no sense, one after the other', async () => {
    const connection = await front.connect();
    const block = headerBlock(pseudo({ path: null }));
    await floodUntilEnd(connection, (round) =>
      repeat(50, (n) => frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 2 * (round * 50 + n) + 1, block)),
    );
  });

  it('CVE-2019-9513: WINDOW_UPDATE and PRIORITY frames without a request', async () => {
    const connection = await front.connect();
    for (let n = 0; n < 20; n++) {
      connection.send(
        repeat(200, () => frame(FRAME.PRIORITY, 0, 3, Buffer.concat([uint32(0), Buffer.of(1)]))),
        repeat(200, () => frame(FRAME.WINDOW_UPDATE, 0, 0, uint32(1))),
      );
      await sleep(5);
    }
    await eventually('it ends as an idle one', () => connection.closed);
  });
});

describe('slow callers', () => {
  it('a connection on which nothing is said ends', async () => {
    const silent = await front.connect({ quiet: true });
    await eventually('it ends', () => silent.closed);
    expect(await front.recordsLeft()).toBe(0);
  });

  it('RFC 9113 §6.5.3: settings that are never acknowledged end the connection', async () => {
    const connection = await front.connect();
    const late = performance.now() + 5000;
    for (let n = 0; !connection.closed && performance.now() < late; n++) {
      connection.request(2 * n + 1, pseudo());
      await sleep(50);
    }
    expect(connection.goaways.at(-1)).toBe(4);
  });

  it('request.timeout: a body that does not come in time is answered with 408, and its upstream is left', async () => {
    const connection = await front.connect();
    connection.send(frame(FRAME.SETTINGS, FLAG.ACK, 0));
    connection.request(1, await front.good('POST', BUILDS), 0);
    connection.send(frame(FRAME.DATA, 0, 1, Buffer.from('slow')));
    const trickle = setInterval(() => connection.send(frame(FRAME.DATA, 0, 1, Buffer.from('.'))), 100);
    await eventually('the answer', () => connection.answer(1).ended);
    clearInterval(trickle);
    expect(reasonOf(connection.answer(1))).toBe('request.timeout');
    expect(await front.nextRecord()).toMatchObject({ reason: 'request.timeout', status: 408 });
    await eventually('the upstream is left', () =>
      front.upstream.connections.every(({ socket }) => socket.destroyed || socket.readableEnded),
    );
    expect(front.upstream.requests.at(-1)?.complete).toBe(false);
    connection.socket.destroy();
  });

  it('request.timeout: also while the gateway waits for a form', async () => {
    const connection = await front.connect();
    connection.send(frame(FRAME.SETTINGS, FLAG.ACK, 0));
    connection.request(
      1,
      [...pseudo({ method: 'POST', path: BUILDS }), ['content-type', 'application/x-www-form-urlencoded']],
      0,
    );
    await eventually('the answer', () => connection.answer(1).ended);
    expect(['request.timeout', 'request.credentials_missing']).toContain(reasonOf(connection.answer(1)));
    connection.socket.destroy();
  });

  it('an idle connection ends with GOAWAY', async () => {
    const connection = await front.connect();
    connection.send(frame(FRAME.SETTINGS, FLAG.ACK, 0));
    connection.request(1, pseudo());
    await eventually('the answer', () => connection.answer(1).ended);
    await eventually('it ends', () => connection.closed);
    expect(connection.goaways).toEqual([ERROR.NO_ERROR]);
  });

  it('CVE-2019-9517: a caller that opens no window ends its request at the bound for answers', async () => {
    const big = 'x'.repeat(200_000);
    const stalled = await Http2Front.start({
      script: async (connection) => {
        await connection.request(1);
        connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n${big}`);
      },
      config: { limits: { keep_alive_timeout_ms: 500 } },
      upstreamOptions: { timeout_ms: 600 },
    });
    const connection = await stalled.connect({ quiet: true });
    const { PREFACE } = await import('../support/http2_frames.ts');
    connection.send(PREFACE, frame(FRAME.SETTINGS, 0, 0, settings([4, 10])), frame(FRAME.SETTINGS, FLAG.ACK, 0));
    connection.request(1, await stalled.good());
    await eventually('the stream is reset', () => connection.answer(1).reset !== null);
    expect(connection.answer(1)).toMatchObject({
      statuses: [200],
      body: 'xxxxxxxxxx',
      ended: false,
      reset: ERROR.INTERNAL_ERROR,
    });
    expect(await stalled.nextRecord()).toMatchObject({
      reason: 'forward.client_closed',
      upstream: { complete: false },
    });
    await eventually('the connection ends', () => connection.closed);
    await stalled.close();
  });
});
