import { createServer as createPlain, type Server } from 'node:http';
import { createServer as createTls } from 'node:https';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openConnections } from '../../src/net/open_connections.ts';
import { stopServer } from '../../src/net/stop.ts';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
/** Milliseconds that no test waits for. */
const LONG_MS = 60_000;

async function listening(server: Server): Promise<number> {
  openConnections(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A server that answers when it is told to. */
async function patient(): Promise<{ server: Server; caller: RawConnection; answer(): void }> {
  const waiting: (() => void)[] = [];
  const server = createPlain((_, response) => waiting.push(() => response.end('ok')));
  const caller = await connectRaw(await listening(server));
  caller.send(GET);
  await eventually('the request is there', () => waiting.length === 1);
  return { server, caller, answer: () => waiting[0]?.() };
}

describe('stopServer', () => {
  it('finishes a request under way, and takes no new connection', async () => {
    const { server, caller, answer } = await patient();
    const { port } = server.address() as AddressInfo;
    const stopped = stopServer(server, { graceMs: LONG_MS });
    await expect(connectRaw(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    answer();
    expect(await stopped).toBe(true);
    await caller.closed();
    expect(caller.received).toContain('ok');
  });

  it('closes connections that are idle or never said anything', async () => {
    const server = createPlain((_, response) => response.end('ok'));
    const port = await listening(server);
    const [idle, silent] = [await connectRaw(port), await connectRaw(port)];
    idle.send(GET);
    await idle.until('ok');
    await eventually('both are there', () => openConnections(server).sockets.size === 2);
    expect(await stopServer(server, { graceMs: LONG_MS })).toBe(true);
    await Promise.all([idle.closed(), silent.closed()]);
  });

  it('answers a request that was on its way on an idle connection', async () => {
    const server = createPlain((_, response) => response.end('ok'));
    const caller = await connectRaw(await listening(server));
    caller.send(GET);
    await caller.until('ok');
    const stopped = stopServer(server, { graceMs: LONG_MS, quietMs: 500 });
    caller.send(GET);
    await caller.until(({ answers }) => answers.length === 2);
    expect(await stopped).toBe(true);
  });

  it('past the grace time: cuts what is under way, and says so', async () => {
    const { server, caller } = await patient();
    expect(await stopServer(server, { graceMs: 50 })).toBe(false);
    await caller.closed();
    expect(caller.received).toBe('');
  });

  it('past the grace time: what can be hurried is answered', async () => {
    const { server, caller, answer } = await patient();
    expect(await stopServer(server, { graceMs: 50, busy: () => true, hurry: answer })).toBe(false);
    await caller.closed();
    expect(caller.received).toContain('ok');
  });

  it('past the grace time: a TLS handshake that does not come is cut, and is no request', async () => {
    const { cert, key } = makeCertificate({ name: 'localhost' });
    const server = createTls({ cert, key });
    const caller = await connectRaw(await listening(server));
    caller.send('\x16\x03\x01');
    await eventually('it is there', () => openConnections(server).sockets.size === 1);
    expect(openConnections(server).streams.size).toBe(0);
    expect(await stopServer(server, { graceMs: 50, busy: () => false })).toBe(true);
    await caller.closed();
  });

  it('a server that does not listen is stopped', async () => {
    expect(await stopServer(createPlain(), { graceMs: LONG_MS })).toBe(true);
  });
});
