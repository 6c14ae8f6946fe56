import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { makeKey } from '../support/issuer.ts';
import { BrokerJob, claimsOf, RESOURCE, TestBroker } from './fixture.ts';
import { drop, hang, json, ServerFront } from './front.ts';

/** A real authorization server behind a place where everything can go wrong. */

let front: ServerFront;
let test: TestBroker;

beforeAll(async () => {
  front = await ServerFront.start();
  test = await TestBroker.start({
    front,
    config: {
      authorization_server: { issuer: front.origin, timeout_ms: 2500, connections: 4 },
      limits: { queue_timeout_ms: 5000 },
    },
  });
});
afterAll(async () => {
  await test.close();
  await front.close();
});
afterEach(() => {
  front.interfere = () => null;
  front.alter = ({ answer }) => answer;
});

/** The token endpoint answers like this; everything else works. */
function tokenEndpoint(answer: (response: ServerResponse) => void): void {
  front.interfere = ({ path }) => (path === '/token' ? answer : null);
}

async function ask() {
  const job = await BrokerJob.start(test);
  const { status, body, headers } = await job.ask({ scope: 'projects:read' });
  return {
    status,
    reason: body['reason'],
    error: body['error'],
    retryAfter: headers.get('retry-after'),
    body,
    headers,
    job,
  };
}

