import { once } from 'node:events';
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type Front, startFront } from './front.ts';

const MEGABYTE = 1_048_576;
const VOLUME = 256;
/** Megabytes that two kernels and three streams may hold of a transfer whose end nobody reads. */
const HELD = 48;
const part = Buffer.alloc(MEGABYTE, 'sallyport');
const stops: (() => unknown)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function start(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Front> {
  const server: Server = createServer(handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const front = await startFront(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  stops.push(
    () => front.close(),
    () => {
      server.closeAllConnections();
      server.close();
    },
  );
  return front;
}

function call(front: Front, method: string, headers: Record<string, string> = {}): ClientRequest {
  const outgoing = request({ host: '127.0.0.1', port: front.port, method, path: '/v1/blob', headers, agent: false });
  stops.push(() => outgoing.destroy());
  return outgoing;
}

/** Writes megabytes as the reader takes them; ends early, and says how many it wrote, when the reader stops for half a second. */
async function write(sink: ClientRequest | ServerResponse, megabytes: number): Promise<number> {
  for (let i = 0; i < megabytes; i++) {
    if (sink.write(part)) continue;
    const taken = await Promise.race([once(sink, 'drain').then(() => true), sleep(500, false)]);
    if (!taken) return i + 1;
  }
  sink.end();
  return megabytes;
}

async function count(source: IncomingMessage): Promise<number> {
  let bytes = 0;
  for await (const chunk of source) bytes += (chunk as Buffer).length;
  return bytes;
}

/** Megabytes outside of the heap at most while work runs, above those before. */
async function growth(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }, 20);
  await work();
  clearInterval(watch);
  return most / MEGABYTE;
}

describe('large bodies', () => {
  it.each([{ framing: 'sized' }, { framing: 'chunked' }])(
    '256 MB down ($framing) pass whole, with flat memory',
    async ({ framing }) => {
      const front = await start((_, response) => {
        if (framing === 'sized') response.setHeader('content-length', VOLUME * MEGABYTE);
        void write(response, VOLUME);
      });
      const grown = await growth(async () => {
        const outgoing = call(front, 'GET').end();
        const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
        expect(await count(answer)).toBe(VOLUME * MEGABYTE);
      });
      expect(grown).toBeLessThan(VOLUME / 2);
      expect(await front.outcome()).toMatchObject({
        denial: null,
        evidence: { upstream: { responseBytes: VOLUME * MEGABYTE, complete: true } },
      });
    },
  );

  it.each([{ framing: 'sized' }, { framing: 'chunked' }])(
    '256 MB up ($framing) pass whole, with flat memory',
    async ({ framing }) => {
      const front = await start(async (incoming, response) => {
        response.end(
          `${await count(incoming)} ${incoming.headers['content-length'] ?? incoming.headers['transfer-encoding']}`,
        );
      });
      const sized = framing === 'sized';
      const grown = await growth(async () => {
        const outgoing = call(front, 'PUT', sized ? { 'content-length': String(VOLUME * MEGABYTE) } : {});
        const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
        await write(outgoing, VOLUME);
        const [answer] = await answered;
        answer.setEncoding('latin1');
        const [text] = await once(answer, 'data');
        expect(text).toBe(`${VOLUME * MEGABYTE} ${sized ? VOLUME * MEGABYTE : 'chunked'}`);
      });
      expect(grown).toBeLessThan(VOLUME / 2);
      expect(await front.outcome()).toMatchObject({
        denial: null,
        evidence: { upstream: { requestBytes: VOLUME * MEGABYTE } },
      });
    },
  );

  it('a caller that does not read stops the upstream, and gets the rest when it goes on', async () => {
    const { promise: stalled, resolve } = Promise.withResolvers<number>();
    const front = await start(async (_, response) => {
      response.setHeader('content-length', VOLUME * MEGABYTE);
      const written = await write(response, VOLUME);
      resolve(written);
      await write(response, VOLUME - written);
    });
    const outgoing = call(front, 'GET').end();
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    expect(await stalled).toBeLessThan(HELD);
    expect(await count(answer)).toBe(VOLUME * MEGABYTE);
    expect((await front.outcome()).denial).toBeNull();
  });

  it('an upstream that does not read stops the caller, and gets the rest when it goes on', async () => {
    const { promise: reading, resolve } = Promise.withResolvers<void>();
    const front = await start(async (incoming, response) => {
      await reading;
      response.end(String(await count(incoming)));
    });
    const outgoing = call(front, 'PUT', { 'content-length': String(VOLUME * MEGABYTE) });
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    const written = await write(outgoing, VOLUME);
    expect(written).toBeLessThan(HELD);
    resolve();
    await write(outgoing, VOLUME - written);
    const [answer] = await answered;
    const [text] = await once(answer, 'data');
    expect(String(text)).toBe(String(VOLUME * MEGABYTE));
  });
});
