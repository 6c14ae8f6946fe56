import http from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type AdminView, type RunningAdmin, startAdmin } from '../../src/admin/admin.ts';
import { isLoopbackAddress, isTrustedHost } from '../../src/admin/host.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { connectRaw } from '../support/raw_connection.ts';

const open: RunningAdmin[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((admin) => admin.close()));
});

async function start(view: Partial<AdminView> = {}, address = '127.0.0.1') {
  const logged: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'info',
    destination: { write: (line) => void logged.push(JSON.parse(line) as never) },
  });
  const whole: AdminView = {
    live: () => true,
    ready: () => ({ ready: true, checks: [{ name: 'policy', ok: true, detail: 'r1' }] }),
    metrics: () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    ...view,
  };
  const admin = await startAdmin({ address, port: 0 }, whole, log);
  open.push(admin);
  return { admin, logged, port: Number(new URL(admin.origin).port) };
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function ask(origin: string, path: string, options: http.RequestOptions & { body?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(origin + path, { agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    request.on('error', reject);
    request.end(options.body);
  });
}

describe('startAdmin', () => {
  it('/livez says whether the process works', async () => {
    let live = true;
    const { admin } = await start({ live: () => live });
    expect(await ask(admin.origin, '/livez')).toMatchObject({ status: 200, body: 'live\n' });
    live = false;
    expect(await ask(admin.origin, '/livez')).toMatchObject({ status: 503, body: 'not live\n' });
  });

  it('/readyz says whether requests can be served, and what says so', async () => {
    const state = {
      ready: false,
      origin: 'http://127.0.0.1:1',
      checks: [{ name: 'replay', ok: false, detail: 'refused' }],
    };
    const ready = await start();
    expect(await ask(ready.admin.origin, '/readyz')).toMatchObject({ status: 200 });
    const { admin } = await start({ ready: () => Promise.resolve(state) });
    const answer = await ask(admin.origin, '/readyz');
    expect(answer).toMatchObject({ status: 503, headers: { 'content-type': 'application/json' } });
    expect(JSON.parse(answer.body)).toEqual(state);
  });

  it('/metrics shows what the view gives, under its content type', async () => {
    const { admin } = await start();
    expect(await ask(admin.origin, '/metrics?x=1')).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/plain; version=0.0.4' },
      body: 'up 1\n',
    });
  });

  it('RFC 9110 §9.3.2: HEAD gives the headers of GET and no body', async () => {
    const { admin } = await start();
    const [get, head] = await Promise.all([
      ask(admin.origin, '/metrics'),
      ask(admin.origin, '/metrics', { method: 'HEAD' }),
    ]);
    expect(head).toMatchObject({ status: 200, body: '' });
    expect({ ...head.headers, date: '' }).toEqual({ ...get.headers, date: '' });
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])('RFC 9110 §15.5.6: refuses %s', async (method) => {
    const { admin } = await start();
    expect(await ask(admin.origin, '/livez', { method })).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    });
  });

  it.each(['/', '/livez/', '/Livez', '/metrics/x', '//livez', '/constructor', '/__proto__', '/%6civez'])(
    'knows no %s',
    async (path) => {
      const { admin } = await start();
      expect((await ask(admin.origin, path)).status).toBe(404);
    },
  );

  it('lets nothing be kept, framed or guessed, whatever the status', async () => {
    const { admin } = await start();
    for (const path of ['/livez', '/readyz', '/metrics', '/none']) {
      const { headers } = await ask(admin.origin, path);
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
      });
      expect(headers).not.toHaveProperty('access-control-allow-origin');
    }
  });

  it('DNS rebinding: answers no name of someone else on loopback', async () => {
    const { admin, port } = await start();
    for (const host of [
      `evil.example:${port}`,
      'localhost.evil.example',
      `127.0.0.1.evil.example:${port}`,
      '[::1',
      'a b',
    ]) {
      expect((await ask(admin.origin, '/metrics', { headers: { host } })).status, host).toBe(421);
    }
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, 'LOCALHOST', `[::1]:${port}`]) {
      expect((await ask(admin.origin, '/metrics', { headers: { host } })).status, host).toBe(200);
    }
  });

  it('health checks of load balancers come over HTTP/1.0 without Host: /readyz and /livez, nothing else', async () => {
    const { port } = await start();
    for (const [path, status] of [
      ['/readyz', 200],
      ['/livez', 200],
      ['/metrics', 421],
    ] as const) {
      const connection = await connectRaw(port);
      connection.send(`GET ${path} HTTP/1.0\r\n\r\n`);
      await connection.closed();
      expect(connection.answers[0]?.status, path).toBe(status);
    }
  });

  it('answers any name where the operator opened it to others', async () => {
    const { port } = await start({}, '0.0.0.0');
    expect(
      (await ask(`http://127.0.0.1:${port}`, '/livez', { headers: { host: 'sallyport.monitoring' } })).status,
    ).toBe(200);
  });

  it('a view that fails is 503, is logged, and tells the caller nothing', async () => {
    const { admin, logged } = await start({ metrics: () => Promise.reject(new Error('inner detail')) });
    const answer = await ask(admin.origin, '/metrics');
    expect(answer).toMatchObject({ status: 503, body: 'no answer\n' });
    expect(logged).toMatchObject([{ level: 'error', err: { message: 'inner detail' }, url: '/metrics' }]);
    const thrown = await start({
      live: () => {
        throw new Error('inner detail');
      },
    });
    expect((await ask(thrown.admin.origin, '/livez')).status).toBe(503);
  });

  it('a view that does not answer is 503 within its time', async () => {
    const { admin } = await start({ ready: () => new Promise(() => undefined) });
    expect((await ask(admin.origin, '/readyz')).status).toBe(503);
  });

  it('does not read a body, and closes the connection after one', async () => {
    const { admin } = await start();
    const answer = await ask(admin.origin, '/livez', {
      method: 'GET',
      headers: { 'content-length': '3' },
      body: 'abc',
    });
    expect(answer).toMatchObject({ status: 200, headers: { connection: 'close' } });
  });

  it('refuses headers past a few kilobytes', async () => {
    const { admin } = await start();
    expect((await ask(admin.origin, '/livez', { headers: { x: 'x'.repeat(9000) } })).status).toBe(431);
  });

  it('close ends connections that wait', async () => {
    const { admin, port } = await start();
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined).resume();
    await admin.close();
    await ended;
    await expect(ask(admin.origin, '/livez')).rejects.toThrow();
  });

  it('says which address cannot be listened on', async () => {
    const { port } = await start();
    await expect(startAdmin({ address: '127.0.0.1', port }, {} as AdminView)).rejects.toThrow(
      `127.0.0.1:${port}: the port is in use`,
    );
  });
});

describe('isLoopbackAddress', () => {
  it.each(['127.0.0.1', '127.1.2.3', '::1', '0:0:0:0:0:0:0:1', 'localhost'])('%s is', (address) => {
    expect(isLoopbackAddress(address)).toBe(true);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '::2', '127.evil.example', '1::1', ''])('%s is not', (address) => {
    expect(isLoopbackAddress(address)).toBe(false);
  });
});

describe('isTrustedHost', () => {
  it.each(['127.0.0.1', '127.0.0.1:9901', '10.1.2.3:9901', '[::1]:9901', '[2001:db8::1]', 'localhost:1', 'LocalHost'])(
    '%s is',
    (host) => {
      expect(isTrustedHost(host)).toBe(true);
    },
  );

  it.each([
    undefined,
    '',
    'evil.example',
    'localhost.',
    '127.0.0.1.',
    '[evil]',
    '::1',
    'localhost:x',
    'a@localhost',
    'localhost:1:2',
    '127.1',
  ])('%s is not', (host) => {
    expect(isTrustedHost(host)).toBe(false);
  });
});
