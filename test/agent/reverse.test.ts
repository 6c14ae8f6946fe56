import { request as httpRequest } from 'node:http';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exchange } from '../support/raw_client.ts';
import { type AgentScene, ScriptedGateway, setAgentScene, type TestAgent } from './scene.ts';

let scene: AgentScene;
let gateway: ScriptedGateway;
let agent: TestAgent;

beforeAll(async () => {
  scene = await setAgentScene();
});
afterAll(() => scene.close());
beforeEach(async () => {
  gateway = await ScriptedGateway.start();
  agent = await scene.start(gateway.origin);
});
afterEach(async () => {
  await agent.end();
  await gateway.close();
});

const portOf = (url: string) => Number(new URL(url).port);
const secretOf = (url: string) => new URL(url).pathname.slice(1);
const proofs = () => gateway.received.map(({ headers }) => decodeJwt(String(headers['dpop'])));

describe('reverse mode: what the gateway gets', () => {
  it('a bound token and a proof for exactly this request, below the base path', async () => {
    const response = await fetch(`${agent.url}/projects/p1?deep=1&x=%2F`, { method: 'PATCH', body: '{"a":1}' });
    expect([response.status, await response.text()]).toEqual([200, 'ok']);
    const [seen] = gateway.received;
    expect(seen).toMatchObject({ method: 'PATCH', url: '/v1/projects/p1?deep=1&x=%2F', body: '{"a":1}' });
    const token = String(seen?.headers.authorization).replace(/^DPoP /, '');
    expect(decodeJwt(token)).toMatchObject({ cnf: { jkt: agent.thumbprint } });
    expect(decodeProtectedHeader(String(seen?.headers['dpop']))).toMatchObject({ typ: 'dpop+jwt', alg: 'ES256' });
    expect(proofs()[0]).toMatchObject({ htm: 'PATCH', htu: `${gateway.origin}/v1/projects/p1` });
  });

  it("the tool's own credentials are replaced, and the secret is in nothing that is sent", async () => {
    const secret = secretOf(agent.url);
    const headers = {
      authorization: `Bearer ${secret}`,
      dpop: 'mine',
      'sallyport-agent-secret': secret,
      'x-kept': '1',
    };
    await fetch(`${agent.url}/projects`, { headers });
    const [seen] = gateway.received;
    expect(seen?.headers).toMatchObject({ 'x-kept': '1', host: new URL(gateway.origin).host });
    expect(seen?.rawHeaders.filter((name) => /^(authorization|dpop)$/i.test(name))).toHaveLength(2);
    expect(JSON.stringify(seen)).not.toContain(secret);
    expect(seen?.headers.authorization).toMatch(/^DPoP eyJ/);
  });

  it('RFC 9110 §7.6.1: what concerns one connection ends at the agent, in both directions', async () => {
    gateway.answer = (response) =>
      void response
        .writeHead(200, {
          connection: 'x-secret',
          'x-secret': '1',
          'alt-svc': 'h3=":1"',
          'dpop-nonce': 'n-1',
          'x-kept': '2',
        })
        .end('ok');
    const [answer] = await exchange(
      portOf(agent.url),
      `GET /${secretOf(agent.url)}/a HTTP/1.1\r\nHost: 127.0.0.1:${portOf(agent.url)}\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\nKeep-Alive: 1\r\nX-Kept: 1\r\n\r\n`,
    );
    const { headers } = gateway.received[0] ?? {};
    expect(headers).toMatchObject({ 'x-kept': '1' });
    for (const name of ['x-hop', 'te', 'proxy-authorization', 'keep-alive']) expect(headers).not.toHaveProperty(name);
    expect(answer).toMatchObject({ status: 200, headers: { 'x-kept': ['2'] } });
    for (const name of ['x-secret', 'alt-svc', 'dpop-nonce']) expect(answer?.headers).not.toHaveProperty(name);
  });

  it('the base URL itself, with and without query', async () => {
    for (const end of ['', '/', '?a=1', '/?a=1']) await fetch(agent.url + end);
    expect(gateway.received.map(({ url }) => url)).toEqual(['/v1', '/v1/', '/v1?a=1', '/v1/?a=1']);
  });

  it('every request has a proof of its own', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, index) => fetch(`${agent.url}/${index}`)));
    expect(new Set(proofs().map(({ jti }) => jti)).size).toBe(20);
  });
});

