import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fetchJson, type JsonRequest } from '../../src/oauth/fetch_json.ts';
import { type Answer, closedPort, KeyServer, sendJson } from '../support/key_server.ts';

let server: KeyServer;

beforeAll(async () => {
  server = await KeyServer.start();
});

afterEach(() => {
  server.restore();
  server.requests.length = 0;
});

afterAll(async () => {
  await server.stop();
});

function get(answer: Answer, changes: Partial<JsonRequest> = {}) {
  server.onJwks(answer);
  return fetchJson({ url: server.jwksUri, timeoutMs: 2000, maxBytes: 1000, ...changes });
}

describe('fetchJson', () => {
  it('returns the document and its status', async () => {
    const answer = await get((request, response) => sendJson(response, { method: request.method, a: [1] }));
    expect(answer).toEqual({ ok: true, status: 200, value: { method: 'GET', a: [1] } });
  });

  it('posts a body with the headers of the caller', async () => {
    const answer = await get(
      async (request, response) => {
        let body = '';
        for await (const chunk of request) body += String(chunk);
        sendJson(response, { method: request.method, body, type: request.headers['content-type'] }, 201);
      },
      { body: 'token=x', headers: { 'content-type': 'application/x-www-form-urlencoded' }, statuses: [200, 201] },
    );
    const value = { method: 'POST', body: 'token=x', type: 'application/x-www-form-urlencoded' };
    expect(answer).toEqual({ ok: true, status: 201, value });
  });

  it.each([301, 302, 303, 307, 308])('redirected: does not follow a %d', async (status) => {
    const answer = await get((_, response) => response.writeHead(status, { location: '/elsewhere' }).end('{}'));
    expect(answer).toMatchObject({ ok: false, failure: 'redirected' });
    expect(server.requests).toEqual(['/jwks']);
  });

  it.each([201, 204, 400, 401, 404, 429, 500, 503])('status: refuses %d', async (status) => {
    const answer = await get((_, response) => sendJson(response, status === 204 ? '' : '{}', status));
    expect(answer).toEqual({ ok: false, failure: 'status', problem: `answered with status ${status}` });
  });

  it.each(['text/html', 'text/html; charset=utf-8', 'application/xml', 'application/jsonp', 'multipart/json'])(
    'content_type: refuses %s',
    async (type) => {
      const answer = await get((_, response) => response.writeHead(200, { 'content-type': type }).end('{}'));
      expect(answer).toMatchObject({ ok: false, failure: 'content_type' });
    },
  );

  it.each([
    'application/json',
    'application/jwk-set+json',
    'APPLICATION/JSON;charset=UTF-8',
    'text/plain',
    'application/octet-stream',
  ])('takes %s', async (type) => {
    const answer = await get((_, response) => response.writeHead(200, { 'content-type': type }).end('{}'));
    expect(answer).toMatchObject({ ok: true });
  });

  it('takes an answer without a content type', async () => {
    expect(await get((_, response) => response.end('{}'))).toMatchObject({ ok: true, value: {} });
  });

  it('too_large: by its announced length, before it is read', async () => {
    const answer = await get((_, response) => {
      response.writeHead(200, { 'content-length': '1001', 'content-type': 'application/json' });
      response.flushHeaders();
    });
    expect(answer).toMatchObject({ ok: false, failure: 'too_large' });
  });

  it('too_large: an answer without end is cut off', async () => {
    let closed: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const answer = await get((_, response) => {
      response.on('close', closed);
      const pump = () => {
        while (!response.destroyed && response.write(' '.repeat(500)));
      };
      response.on('drain', pump);
      pump();
    });
    expect(answer).toMatchObject({ ok: false, failure: 'too_large' });
    await over;
  });

  it('too_large: counts what comes out of a compressed answer', async () => {
    const bomb = gzipSync(Buffer.alloc(900_000, 0x20));
    expect(bomb.length).toBeLessThan(1001);
    const answer = await get((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb));
    expect(answer).toMatchObject({ ok: false, failure: 'too_large' });
  });

  it.each([
    ['no JSON', 'keys'],
    ['nothing', ''],
    ['JSON cut short', '{"keys":['],
    ['a repeated member', '{"keys":[],"keys":[]}'],
    ['a byte order mark', '\ufeff{}'],
    ['deep nesting', '['.repeat(100) + ']'.repeat(100)],
  ])('malformed: %s', async (_, text) => {
    expect(await get((__, response) => sendJson(response, text))).toMatchObject({ ok: false, failure: 'malformed' });
  });

  it('timeout: no answer, and an answer that stops in the middle', async () => {
    for (const answer of [
      () => undefined,
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' });
        response.write('{');
      },
    ] satisfies Answer[]) {
      const timedOut = await get(answer, { timeoutMs: 50 });
      expect(timedOut).toEqual({ ok: false, failure: 'timeout', problem: 'gave no answer within 50 ms' });
    }
  });

  it('unreachable: names the code of the network error', async () => {
    const url = `http://127.0.0.1:${await closedPort()}/jwks`;
    const answer = await fetchJson({ url, timeoutMs: 2000, maxBytes: 1000 });
    expect(answer).toEqual({ ok: false, failure: 'unreachable', problem: 'cannot be reached (ECONNREFUSED)' });
  });

  it('unreachable: the other side breaks off, or speaks no HTTP', async () => {
    expect(await get((request) => request.socket.destroy())).toMatchObject({ ok: false, failure: 'unreachable' });
    const raw: Answer = (request) => request.socket.end('not http\r\n\r\n');
    expect(await get(raw)).toMatchObject({ ok: false, failure: 'unreachable' });
  });

  it('unreachable: ended by the caller', async () => {
    const stop = new AbortController();
    const answer = get(() => stop.abort(), { signal: stop.signal });
    expect(await answer).toMatchObject({ ok: false, failure: 'unreachable' });
  });
});
