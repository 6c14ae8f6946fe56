import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AdminPlace, type RunningAdmin, startAdmin } from '../../src/admin/admin.ts';
import type { AdminApi, AdminRequest } from '../../src/admin/api.ts';
import { API_TOKEN, writeApiToken } from '../support/api_token.ts';
import { makeCertificate } from '../support/certificate.ts';

const open: RunningAdmin[] = [];
let folder: string;
let seen: AdminRequest[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-admin-'));
  seen = [];
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((admin) => admin.close()));
  rmSync(folder, { recursive: true, force: true });
});

const api: AdminApi = {
  '/things': {
    maxBodyBytes: 100,
    methods: {
      GET: () => ({ status: 200, value: { things: 1 } }),
      POST: (request) => {
        seen.push(request);
        return { status: 204 };
      },
    },
  },
  '/things/': {
    maxBodyBytes: 0,
    methods: {
      DELETE: (request) => {
        seen.push(request);
        return { status: 204 };
      },
    },
  },
};

async function start(at: Partial<AdminPlace> = {}) {
  const view = {
    live: () => true,
    ready: () => ({ ready: true, checks: [] }),
    metrics: () => ({ contentType: 'text/plain', body: '' }),
    api,
  };
  const admin = await startAdmin({ address: '127.0.0.1', port: 0, ...at }, view);
  open.push(admin);
  return admin.origin;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('the API of the admin port', () => {
  it('without a token file there is none, whatever is presented', async () => {
    const origin = await start();
    for (const headers of [{}, bearer(API_TOKEN)]) {
      expect((await fetch(`${origin}/things`, { headers })).status).toBe(404);
      expect((await fetch(`${origin}/things`, { method: 'POST', headers, body: 'x' })).status).toBe(404);
    }
    expect(seen).toEqual([]);
  });

  it('serves the holder of the token', async () => {
    const origin = await start({ api_token_file: writeApiToken(folder) });
    const got = await fetch(`${origin}/things?a=1`, { headers: bearer(API_TOKEN) });
    expect([got.status, await got.json()]).toEqual([200, { things: 1 }]);
    expect(got.headers.get('cache-control')).toBe('no-store');
    const headers = { ...bearer(API_TOKEN), 'content-type': 'Application/JSON; charset=utf-8' };
    const posted = await fetch(`${origin}/things?a=1`, { method: 'POST', headers, body: '{}' });
    expect([posted.status, await posted.text()]).toEqual([204, '']);
    expect(seen[0]).toMatchObject({ path: '/things', contentType: 'application/json' });
    expect(seen[0]?.query.get('a')).toBe('1');
    expect(String(seen[0]?.body)).toBe('{}');
    const removed = await fetch(`${origin}/things/x1`, { method: 'DELETE', headers: bearer(API_TOKEN) });
    expect(removed.status).toBe(204);
    expect(seen[1]?.path).toBe('/things/x1');
  });

  it.each([
    ['nothing', {}],
    ['another token', bearer(`${API_TOKEN}x`)],
    ['a shorter one', bearer(API_TOKEN.slice(0, -1))],
    ['none', bearer('')],
    ['another scheme', { authorization: `Basic ${API_TOKEN}` }],
    ['two tokens', bearer(`${API_TOKEN} ${API_TOKEN}`)],
    ['only the query', {}],
  ])('RFC 6750 §3: refuses %s with 401 and a challenge, before it looks at method or body', async (_name, headers) => {
    const origin = await start({ api_token_file: writeApiToken(folder) });
    for (const method of ['GET', 'POST', 'PATCH']) {
      const body = method === 'GET' ? undefined : 'x'.repeat(200);
      const answer = await fetch(`${origin}/things?access_token=${API_TOKEN}`, {
        method,
        headers: headers as Record<string, string>,
        ...(body !== undefined && { body }),
      });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="sallyport admin"/);
    }
    expect(seen).toEqual([]);
  });

  it('what everyone may see needs no token', async () => {
    const origin = await start({ api_token_file: writeApiToken(folder) });
    for (const path of ['/livez', '/readyz', '/metrics']) expect((await fetch(origin + path)).status).toBe(200);
    expect((await fetch(`${origin}/livez`, { method: 'POST', headers: bearer(API_TOKEN) })).status).toBe(405);
  });

  it('RFC 9110 §15.5.6: another method is 405 with Allow; another path 404; too long a body 413', async () => {
    const origin = await start({ api_token_file: writeApiToken(folder) });
    const headers = bearer(API_TOKEN);
    const patched = await fetch(`${origin}/things`, { method: 'PATCH', headers });
    expect([patched.status, patched.headers.get('allow')]).toEqual([405, 'GET, POST']);
    for (const path of ['/none', '/things/a/b', '/', '/__proto__', '/constructor']) {
      expect((await fetch(origin + path, { headers })).status, path).toBe(404);
    }
    const long = await fetch(`${origin}/things`, { method: 'POST', headers, body: 'x'.repeat(101) });
    expect(long.status).toBe(413);
    const chunked = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('x'.repeat(101)));
        controller.close();
      },
    });
    const streamed = await fetch(`${origin}/things`, {
      method: 'POST',
      headers,
      body: chunked,
      duplex: 'half',
    } as RequestInit);
    expect(streamed.status).toBe(413);
    expect(seen).toEqual([]);
  });

  it('reads the token again when the file changes; the old one ends, also when the new one is unusable', async () => {
    const file = writeApiToken(folder);
    const origin = await start({ api_token_file: file });
    const status = async (token: string) => (await fetch(`${origin}/things`, { headers: bearer(token) })).status;
    const other = 'another-0123456789abcdef0123456789abcdef0123';
    writeFileSync(file, other);
    expect([await status(API_TOKEN), await status(other)]).toEqual([401, 200]);
    writeFileSync(file, 'short');
    expect([await status(other), await status('short')]).toEqual([503, 503]);
    rmSync(file);
    expect(await status(other)).toBe(503);
    writeFileSync(file, other, { mode: 0o600 });
    expect(await status(other)).toBe(200);
    chmodSync(file, 0o644);
    expect(await status(other)).toBe(503);
  });

  it.each([
    ['too short', 'a'.repeat(31), 0o600, 'found 31 characters'],
    ['empty', '', 0o600, 'found 0 characters'],
    ['too long', 'a'.repeat(5000), 0o600, 'found 5001 bytes'],
    ['with a space', `${'a'.repeat(32)} b`, 0o600, 'characters that a bearer token cannot have'],
    ['two lines', `${'a'.repeat(32)}\nb`, 0o600, 'characters that a bearer token cannot have'],
    ['readable by others', API_TOKEN, 0o640, 'chmod 600'],
  ])('does not start with a token that is %s, and says what to do', async (_name, token, mode, words) => {
    const file = writeApiToken(folder, token, mode);
    chmodSync(file, mode);
    await expect(start({ api_token_file: file })).rejects.toThrow(words);
    await expect(start({ api_token_file: file })).rejects.toThrow(file);
  });

  it('does not start without the file that is named', async () => {
    await expect(start({ api_token_file: join(folder, 'none') })).rejects.toThrow('cannot be read (ENOENT)');
  });

  it('admin.tls: the token travels encrypted', async () => {
    const { cert, key } = makeCertificate({ name: 'admin', hosts: ['127.0.0.1'] });
    const tls = { certificate_file: join(folder, 'admin.crt'), key_file: join(folder, 'admin.key') };
    writeFileSync(tls.certificate_file, cert);
    writeFileSync(tls.key_file, key, { mode: 0o600 });
    const origin = await start({ api_token_file: writeApiToken(folder), tls });
    expect(origin).toMatch(/^https:/);
    const status = await new Promise((resolve, reject) => {
      const options = { ca: cert, agent: false as const, headers: bearer(API_TOKEN) };
      https.get(`${origin}/things`, options, (response) => resolve(response.resume().statusCode)).on('error', reject);
    });
    expect(status).toBe(200);
  });
});
