import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Http2Front, PROJECT } from '../support/http2_front.ts';
import { connectRawTls, type RawConnection } from '../support/raw_connection.ts';
import { answerEach, type UpstreamScript } from '../support/recording_upstream.ts';

/** Answers that last: event streams, long polling, trailers; over HTTP/1.1 and HTTP/2. */

const open: Http2Front[] = [];
afterEach(async () => {
  for (const front of open.splice(0)) await front.close();
});

async function start(script: UpstreamScript, options: Record<string, unknown> = {}): Promise<Http2Front> {
  const front = await Http2Front.start({ script, ...options });
  open.push(front);
  return front;
}

async function askByHttp1(front: Http2Front, more = ''): Promise<RawConnection> {
  const connection = await connectRawTls(front.port, { ca: front.ca, servername: 'cloud.example.com' });
  const [[, authorization] = [], [, proof] = []] = await front.credentials('GET', PROJECT);
  connection.send(
    `GET ${PROJECT} HTTP/1.1\r\nHost: cloud.example.com\r\nAuthorization: ${authorization}\r\nDPoP: ${proof}\r\n${more}\r\n`,
  );
  return connection;
}

const events =
  (pauseMs: number): UpstreamScript =>
  async (connection) => {
    await connection.request(1);
    connection.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (const name of ['one', 'two']) {
      await sleep(pauseMs);
      connection.send(`b\r\ndata: ${name}\n\n\r\n`);
    }
    await sleep(pauseMs);
    connection.send('0\r\n\r\n');
  };

describe('event streams', () => {
  it('HTTP/1.1: the header section comes before the first event, each event at once', async () => {
    const front = await start(events(400));
    const connection = await askByHttp1(front);
    await connection.until((one) => one.received.includes('\r\n\r\n'));
    expect(connection.received).not.toContain('data:');
    await connection.until((one) => one.received.includes('data: one'));
    expect(connection.received).not.toContain('data: two');
    await connection.until((one) => one.received.endsWith('0\r\n\r\n'));
    expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', upstream: { complete: true } });
  });

  it('HTTP/2: the same', async () => {
    const front = await start(events(400));
    const connection = await front.connect();
    connection.request(1, await front.good());
    await eventually('the header section', () => connection.answer(1).statuses.length === 1);
    expect(connection.answer(1).body).toBe('');
    await eventually('the first event', () => connection.answer(1).body.includes('one'));
    expect(connection.answer(1).body).not.toContain('two');
    await eventually('the end', () => connection.answer(1).ended);
    expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', upstream: { complete: true } });
    connection.socket.destroy();
  });

  it('forward.upstream_timeout: a pause longer than upstream.timeout_ms cuts the stream, so that it never looks whole', async () => {
    const front = await start(events(30_000), { upstreamOptions: { timeout_ms: 300 } });
    const connection = await front.connect();
    connection.request(1, await front.good());
    await eventually('the reset', () => connection.answer(1).reset !== null);
    expect(connection.answer(1)).toMatchObject({ statuses: [200], ended: false });
    expect(await front.nextRecord()).toMatchObject({ reason: 'forward.upstream_timeout' });
    connection.socket.destroy();
  });

  it('long polling: an answer that comes late is waited for as long as upstream.timeout_ms says', async () => {
    const front = await start(
      async (connection) => {
        await connection.request(1);
        await sleep(1500);
        connection.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate');
      },
      {
        upstreamOptions: { timeout_ms: 10_000 },
        config: { limits: { request_timeout_ms: 500, keep_alive_timeout_ms: 500 } },
      },
    );
    const outcome = await front.send(await front.good());
    expect(outcome.answer).toMatchObject({ statuses: [200], body: 'late', ended: true });
  });
});

describe('trailers', () => {
  const script: UpstreamScript = answerEach(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: abc\r\nX-Other: no\r\nDPoP-Nonce: evil\r\n\r\n',
  );
  const route = { trailers: { response: ['x-sum'] } };

  it('RFC 9110 §6.5.1: pass by name to callers that take them, over HTTP/1.1 and HTTP/2', async () => {
    const front = await start(script, { route });
    const connection = await askByHttp1(front, 'TE: trailers\r\nConnection: TE\r\n');
    await connection.until((one) => one.received.includes('\r\n0\r\n') && one.received.endsWith('\r\n\r\n'));
    expect(connection.received.toLowerCase()).toContain('0\r\nx-sum: abc\r\n\r\n');
    for (const name of ['x-other', 'evil']) expect(connection.received.toLowerCase()).not.toContain(name);
    const second = await front.connect();
    second.request(1, [...(await front.good()), ['te', 'trailers']]);
    await eventually('the end', () => second.answer(1).ended);
    expect(second.answer(1)).toMatchObject({ body: 'ok' });
    expect(second.answer(1).statuses).toHaveLength(2);
    second.socket.destroy();
  });

  it('do not pass to others, nor on routes that name none', async () => {
    const front = await start(script, { route });
    const bare = await askByHttp1(front);
    await bare.until((one) => one.received.endsWith('0\r\n\r\n'));
    const none = await start(script);
    const second = await none.connect();
    second.request(1, [...(await none.good()), ['te', 'trailers']]);
    await eventually('the end', () => second.answer(1).ended);
    expect(second.answer(1).statuses).toEqual([200]);
    second.socket.destroy();
  });

  it.each([
    'content-length',
    'authorization',
    'dpop-nonce',
    'set-cookie',
    'host',
    'X-Upper',
    'client-cert',
    'x-http-method-override',
    'x-real-ip',
  ])('RFC 9110 §6.5.1: %s cannot be named', async (name) => {
    await expect(start(script, { route: { trailers: { response: [name] } } })).rejects.toThrow(/trailers/);
    const request = { upstream: { protocol: 'http2' }, trailers: { request: [name] } };
    await expect(start(script, { route: request })).rejects.toThrow(/trailers/);
  });
});
