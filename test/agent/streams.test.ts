import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AgentScene, setAgentScene, type TestAgent } from './scene.ts';

const MEBIBYTE = 1_048_576;
const BLOCK = randomBytes(MEBIBYTE);
/** How much passes in each direction; npm run bench:agent lets five gigabytes pass through processes of their own. */
const BLOCKS = 256;

let scene: AgentScene;
let gateway: Server;
let agent: TestAgent;
let proofs: (string | undefined)[];

beforeAll(async () => {
  scene = await setAgentScene();
});
afterAll(() => scene.close());
beforeEach(async () => {
  proofs = [];
  gateway = createServer();
  await new Promise<void>((done) => gateway.listen(0, '127.0.0.1', done));
  agent = await scene.start(`http://127.0.0.1:${(gateway.address() as AddressInfo).port}`);
});
afterEach(async () => {
  await agent.end();
  gateway.closeAllConnections();
  gateway.close();
});

/** A body of so many MiB, made as it is taken. */
function blocks(count: number): ReadableStream<Uint8Array> {
  let left = count;
  return new ReadableStream({
    pull: (controller) => (left-- > 0 ? controller.enqueue(BLOCK) : controller.close()),
  });
}

describe('large bodies stream', { timeout: 600_000 }, () => {
  it('up and down, whole, and with a memory that stays flat', async () => {
    const sums: string[] = [];
    gateway.on('request', (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (chunk: Buffer) => hash.update(chunk));
      request.on('end', () => {
        sums.push(hash.digest('hex'));
        let left = BLOCKS;
        const more = () => {
          while (left-- > 0) if (!response.write(BLOCK)) return void response.once('drain', more);
          response.end();
        };
        more();
      });
    });
    const before = process.memoryUsage().rss;
    let peak = 0;
    const watching = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 20);
    const response = await fetch(`${agent.url}/x`, { method: 'PUT', body: blocks(BLOCKS), duplex: 'half' });
    const hash = createHash('sha256');
    for await (const chunk of response.body ?? []) hash.update(chunk);
    clearInterval(watching);
    const expected = createHash('sha256');
    for (let n = 0; n < BLOCKS; n++) expected.update(BLOCK);
    const sum = expected.digest('hex');
    expect([sums, hash.digest('hex')]).toEqual([[sum], sum]);
    // Tool, agent and gateway share this process: far less than what passed.
    expect(peak - before).toBeLessThan(200 * MEBIBYTE);
  });

  it('a gateway that does not read holds the tool back', async () => {
    gateway.on('request', (request) => request.pause());
    const { port, pathname } = new URL(agent.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`PUT ${pathname}/x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: ${1024 * MEBIBYTE}\r\n\r\n`);
    let taken = 0;
    for (let idle = 0; idle < 20; ) {
      if (socket.writableNeedDrain) {
        await new Promise((done) => setTimeout(done, 50));
        idle++;
      } else {
        socket.write(BLOCK);
        taken++;
        idle = 0;
        await new Promise((done) => setImmediate(done));
      }
    }
    expect(taken).toBeLessThan(64);
    socket.destroy();
  });

  it('a tool that hangs up ends the request at the gateway', async () => {
    const ended = new Promise<void>((done) => {
      gateway.on('request', (_request, response) => {
        response.write('first');
        response.once('close', done);
      });
    });
    const stop = new AbortController();
    const response = await fetch(`${agent.url}/x`, { signal: stop.signal });
    stop.abort();
    await expect(response.text()).rejects.toThrow();
    await ended;
  });
});

describe('WebSocket', () => {
  /** Sends the handshake; collects what comes. */
  function upgrade(): {
    readonly socket: ReturnType<typeof connect>;
    text(): string;
    until(words: string): Promise<void>;
  } {
    const { port, pathname } = new URL(agent.url);
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write(
      `GET ${pathname}/socket HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    const until = async (words: string) => {
      for (let n = 0; n < 500 && !text.includes(words); n++) await new Promise((done) => setTimeout(done, 10));
      expect(text).toContain(words);
    };
    return { socket, text: () => text, until };
  }

  it('RFC 9449 §9: switches with token and proof, once more with a nonce, and then bytes pass both ways until one side ends', async () => {
    gateway.on('upgrade', (request, socket) => {
      proofs.push(decodeJwt(String(request.headers['dpop']))['nonce'] as string | undefined);
      expect(request.headers.authorization).toMatch(/^DPoP eyJ/);
      if (proofs.length === 1) {
        socket.end(
          'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\nDPoP-Nonce: n-1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
        );
        return;
      }
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhello',
      );
      socket.on('data', (chunk: Buffer) => socket.write(`echo:${chunk}`));
    });
    const { socket, text, until } = upgrade();
    await until('hello');
    expect(text()).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(text()).not.toMatch(/dpop/i);
    socket.write('one');
    await until('echo:one');
    expect(proofs).toEqual([undefined, 'n-1']);
    const closed = new Promise((done) => socket.once('close', done));
    await agent.end();
    await closed;
  });

  it.each([-90, 75])(
    'a clock that is %i seconds away is learned from Date, and the handshake is made anew',
    async (away) => {
      gateway.on('upgrade', (request, socket) => {
        const { iat } = decodeJwt(String(request.headers['dpop']));
        proofs.push(String(iat));
        const date = new Date(Date.now() + away * 1000).toUTCString();
        if (Math.abs(Number(iat) - (Date.now() / 1000 + away)) < 5)
          return void socket.write(
            'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello',
          );
        socket.end(
          `HTTP/1.1 401 Unauthorized\r\nDate: ${date}\r\nWWW-Authenticate: DPoP error="invalid_dpop_proof"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
      });
      const { socket, until } = upgrade();
      await until('hello');
      expect(proofs).toHaveLength(2);
      socket.destroy();
    },
  );

  it('a refusal of the gateway is passed on and told', async () => {
    const body = JSON.stringify({ title: 'No', status: 403, reason: 'policy.denied', decision_id: 'd-1' });
    gateway.on('upgrade', (_request, socket) => {
      socket.end(
        `HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
    });
    const { text, until } = upgrade();
    await until('d-1');
    expect(text()).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(agent.said.join('\n')).toContain('the gateway refused GET /v1/socket (cloud) with 403: No (policy.denied).');
  });
});
