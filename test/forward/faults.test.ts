import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
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

const GET = 'GET /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\n\r\n';
const POST = 'POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 100\r\n\r\nsome';
const silent: UpstreamScript = () => undefined;

function sentBack(bytes: string, how: 'end' | 'reset'): UpstreamScript {
  return async (connection) => {
    await connection.request();
    connection.send(bytes);
    if (how === 'reset') await new Promise((resolve) => setTimeout(resolve, 30));
    connection[how]();
  };
}

/** Answers each request, the first one of a connection when it may. */
function firstWaits(opened: Promise<void>): UpstreamScript {
  return async (connection) => {
    for (let n = 1; ; n++) {
      await connection.request(n);
      if (n === 1) await opened;
      connection.send(OK);
    }
  };
}

/** A promise and the way to keep it. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

describe('an upstream that cannot be reached', () => {
  it('forward.upstream_unreachable: nobody listens', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    const front = await startFront(`http://127.0.0.1:${port}`);
    open.push(front);
    const caller = await connectRaw(front.port);
    caller.send(GET);
    await caller.until('502');
    const { denial, evidence } = await front.outcome();
    expect(denial).toMatchObject({ reason: 'forward.upstream_unreachable', note: 'ECONNREFUSED' });
    expect(evidence.upstream).toBeUndefined();
  });

  it('forward.upstream_timeout: all connections are taken; the one that waited too long is never sent', async () => {
    const first = gate();
    const { upstream, front, caller } = await start(firstWaits(first.opened), {
      upstream: { connections: 1, connect_timeout_ms: 150 },
    });
    caller.send(GET);
    await eventually('the upstream is reached', () => upstream.requests.length > 0);
    const second = await connectRaw(front.port);
    second.send(GET.replace('things', 'second'));
    await second.until('504');
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upstream_timeout', note: 'no connection' },
    });
    first.open();
    await caller.until('ok');
    second.send(GET.replace('things', 'third'));
    await second.until('ok');
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/v1/things', '/v1/third']);
    expect(upstream.connections).toHaveLength(1);
  });
});

describe('an upstream that breaks the connection', () => {
  it.each([
    ['closes without an answer', '', 'end'],
    ['resets without an answer', '', 'reset'],
    ['closes within the header section', 'HTTP/1.1 200 OK\r\nContent-', 'end'],
  ] as const)('forward.upstream_broken: %s', async (_, bytes, how) => {
    const { upstream, front, caller } = await start(sentBack(bytes, how));
    caller.send(GET);
    await caller.until('502');
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upstream_broken' },
      evidence: { upstream: { status: 0, complete: false } },
    });
    expect(upstream.requests).toHaveLength(1);
  });

  it.each([
    ['short of Content-Length, end', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc', 'end'],
    ['short of Content-Length, reset', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc', 'reset'],
    [
      'short of Content-Length on a closing connection',
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabc',
      'end',
    ],
    ['no last chunk, end', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'end'],
    [
      'no last chunk on a closing connection',
      'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
      'end',
    ],
    ['within a chunk, reset', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc', 'reset'],
    ['an answer without length, reset', 'HTTP/1.1 200 OK\r\n\r\nabc', 'reset'],
    ['an HTTP/1.0 answer without length, reset', 'HTTP/1.0 200 OK\r\n\r\nabc', 'reset'],
  ] as const)('forward.upstream_broken: a truncated answer never ends normally: %s', async (_, bytes, how) => {
    const { front, caller } = await start(sentBack(bytes, how));
    caller.send(GET);
    await caller.closed();
    expect(caller.received).toContain('abc');
    expect(caller.received).not.toContain('\r\n0\r\n');
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upstream_broken' },
      evidence: { status: 200, upstream: { status: 200, responseBytes: 3, complete: false } },
    });
  });

  it.each([
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'end'],
    ['HTTP/1.1 200 OK\r\n\r\nabc', 'reset'],
  ] as const)('forward.upstream_broken: a caller that speaks HTTP/1.0 sees a reset: %j', async (bytes, how) => {
    const { caller } = await start(sentBack(bytes, how));
    caller.send(GET.replace('1.1', '1.0'));
    await caller.closed();
    expect(caller.wasReset).toBe(true);
    expect(caller.ended).toBe(false);
  });

  it.each(['GET', 'POST', 'DELETE', 'PUT'])(
    'forward.upstream_broken: %s on a kept connection that the upstream closes is sent once, never again',
    async (method) => {
      const { upstream, front, caller } = await start(async (connection) => {
        await connection.request(1);
        connection.send(OK);
        await connection.request(2);
        connection.end();
      });
      caller.send(GET);
      await caller.until('ok');
      caller.send(GET.replace('GET', method).replace('things', 'second'));
      await caller.until('502');
      await front.outcome(2);
      expect(upstream.requests.map(({ target }) => target)).toEqual(['/v1/things', '/v1/second']);
      expect(upstream.connections).toHaveLength(1);
      // The fault is over with its connection.
      caller.send(GET);
      await caller.until((c) => c.answers.length === 3);
      expect(caller.answers[2]?.status).toBe(200);
    },
  );

  it('forward.upstream_broken: within the request body; the caller can read the answer', async () => {
    const { front, caller } = await start(async (connection) => {
      await connection.until('some');
      connection.reset();
    });
    caller.send(POST);
    await caller.until('502');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_broken' });
  });
});

describe('an upstream that is too slow', () => {
  const upstream = { timeout_ms: 200, connect_timeout_ms: 1000 };

  it('forward.upstream_timeout: no answer', async () => {
    const { front, caller, upstream: peer } = await start(silent, { upstream });
    caller.send(GET);
    await caller.until('504');
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upstream_timeout' },
      evidence: { upstream: { status: 0 } },
    });
    await peer.connections[0]?.closed();
    expect(peer.requests).toHaveLength(1);
  });

  it('forward.upstream_timeout: header section that trickles', async () => {
    const { front, caller } = await start(
      async (connection) => {
        await connection.request();
        connection.send('HTTP/1.1 200 OK\r\n');
        while (!connection.socket.destroyed) {
          connection.send('X-A: 1\r\n');
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      },
      { upstream },
    );
    caller.send(GET);
    await caller.until('504');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout' });
  });

  it('forward.upstream_timeout: a body that stops destroys the connection', async () => {
    const {
      front,
      caller,
      upstream: peer,
    } = await start(
      async (connection) => {
        await connection.request();
        connection.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc');
      },
      { upstream },
    );
    caller.send(GET);
    await caller.closed();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.upstream_timeout' },
      evidence: { status: 200, upstream: { complete: false, responseBytes: 3 } },
    });
    await peer.connections[0]?.closed();
  });

  it('forward.upstream_timeout: a body that trickles is not cut', async () => {
    const { caller } = await start(
      async (connection) => {
        await connection.request();
        connection.send('HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n');
        for (let i = 0; i < 15; i++) {
          connection.send('x');
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      },
      { upstream },
    );
    caller.send(GET);
    await caller.until('x'.repeat(15));
    expect(caller.socket.destroyed).toBe(false);
  });

  it('forward.upstream_timeout: does not take the request body', async () => {
    const { front, caller } = await start((connection) => void connection.socket.pause(), { upstream });
    caller.send('POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nContent-Length: 100000000\r\n\r\n');
    const part = Buffer.alloc(1_048_576);
    for (let i = 0; i < 32; i++) caller.send(part);
    await caller.until('504');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout' });
  });

  it('obligation deadline_ms: an answer that takes longer in all is cut', async () => {
    const trickle: UpstreamScript = async (connection) => {
      await connection.request();
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
      while (!connection.socket.destroyed) {
        connection.send('x');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const { front, caller } = await start(trickle, { changes: { obligations: { deadlineMs: 200 } } });
    caller.send(GET);
    await caller.closed();
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout', note: 'deadline' });
  });

  it('obligation deadline_ms: no answer at all', async () => {
    const { front, caller } = await start(silent, { changes: { obligations: { deadlineMs: 100 } } });
    caller.send(GET);
    await caller.until('504');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.upstream_timeout', note: 'deadline' });
  });
});

describe('a caller that hangs up', () => {
  it.each(['end', 'reset'] as const)('forward.client_closed: while the answer is awaited (%s)', async (how) => {
    const { upstream, front, caller } = await start(silent);
    caller.send(GET);
    await eventually('the upstream is reached', () => upstream.requests.length > 0);
    caller[how]();
    await upstream.connections[0]?.closed();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.client_closed' },
      evidence: { status: 499, upstream: { status: 0, complete: false } },
    });
  });

  it.each(['end', 'reset'] as const)(
    'forward.client_closed: within the request body (%s); the upstream never sees its end',
    async (how) => {
      const { upstream, front, caller } = await start(silent);
      caller.send(POST);
      await eventually('the upstream is reached', () => upstream.requests.length > 0);
      caller[how]();
      await upstream.connections[0]?.closed();
      expect(upstream.requests).toMatchObject([{ complete: false, body: 'some' }]);
      expect(await front.outcome()).toMatchObject({
        denial: { reason: 'forward.client_closed' },
        evidence: { status: 499 },
      });
    },
  );

  it('forward.client_closed: within a chunked request body', async () => {
    const { upstream, front, caller } = await start(silent);
    caller.send(
      'POST /v1/things HTTP/1.1\r\nHost: cloud.example.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n',
    );
    await eventually('the upstream is reached', () => upstream.received.includes('some'));
    caller.end();
    await upstream.connections[0]?.closed();
    expect(upstream.received).not.toContain('0\r\n\r\n');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.client_closed' });
  });

  it('forward.client_closed: within the answer', async () => {
    const { upstream, front, caller } = await start(async (connection) => {
      await connection.request();
      connection.send('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc');
    });
    caller.send(GET);
    await caller.until('abc');
    caller.reset();
    await upstream.connections[0]?.closed();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.client_closed' },
      evidence: { status: 200, upstream: { status: 200, complete: false, responseBytes: 3 } },
    });
  });

  it('forward.client_closed: while a connection is awaited; its request is never sent', async () => {
    const first = gate();
    const { upstream, front, caller } = await start(firstWaits(first.opened), { upstream: { connections: 1 } });
    caller.send(GET);
    await eventually('the upstream is reached', () => upstream.requests.length > 0);
    const second = await connectRaw(front.port);
    second.send(GET.replace('things', 'second'));
    await eventually('the second waits', () => front.forwarder.stats().upstreams[0]?.waiting === 1);
    second.reset();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.client_closed' },
      evidence: { status: 499 },
    });
    first.open();
    await caller.until('ok');
    caller.send(GET.replace('things', 'third'));
    await caller.until((c) => c.answers.length === 2);
    expect(upstream.requests.map(({ target }) => target)).toEqual(['/v1/things', '/v1/third']);
    expect(upstream.connections).toHaveLength(1);
  });

  it('forward.client_closed: with pipelined requests under way, all of them are over', async () => {
    const { upstream, front, caller } = await start(async (connection) => {
      const { target } = await connection.request();
      // The second is answered at once, and waits for the first.
      if (target === '/v1/2') connection.send(OK);
    });
    caller.send(GET.replace('things', '1') + GET.replace('things', '2') + GET.replace('things', '3'));
    await eventually('the upstream is reached', () => upstream.requests.length === 3);
    await new Promise((resolve) => setTimeout(resolve, 30));
    caller.reset();
    await front.outcome(3);
    expect(front.outcomes.map(({ denial }) => denial?.reason)).toEqual(Array(3).fill('forward.client_closed'));
    for (const connection of upstream.connections.filter((c) => !c.received.includes('/v1/2')))
      await connection.closed();
  });

  it('forward.client_closed: before the checks were through; nothing is sent', async () => {
    const checked = gate();
    const { upstream, front, caller } = await start(silent, {
      changes: async () => {
        await checked.opened;
        return {};
      },
    });
    caller.send(GET);
    await new Promise((resolve) => setTimeout(resolve, 20));
    caller.reset();
    await new Promise((resolve) => setTimeout(resolve, 20));
    checked.open();
    expect(await front.outcome()).toMatchObject({
      denial: { reason: 'forward.client_closed' },
      evidence: { status: 499 },
    });
    expect(upstream.connections).toHaveLength(0);
  });

  it('forward.client_closed: a caller that does not read is cut, and the upstream with it', async () => {
    const { upstream, front, caller } = await start(
      async (connection) => {
        await connection.request();
        connection.send('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
        const part = Buffer.alloc(1_048_576);
        while (!connection.socket.destroyed && connection.socket.bytesWritten < 200_000_000) {
          connection.send(part);
          if (connection.socket.writableNeedDrain) {
            await Promise.race([once(connection.socket, 'drain'), once(connection.socket, 'close')]);
          }
        }
      },
      { upstream: { timeout_ms: 300 } },
    );
    caller.socket.pause();
    caller.send(GET);
    expect((await front.outcome()).denial).toMatchObject({
      reason: 'forward.client_closed',
      note: 'the caller stopped reading',
    });
    await upstream.connections[0]?.closed();
    expect(upstream.connections[0]?.socket.bytesWritten).toBeLessThan(64_000_000);
  });
});

describe('closing the forwarder', () => {
  it('forward.stopping: what runs is finished, what comes is refused', async () => {
    const answer = gate();
    const { front, caller, upstream } = await start(async (connection) => {
      await connection.request();
      await answer.opened;
      connection.send(OK);
    });
    caller.send(GET);
    await eventually('the upstream is reached', () => upstream.requests.length > 0);
    const closed = front.forwarder.close(10_000);
    const late = await connectRaw(front.port);
    late.send(GET);
    await late.until('503');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.stopping' });
    answer.open();
    await caller.until('ok');
    await closed;
    expect((await front.outcome(2)).denial).toBeNull();
    await upstream.connections[0]?.closed();
  });

  it('forward.stopping: what is not finished within the grace time is cut', async () => {
    const { front, caller, upstream } = await start(silent);
    caller.send(GET);
    await eventually('the upstream is reached', () => upstream.requests.length > 0);
    await front.forwarder.close(50);
    await caller.until('503');
    expect((await front.outcome()).denial).toMatchObject({ reason: 'forward.stopping' });
    await upstream.connections[0]?.closed();
  });
});
