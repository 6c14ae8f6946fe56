import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { Http2Pool } from '../../src/forward/http2_pool.ts';
import { eventually } from '../support/eventually.ts';

it('RFC 9113 §6.5.2, an upstream that allows no streams at all: whoever waits is told in time, and nothing of it is kept', async () => {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 0 } });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const pool = new Http2Pool({
    origin,
    authority: origin.host,
    connections: 2,
    connectTimeoutMs: 150,
    ca: null,
    maximumHeaderBytes: 8192,
  });
  const ended: string[] = [];
  const ask = () =>
    pool.dispatch({ method: 'GET', path: '/', headers: [], headersTimeout: 1000, bodyTimeout: 1000 } as never, {
      onResponseError: (_controller, error) => ended.push((error as NodeJS.ErrnoException).code ?? ''),
    });
  ask();
  // The first may go out before the limit is known.
  await eventually('the first is told', () => ended.length === 1);
  for (let count = 0; count < 300; count++) ask();
  await eventually('all others are told', () => ended.length === 301);
  expect(ended.filter((code) => code === 'UND_ERR_CONNECT_TIMEOUT').length).toBeGreaterThan(0);
  expect(pool.stats).toMatchObject({ running: 0, pending: 0 });
  await pool.close();
  for (const session of sessions) session.destroy();
  server.close();
});