describe('reverse mode: nonces and clocks', () => {
  const asksFor = (nonce: string) => ({
    'www-authenticate': 'DPoP error="use_dpop_nonce", algs="ES256"',
    'dpop-nonce': nonce,
  });

  it('RFC 9449 §9: a nonce is used at once, and kept for the next request', async () => {
    gateway.answer = (response, count) =>
      count === 1 ? void response.writeHead(401, asksFor('n-1')).end() : void response.writeHead(200).end('ok');
    const response = await fetch(`${agent.url}/x`, { method: 'POST', body: 'body' });
    expect([response.status, await response.text()]).toEqual([200, 'ok']);
    await fetch(`${agent.url}/y`);
    expect(proofs().map(({ nonce }) => nonce)).toEqual([undefined, 'n-1', 'n-1']);
    expect(gateway.received.map(({ body }) => body)).toEqual(['body', 'body', '']);
  });

  it('RFC 9449 §9: once and no more; the refusal is passed on', async () => {
    gateway.answer = (response, count) => void response.writeHead(401, asksFor(`n-${count}`)).end();
    expect((await fetch(`${agent.url}/x`)).status).toBe(401);
    expect(gateway.received).toHaveLength(2);
  });

  it('a body that streams is asked for before it is sent, so that a nonce costs nothing of it', async () => {
    const large = 'x'.repeat(200_000);
    gateway.answer = (response, count, request) => {
      if (count === 1) response.writeHead(401, { ...asksFor('n-1'), connection: 'close' }).end();
      else if (request.complete) response.writeHead(200).end('ok');
    };
    const response = await fetch(`${agent.url}/x`, { method: 'PUT', body: large });
    expect([response.status, await response.text()]).toEqual([200, 'ok']);
    expect(gateway.received.map(({ body }) => body.length)).toEqual([0, 200_000]);
    expect(proofs().map(({ nonce }) => nonce)).toEqual([undefined, 'n-1']);
  });

  it('a nonce that comes with a success is for the next proof', async () => {
    gateway.answer = (response, count) => void response.writeHead(200, { 'dpop-nonce': `n-${count}` }).end('ok');
    for (const path of ['/a', '/b', '/c']) await fetch(agent.url + path);
    expect(proofs().map(({ nonce }) => nonce)).toEqual([undefined, 'n-1', 'n-2']);
  });

  it('a nonce of an answer that has two, or that is no nonce, is not taken', async () => {
    gateway.answer = (response, count) => {
      if (count === 1) response.setHeader('dpop-nonce', ['a', 'b']);
      else response.setHeader('dpop-nonce', 'with space');
      response.end('ok');
    };
    for (const path of ['/a', '/b', '/c']) await fetch(agent.url + path);
    expect(proofs().map(({ nonce }) => nonce)).toEqual([undefined, undefined, undefined]);
  });

  it.each([-90, 75])(
    'a clock that is %i seconds away is learned from Date, and the request is made anew',
    async (away) => {
      gateway.answer = (response, _count, request) => {
        response.setHeader('date', new Date(Date.now() + away * 1000).toUTCString());
        const iat = Number(decodeJwt(String(request.headers['dpop'])).iat);
        const good = Math.abs(iat - (Date.now() / 1000 + away)) < 5;
        if (good) response.writeHead(200).end('ok');
        else response.writeHead(401, { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' }).end();
      };
      expect((await fetch(`${agent.url}/x`)).status).toBe(200);
      expect(gateway.received).toHaveLength(2);
    },
  );

  it('a clock that is an hour away is not followed, and the person is told', async () => {
    gateway.answer = (response) => {
      response.setHeader('date', new Date(Date.now() + 3_600_000).toUTCString());
      response.writeHead(401, { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' }).end();
    };
    expect((await fetch(`${agent.url}/x`)).status).toBe(401);
    expect(gateway.received).toHaveLength(1);
    expect(agent.said.join('\n')).toMatch(/clocks of this machine and of \S+ are 3\d\d\d seconds apart/);
  });
});

describe('reverse mode: answers', () => {
  it('does not follow a redirect, and makes local what leads to the API again', async () => {
    const other = await ScriptedGateway.start();
    const places = [
      `${gateway.origin}/v1/builds/7?x=1`,
      `${gateway.origin}/admin`,
      `${other.origin}/v1/x`,
      '/v1/relative',
    ];
    gateway.answer = (response, count) => void response.writeHead(307, { location: places[count - 1] }).end();
    const seen = [];
    for (let n = 0; n < places.length; n++) {
      seen.push((await fetch(`${agent.url}/x`, { redirect: 'manual' })).headers.get('location'));
    }
    expect(seen).toEqual([
      `${agent.url}/builds/7?x=1`,
      `${gateway.origin}/admin`,
      `${other.origin}/v1/x`,
      '/v1/relative',
    ]);
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('a redirect to another origin that the tool follows has nothing of the job', async () => {
    const thief = await ScriptedGateway.start();
    gateway.answer = (response) => void response.writeHead(302, { location: `${thief.origin}/steal` }).end();
    await fetch(`${agent.url}/x`);
    expect(thief.received).toHaveLength(1);
    expect(thief.received[0]?.headers).not.toHaveProperty('authorization');
    expect(thief.received[0]?.headers).not.toHaveProperty('dpop');
    await thief.close();
  });

  it('a refusal of the gateway passes unchanged, and is told in sentences', async () => {
    const problem = {
      title: 'The scope of the access token does not cover this operation',
      status: 403,
      reason: 'policy.insufficient_scope',
      decision_id: 'd-9',
      required: {
        scopes: ['projects:admin'],
        authorization_details: [{ type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects/p1' }],
      },
    };
    gateway.answer = (response) =>
      void response.writeHead(403, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
    const response = await fetch(`${agent.url}/projects/p1?token=x`, { method: 'DELETE' });
    expect([response.status, await response.json()]).toEqual([403, problem]);
    expect(agent.said).toEqual([
      'sallyport agent: the gateway refused DELETE /v1/projects/p1 (cloud), which is projects.delete on projects/p1, with 403: The scope of the access token does not cover this operation (policy.insufficient_scope).',
      '  What would do: scope projects:admin, and projects.delete on projects/p1 (cloud_api).',
      '  The token has: scope projects:read builds:read builds:write, and projects.get, builds.list, builds.get, builds.create on projects/p1 (cloud_api).',
      '  Decision d-9.',
    ]);
    expect(agent.notices.summary).toMatchObject({ requests: 1, refused: 1 });
  });

  it('an answer that breaks off does not end as if it were whole', async () => {
    gateway.answer = (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setTimeout(() => response.socket?.destroy(), 20);
    };
    const response = await fetch(`${agent.url}/x`);
    await expect(response.text()).rejects.toThrow();
  });

  it('HEAD, 204 and 304 have no body', async () => {
    gateway.answer = (response, count) => {
      if (count === 1) response.writeHead(200, { 'content-length': '7' }).end();
      else response.writeHead(count === 2 ? 204 : 304, { etag: '"a"' }).end();
    };
    expect((await fetch(`${agent.url}/x`, { method: 'HEAD' })).headers.get('content-length')).toBe('7');
    expect((await fetch(`${agent.url}/x`)).status).toBe(204);
    expect((await fetch(`${agent.url}/x`)).status).toBe(304);
  });

  it('a gateway that is not there is told to the tool and to the person', async () => {
    await gateway.close();
    const response = await fetch(`${agent.url}/x`);
    expect([response.status, await response.json()]).toMatchObject([502, { reason: 'agent.gateway_unreachable' }]);
    expect(agent.said.join('\n')).toContain('cannot be reached: ECONNREFUSED');
    gateway = await ScriptedGateway.start();
  });

  it('a chunked DELETE stays one request', async () => {
    gateway.answer = (response, _count, request) => void (request.complete && response.end('ok'));
    const done = new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        `${agent.url}/x`,
        { method: 'DELETE', headers: { 'transfer-encoding': 'chunked' } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      ).on('error', reject);
      request.write('GET /evil HTTP/1.1\r\nHost: x\r\n\r\n');
      request.end();
    });
    expect(await done).toBe(200);
    expect(gateway.received.map(({ method, body }) => [method, body])).toEqual([
      ['DELETE', 'GET /evil HTTP/1.1\r\nHost: x\r\n\r\n'],
    ]);
  });
});
