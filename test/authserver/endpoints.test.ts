import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { quietly } from '../../src/authserver/quiet_start.ts';
import { assertionFor, recordingLog, requestToken, startTestServer, type TestServer } from './fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Sends bytes and reads until the other side closes. */
function exchange(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.address).port), '127.0.0.1');
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.end(bytes);
  });
}

describe('what is not served', () => {
  it.each([
    '/',
    '/auth',
    '/auth/x',
    '/me',
    '/reg',
    '/request',
    '/device',
    '/session/end',
    '/session/end/confirm',
    '/token/introspection',
    '/token/revocation',
    '/.well-known/openid-configuration',
    '/TOKEN',
    '/token/',
    '//token',
    '/%74oken',
  ])('404 for every method: %s', async (path) => {
    for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE']) {
      const answer = await fetch(server.address + path, { method });
      expect([method, answer.status, await answer.json()]).toEqual([method, 404, { error: 'not_found' }]);
    }
  });

  it.each([
    ['/token', 'GET', 'POST'],
    ['/token', 'OPTIONS', 'POST'],
    ['/jwks', 'POST', 'GET, HEAD'],
    ['/.well-known/oauth-authorization-server', 'DELETE', 'GET, HEAD'],
  ])('405: %s %s', async (path, method, allow) => {
    const answer = await fetch(server.address + path, { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow]);
  });

  it('404: a full URL as the target, so that no other origin can be named', async () => {
    const answer = await exchange(
      'GET http://evil.example/jwks HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('400: what is not HTTP', async () => {
    expect(await exchange('hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('an upgrade is not answered', async () => {
    const upgrade = 'GET /token HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await exchange(upgrade)).toBe('');
  });
});

describe('what is served', () => {
  it('HEAD gives the headers of GET', async () => {
    const path = `${server.address}/.well-known/oauth-authorization-server`;
    const [get, head] = await Promise.all([fetch(path), fetch(path, { method: 'HEAD' })]);
    expect(head.status).toBe(200);
    expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
    expect(await head.text()).toBe('');
  });

  it('the keys are public ones only', async () => {
    const { keys } = (await (await fetch(`${server.address}/jwks`)).json()) as { keys: object[] };
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  });

  it('Expect: 100-continue is honoured', async () => {
    const answer = await exchange(
      'POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\nConnection: close\r\n\r\na=b',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 /);
  });
});

describe('the console', () => {
  afterEach(() => vi.restoreAllMocks());

  it('stays silent: from start to answers and refusals nothing is written to it', async () => {
    const writes = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
    const calls = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) => vi.spyOn(console, name));
    const own = await startTestServer();
    await requestToken(own);
    await requestToken(own, { assertion: await assertionFor(own, { job: 'x' }) });
    await requestToken(own, { headers: { accept: 'text/html', origin: 'https://page.example' } });
    await own.close();
    for (const spy of [...writes, ...calls]) expect(spy).not.toHaveBeenCalled();
  });

  it('a notice during start becomes a line of the log, and the console comes back', async () => {
    const { info, warn } = console;
    const { log, lines } = recordingLog();
    await expect(
      quietly(log, async () => {
        console.warn('beware', 7);
        throw new Error('broken');
      }),
    ).rejects.toThrow('broken');
    expect(lines).toEqual([{ level: 'warn', fields: { notice: 'beware 7' }, message: 'notice of oidc-provider' }]);
    expect([console.info, console.warn]).toEqual([info, warn]);
  });
});

describe('stopping', () => {
  it('frees the port', async () => {
    const own = await startTestServer();
    await own.close();
    await expect(fetch(own.address)).rejects.toThrow();
  });

  it('a port that is in use is an error that says so', async () => {
    const port = Number(new URL(server.address).port);
    await expect(startTestServer({}, { server: { listen: { port } } })).rejects.toThrow('the port is in use');
  });
});
