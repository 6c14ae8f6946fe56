import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AgentScene, setAgentScene, type TestAgent } from './scene.ts';

/**
 * Gateways that answer with whatever bytes and break off wherever, and tools that hang up at any moment, through every door of the agent: it
 * serves on, nothing is left open, and nothing that nobody caught ends its process (vitest fails for that).
 */

let scene: AgentScene;
let agent: TestAgent;
/** What the gateway does with a request once its header section is there. */
let act: (socket: Socket, head: string) => void;
const open = new Set<Socket>();
const gateway = createServer((socket) => {
  open.add(socket);
  socket.on('error', () => undefined).once('close', () => open.delete(socket));
  let head = '';
  socket.on('data', (chunk: Buffer) => {
    head += chunk.toString('latin1');
    if (!head.includes('\r\n\r\n')) return;
    const now = head;
    head = '';
    act(socket, now);
  });
});
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

beforeAll(async () => {
  scene = await setAgentScene();
  await new Promise<void>((done) => gateway.listen(0, '127.0.0.1', done));
});
beforeEach(async () => {
  act = (socket) => socket.write(OK);
  agent = await scene.start(`http://127.0.0.1:${(gateway.address() as AddressInfo).port}`, {
    config: { proxy: { others: 'tunnel' }, idle_timeout_ms: 1000, connect_timeout_ms: 1000 },
  });
});
afterEach(() => agent.end());
afterAll(async () => {
  await scene.close();
  for (const socket of open) socket.destroy();
  gateway.close();
});

const answers = [
  OK,
  '',
  'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello',
  'HTTP/1.1 101 Switching Protocols\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 000 Zero\r\n\r\n',
  'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\nDPoP-Nonce: n\r\nContent-Length: 100\r\n\r\nshort',
  'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\nDPoP-Nonce: n\r\nConnection: close\r\n\r\n',
  'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="invalid_token"\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 9\r\n\r\n{"title":',
  'HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n[]',
  `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\nContent-Length: 0\r\n\r\n`,
  'HTTP/1.1 200 \xff\xfe\r\nX: \xe9\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nLocation: x\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nold',
  'SSH-2.0-x\r\n',
  '\x16\x03\x01\x00\x00',
];

type Kind = 'get' | 'post' | 'chunked' | 'expect' | 'websocket' | 'absolute' | 'two';
function message(kind: Kind): { readonly port: number; readonly bytes: string } {
  const { port, pathname } = new URL(agent.url);
  const proxy = new URL(String(agent.exported['HTTPS_PROXY']));
  const lines = `Host: 127.0.0.1:${port}\r\n`;
  const get = `GET ${pathname}/x HTTP/1.1\r\n${lines}\r\n`;
  const bytes: Record<Kind, string> = {
    get,
    post: `POST ${pathname}/x HTTP/1.1\r\n${lines}Content-Length: 5\r\n\r\nhello`,
    chunked: `PUT ${pathname}/x HTTP/1.1\r\n${lines}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    expect: `PUT ${pathname}/x HTTP/1.1\r\n${lines}Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n${'x'.repeat(50_000)}`,
    websocket: `GET ${pathname}/x HTTP/1.1\r\n${lines}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n`,
    absolute: `GET http://127.0.0.1:${(gateway.address() as AddressInfo).port}/other HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${Buffer.from(`agent:${proxy.password}`).toString('base64')}\r\n\r\n`,
    two: get + get,
  };
  return { port: kind === 'absolute' ? Number(proxy.port) : Number(port), bytes: bytes[kind] };
}

/** Sends, and hangs up after so many milliseconds, or when the agent ends the connection, or has been silent. */
function play({ port, bytes }: { port: number; bytes: string }, hangUpMs: number | null): Promise<void> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    const end = setTimeout(() => socket.resetAndDestroy(), hangUpMs ?? 60);
    socket.on('error', () => undefined).on('data', () => undefined);
    socket.once('close', () => {
      clearTimeout(end);
      done();
    });
    socket.write(bytes, 'latin1');
  });
}

describe('whatever gateway and tools do', { timeout: 90_000 }, () => {
  const kinds: Kind[] = ['get', 'post', 'chunked', 'expect', 'websocket', 'absolute', 'two'];

  it('the agent serves on, leaves nothing open, and says nothing of unexpected failures', async () => {
    const step = fc.record({
      kind: fc.constantFrom(...kinds),
      answer: fc.constantFrom(...answers),
      cutAt: fc.option(fc.nat(60), { nil: null }),
      end: fc.constantFrom<'keep' | 'end' | 'reset'>('keep', 'end', 'reset'),
      afterMs: fc.constantFrom(0, 0, 5, 30),
      hangUpMs: fc.constantFrom(null, null, 0, 3, 10, 40),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 12 }), async (steps) => {
        let turn = 0;
        act = (socket) => {
          const { answer, cutAt, end, afterMs } = steps[turn++ % steps.length] as (typeof steps)[number];
          setTimeout(() => {
            if (socket.destroyed) return;
            socket.write(cutAt === null ? answer : answer.slice(0, cutAt), 'latin1');
            if (end === 'end') socket.end();
            if (end === 'reset') socket.resetAndDestroy();
          }, afterMs);
        };
        await Promise.all(steps.map(({ kind, hangUpMs }) => play(message(kind), hangUpMs)));
      }),
      { numRuns: 20 },
    );
    act = (socket) => socket.write(OK);
    expect(await (await fetch(`${agent.url}/x`)).text()).toBe('ok');
    expect(agent.said.filter((line) => line.includes('unexpectedly'))).toEqual([]);
    await agent.end();
    for (let tries = 0; tries < 200 && open.size > 0; tries++) await new Promise((done) => setTimeout(done, 20));
    expect(open.size).toBe(0);
  });
});