const raw =
  (status: number, text: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
  (response: ServerResponse) =>
    void response.writeHead(status, headers).end(text);

describe('a server that does not answer as it should: fails closed, in a bounded time, and works again', () => {
  const bound = { token_type: 'DPoP', expires_in: 60 };
  it.each([
    ['silence', hang, 503, 'server_unreachable'],
    ['a broken connection', drop, 503, 'server_unreachable'],
    [
      'an answer that never ends',
      (response: ServerResponse) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).write('{"access'),
      503,
      'server_unreachable',
    ],
    ['a page in HTML', raw(200, '<html>Welcome</html>', { 'content-type': 'text/html' }), 502, 'server_unusable'],
    ['garbage', raw(200, '\u0000{]'), 502, 'server_unusable'],
    ['nothing', raw(200, ''), 502, 'server_unusable'],
    ['an array', json(200, []), 502, 'server_unusable'],
    ['null', json(200, null), 502, 'server_unusable'],
    [
      'a repeated member',
      raw(200, '{"access_token":"a","access_token":"b","token_type":"DPoP"}'),
      502,
      'server_unusable',
    ],
    [
      'JSON of another type',
      raw(200, JSON.stringify({ access_token: 'opaque', ...bound }), { 'content-type': 'text/html' }),
      502,
      'server_unusable',
    ],
    ['JSON without a type', raw(200, JSON.stringify({ access_token: 'opaque', ...bound }), {}), 502, 'server_unusable'],
    ['something huge', json(200, { access_token: 'x'.repeat(300_000), ...bound }), 503, 'server_unreachable'],
    ['no access_token', json(200, bound), 502, 'server_unusable'],
    ['an access_token of another type', json(200, { access_token: 7, ...bound }), 502, 'server_unusable'],
    ['an empty access_token', json(200, { access_token: '', ...bound }), 502, 'server_unusable'],
    [
      'an access_token with a line break',
      json(200, { access_token: 'a\r\nset-cookie: x', ...bound }),
      502,
      'server_unusable',
    ],
    ['a bearer token', json(200, { access_token: 'opaque', token_type: 'Bearer' }), 502, 'token_unbound'],
    ['no token_type', json(200, { access_token: 'opaque' }), 502, 'token_unbound'],
    ['404', raw(404, 'not found', { 'content-type': 'text/plain' }), 502, 'server_unusable'],
    ['401 without a code', json(401, {}), 502, 'server_unusable'],
    ['a code that nobody knows', json(400, { error: 'out_of_cheese' }), 502, 'server_unusable'],
    ['a code of another type', json(400, { error: ['invalid_scope'] }), 502, 'server_unusable'],
    ['204', raw(204, '', {}), 502, 'server_unusable'],
    ['500 with a page', raw(500, '<h1>oops</h1>', { 'content-type': 'text/html' }), 503, 'server_busy'],
  ])('%s', async (_name, answer, status, reason) => {
    tokenEndpoint(answer);
    const refused = await ask();
    expect([refused.status, refused.reason]).toEqual([status, `broker.${reason}`]);
    expect(refused.retryAfter === null).toBe(status === 502);
    expect(refused.body).not.toHaveProperty('access_token');
    expect(test.records().at(-1)).toMatchObject({ event: 'token_refused', reason: `broker.${reason}`, status });
    front.interfere = () => null;
    await eventually('its place is free', async () => {
      const text = await (await fetch(`${test.broker.adminOrigin}/metrics`)).text();
      return /^sallyport_broker_authserver_requests 0$/m.test(text);
    });
    expect((await ask()).status).toBe(200);
  });

  it('a slow one is waited for', async () => {
    front.alter = async ({ answer, path }) => {
      if (path === '/token') await new Promise((resolve) => setTimeout(resolve, 700));
      return answer;
    };
    expect((await ask()).status).toBe(200);
  });

  it('a redirect is not followed: the assertion and the proof reach nobody else', async () => {
    const reached: string[] = [];
    const thief = createServer((request, response) => {
      reached.push(String(request.url));
      response.end('{}');
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => thief.once('listening', resolve));
    const location = `http://127.0.0.1:${(thief.address() as AddressInfo).port}/token`;
    for (const status of [301, 302, 303, 307, 308]) {
      tokenEndpoint(raw(status, '', { location }));
      expect((await ask()).reason).toBe('broker.server_unreachable');
    }
    expect(reached).toEqual([]);
    thief.close();
  });

  it('a token that is bound to another key is not handed on', async () => {
    const other = await BrokerJob.start(test);
    const token = String((await other.ask()).body['access_token']);
    tokenEndpoint(json(200, { access_token: token, ...bound }));
    const refused = await ask();
    expect([refused.status, refused.reason]).toEqual([502, 'broker.token_unbound']);
    expect(JSON.stringify(refused.body)).not.toContain(token);
  });

  it.each([
    ['a further scope', { scope: 'projects:read admin:all' }],
    ['scope of another type', { scope: ['projects:read'] }],
    ['details that nobody asked for', { authorization_details: [{ type: 'cloud_api', actions: ['projects.delete'] }] }],
    ['details of another type', { authorization_details: 'all' }],
  ])('broker.grant_beyond: %s', async (_name, granted) => {
    tokenEndpoint(json(200, { access_token: 'opaque', ...bound, ...granted }));
    const refused = await ask();
    expect([refused.status, refused.reason]).toEqual([502, 'broker.grant_beyond']);
  });

  it('broker.grant_beyond: what the answer does not say and the token does counts too', async () => {
    const key = await makeKey();
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { cnf: { jkt: key.thumbprint }, scope: 'projects:read admin:all' };
    tokenEndpoint(
      json(200, { access_token: `${part({ alg: 'ES256' })}.${part(claims)}.c2ln`, ...bound, scope: 'projects:read' }),
    );
    const { body } = await (await BrokerJob.start(test, {}, key)).ask({ scope: 'projects:read' });
    expect(body['reason']).toBe('broker.grant_beyond');
  });

  it('less than was asked for is handed on as it was granted', async () => {
    tokenEndpoint(
      json(200, { access_token: 'opaque', ...bound, scope: 'projects:read' }, { 'dpop-nonce': 'next-one' }),
    );
    const job = await BrokerJob.start(test);
    const { status, body, headers } = await job.ask({ scope: 'projects:read builds:write', resource: RESOURCE });
    expect([status, body['scope'], body['expires_in'], headers.get('dpop-nonce')]).toEqual([
      200,
      'projects:read',
      60,
      'next-one',
    ]);
  });

  it.each([['60'], [-5], [0], [1e12], [null], [{}]])(
    'expires_in %j is left out: nobody is told a time that is none',
    async (expires) => {
      tokenEndpoint(json(200, { access_token: 'opaque', token_type: 'dpop', expires_in: expires }));
      const { status, body } = await ask();
      expect([status, 'expires_in' in body, body['token_type']]).toEqual([200, false, 'DPoP']);
    },
  );
});

describe('RFC 6749 §5.2: what the server says of a request or its proof is passed on', () => {
  it.each([
    [400, 'invalid_scope', 400],
    [400, 'invalid_target', 400],
    [400, 'invalid_authorization_details', 400],
    [400, 'invalid_dpop_proof', 400],
    [401, 'invalid_dpop_proof', 400],
    [403, 'access_denied', 403],
    [400, 'invalid_request', 400],
  ])('%i %s', async (given, error, status) => {
    tokenEndpoint(json(given, { error, error_description: 'what\r\nthey say "é" \\ here' }));
    const { body, status: seen, reason } = await ask();
    expect([seen, body['error'], reason]).toEqual([status, error, 'broker.server_refused']);
    expect(body['error_description']).toMatch(/^The authorization server says: what +they say +here$/);
    expect(body['error_description']).toMatch(/^[\x20\x21\x23-\x5B\x5D-\x7E]+$/);
  });

  it('words of any length become a sentence of bounded length, words of another type none', async () => {
    tokenEndpoint(json(400, { error: 'invalid_scope', error_description: 'x'.repeat(100_000) }));
    expect(String((await ask()).body['error_description']).length).toBeLessThan(400);
    tokenEndpoint(json(400, { error: 'invalid_scope', error_description: { a: 1 } }));
    expect((await ask()).body['error_description']).toBe('The authorization server says invalid_scope.');
  });
});

describe('RFC 9110 §10.2.3: Retry-After is honoured', () => {
  /** A broker of its own, since it pauses. */
  async function paused(answer: (response: ServerResponse) => void, limits: Record<string, unknown> = {}) {
    const own = await ServerFront.start();
    const broker = await TestBroker.start({ front: own, config: { limits } });
    own.interfere = ({ path }) => (path === '/token' ? answer : null);
    const one = async () => {
      const { status, body, headers } = await (await BrokerJob.start(broker)).ask();
      return [status, body['reason'], Number(headers.get('retry-after'))];
    };
    const close = async () => {
      await broker.close();
      await own.close();
    };
    return { one, own, close };
  }

  it.each([
    ['429, in seconds', json(429, {}, { 'retry-after': '77' }), 77],
    ['503, in seconds', json(503, {}, { 'retry-after': '77' }), 77],
    [
      'a date',
      (response: ServerResponse) =>
        json(503, {}, { 'retry-after': new Date(Date.now() + 90_000).toUTCString() })(response),
      90,
    ],
    ['longer than is believed', json(503, {}, { 'retry-after': '999999' }), 300],
  ])('%s: nothing is sent before that, and jobs are told how long', async (_name, answer, seconds) => {
    const { one, own, close } = await paused(answer);
    const [status, reason, after] = await one();
    expect([status, reason]).toEqual([503, 'broker.server_busy']);
    expect(Math.abs(Number(after) - seconds)).toBeLessThanOrEqual(2);
    const next = await one();
    expect(next.slice(0, 2)).toEqual([503, 'broker.queue_busy']);
    expect(Math.abs(Number(next[2]) - seconds)).toBeLessThanOrEqual(3);
    expect(own.seen('POST', '/token')).toHaveLength(1);
    await close();
  });

  it('a short one is waited for: the next request is late and not lost', async () => {
    const { one, own, close } = await paused(json(429, {}, { 'retry-after': '1' }));
    expect((await one())[2]).toBe(1);
    own.interfere = () => null;
    expect((await one())[0]).toBe(200);
    expect(own.seen('POST', '/token')).toHaveLength(2);
    await close();
  });

  it.each([['without'], ['soon'], ['-5'], ['1e9'], ['2030-01-01'], ['']])(
    'none that can be read (%s): told two seconds, and no pause',
    async (value) => {
      const headers: Record<string, string> = value === 'without' ? {} : { 'retry-after': value };
      const { one, own, close } = await paused(json(503, {}, headers));
      expect(await one()).toEqual([503, 'broker.server_busy', 2]);
      own.interfere = () => null;
      expect((await one())[0]).toBe(200);
      await close();
    },
  );
});

describe('a server that is not there, or is not itself', () => {
  it('is found when it comes; until then 503 broker.server_unknown, also for the description', async () => {
    const own = await ServerFront.start();
    own.interfere = () => drop;
    const broker = await TestBroker.start({ front: own });
    const { status, body } = await (await BrokerJob.start(broker)).ask();
    expect([status, body['reason']]).toEqual([503, 'broker.server_unknown']);
    const described = await broker.get('/.well-known/sallyport-broker');
    expect([described.status, described.body['reason'], described.headers.get('retry-after')]).toEqual([
      503,
      'broker.server_unknown',
      '2',
    ]);
    own.interfere = () => null;
    await eventually('it is known', async () => (await broker.get('/.well-known/sallyport-broker')).status === 200);
    await broker.describe();
    expect((await (await BrokerJob.start(broker)).ask()).status).toBe(200);
    await broker.close();
    await own.close();
  });

  it.each([
    ['another issuer', { issuer: 'https://elsewhere.example.com' }],
    ['a page', null],
    ['a token endpoint that is no URL', { token_endpoint: 'token' }],
    ['a token endpoint in the clear', { token_endpoint: 'http://as.example.com/token' }],
    ['no token endpoint', { token_endpoint: undefined }],
  ])('RFC 8414 §3.3: metadata with %s is not used, and readiness says so', async (_name, change) => {
    const own = await ServerFront.start();
    own.alter = ({ path, answer }) => {
      if (!path.startsWith('/.well-known/')) return answer;
      return change === null ? '<html>' : JSON.stringify({ ...(JSON.parse(answer) as object), ...change });
    };
    const broker = await TestBroker.start({ front: own });
    expect((await (await BrokerJob.start(broker)).ask()).body['reason']).toBe('broker.server_unknown');
    const ready = await fetch(`${broker.broker.adminOrigin}/readyz`);
    expect(ready.status).toBe(503);
    const { checks } = (await ready.json()) as { checks: { name: string; ok: boolean }[] };
    expect(checks.find(({ name }) => name === 'authorization_server')).toMatchObject({ ok: false });
    await broker.close();
    await own.close();
  });

  it('that is stopped and started again serves the next job', async () => {
    const before = await ask();
    expect(claimsOf(before.body['access_token'])['iss']).toBe(front.origin);
    const target = front.target;
    front.target = 'http://127.0.0.1:1';
    expect((await ask()).reason).toBe('broker.server_unreachable');
    front.target = target;
    expect((await ask()).status).toBe(200);
  });
});
