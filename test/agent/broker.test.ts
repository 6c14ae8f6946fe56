import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, EmbeddedJWK, type JWK, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunningAgent, startAgent } from '../../src/agent/agent.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { ScriptedGateway } from './scene.ts';

/** The broker's side of its API, reduced to what a test wants to see: each request, and an answer of the test's choice. */

interface Asked {
  readonly path: string;
  readonly identity: string | undefined;
  readonly proof: Record<string, unknown>;
  readonly thumbprint: string;
  readonly form: URLSearchParams;
}

const IDENTITY = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUifQ.c2ln';
const GRANTED = {
  access_token: 'abc.def',
  token_type: 'DPoP',
  expires_in: 300,
  scope: 'projects:read',
  job_id: 'job-1',
};

let broker: Server;
let gateway: ScriptedGateway;
let asked: Asked[];
let answer: (response: ServerResponse, count: number, path: string) => void;
let agent: RunningAgent | null;
let said: string[];

beforeEach(async () => {
  asked = [];
  said = [];
  agent = null;
  answer = (response, _count, path) =>
    path === '/token' ? json(response, 200, GRANTED) : void response.writeHead(204).end();
  broker = createServer((request, response) => void serve(request, response));
  await new Promise<void>((done) => broker.listen(0, '127.0.0.1', done));
  gateway = await ScriptedGateway.start();
});
afterEach(async () => {
  await agent?.end();
  await gateway.close();
  broker.closeAllConnections();
  broker.close();
});

const origin = () => `http://127.0.0.1:${(broker.address() as AddressInfo).port}`;
const TOKEN_ENDPOINT = 'https://as.example.com/token';

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = String(request.url);
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += String(chunk);
  if (path === '/.well-known/sallyport-broker') {
    return json(response, 200, {
      issuer: 'https://as.example.com',
      token_endpoint: TOKEN_ENDPOINT,
      broker_token_endpoint: `${origin()}/token`,
      job_end_endpoint: `${origin()}/jobs/{id}/end`,
    });
  }
  if (path.startsWith('/github?')) {
    const good =
      request.headers.authorization === 'Bearer request-token' && path.includes('audience=https%3A%2F%2Fbroker');
    return good ? json(response, 200, { value: IDENTITY }) : json(response, 403, {});
  }
  const proof = String(request.headers['dpop']);
  const { payload } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt' });
  const thumbprint = await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk as JWK);
  asked.push({
    path,
    identity: request.headers.authorization,
    proof: payload,
    thumbprint,
    form: new URLSearchParams(body),
  });
  answer(response, asked.length, path);
}

async function start(
  changes: Record<string, unknown> = {},
  variables: Record<string, string> = {},
): Promise<RunningAgent> {
  const config = parseAgentConfig(
    {
      version: 1,
      broker: { url: origin(), identity: { source: 'gitlab' }, environment: 'production' },
      apis: [
        {
          name: 'cloud',
          url: `${gateway.origin}/v1`,
          scopes: ['projects:read'],
          authorization_details: [{ type: 'cloud_api', actions: ['a'] }],
        },
      ],
      ...changes,
    },
    'test',
  );
  const notices = new Notices((line) => void said.push(line));
  agent = await startAgent({
    config,
    variables: { SALLYPORT_ID_TOKEN: IDENTITY, ...variables },
    notices,
    clock: Date.now,
    user: null,
  });
  return agent;
}

describe('tokens from a broker', () => {
  it('the identity token, a proof for the authorization server by the key of the job, and what is asked for', async () => {
    const { thumbprint, exported } = await start();
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      path: '/token',
      identity: `Bearer ${IDENTITY}`,
      thumbprint,
      proof: { htm: 'POST', htu: TOKEN_ENDPOINT },
    });
    expect(Object.fromEntries(asked[0]?.form ?? [])).toEqual({
      resource: `${gateway.origin}/v1`,
      scope: 'projects:read',
      authorization_details: '[{"type":"cloud_api","actions":["a"]}]',
      environment: 'production',
    });
    await fetch(`${exported['SALLYPORT_CLOUD_URL']}/x`);
    expect(gateway.received[0]?.headers.authorization).toBe('DPoP abc.def');
    expect(exported['SALLYPORT_ID_TOKEN']).toBeNull();
  });

  it('the end of the job is told with a proof of the same key, once', async () => {
    const running = await start();
    await Promise.all([running.end(), running.end()]);
    expect(asked[1]).toMatchObject({
      path: '/jobs/job-1/end',
      identity: undefined,
      thumbprint: running.thumbprint,
      proof: { htm: 'POST', htu: `${origin()}/jobs/job-1/end` },
    });
    expect([asked.length, said]).toEqual([2, []]);
  });

  it('an end that fails is told, and the agent ends all the same', async () => {
    const running = await start();
    answer = (response) => json(response, 400, { error: 'invalid_dpop_proof', error_description: 'no' });
    await running.end();
    expect(said).toEqual(['sallyport agent: the job could not be ended cleanly: invalid_dpop_proof: no']);
  });

  it('RFC 9449 §8: the nonce of the authorization server is relayed, used once, and not given to the gateway', async () => {
    answer = (response, count) =>
      count === 1
        ? json(response, 400, { error: 'use_dpop_nonce' }, { 'dpop-nonce': 'as-1' })
        : json(response, 200, GRANTED);
    const { exported } = await start();
    expect(asked.map(({ proof }) => proof['nonce'])).toEqual([undefined, 'as-1']);
    await fetch(`${exported['SALLYPORT_CLOUD_URL']}/x`);
    expect(decodeJwt(String(gateway.received[0]?.headers['dpop']))).not.toHaveProperty('nonce');
  });

  it('a full queue is waited for as long as Retry-After says', async () => {
    answer = (response, count) =>
      count === 1
        ? json(response, 503, { error: 'temporarily_unavailable' }, { 'retry-after': '1' })
        : json(response, 200, GRANTED);
    await start();
    expect(asked).toHaveLength(2);
  });

  it.each([
    [502, 'text/html', '<h1>Bad Gateway</h1>'],
    [500, 'application/json', ''],
    [504, 'application/json', 'upstream timed out'],
    [429, 'text/plain', 'slow down'],
  ])('%i (%s) of what stands in front of the broker is passing: asked again', async (status, type, body) => {
    answer = (response, count) =>
      count === 1 ? void response.writeHead(status, { 'content-type': type }).end(body) : json(response, 200, GRANTED);
    await start();
    expect(asked).toHaveLength(2);
  });

  it('longer than token_timeout_ms is not waited', async () => {
    answer = (response) => json(response, 503, { error: 'temporarily_unavailable' }, { 'retry-after': '60' });
    await expect(start({ token_timeout_ms: 500 })).rejects.toThrow('temporarily_unavailable');
    expect(asked).toHaveLength(1);
  });

  it.each([
    [401, { error: 'invalid_token', error_description: 'expired' }, 'the broker refused: invalid_token: expired'],
    [403, { error: 'access_denied' }, 'the broker refused: access_denied'],
    [200, { ...GRANTED, token_type: 'Bearer' }, 'the token is not bound to the key'],
    [200, { ...GRANTED, access_token: 'a b' }, 'it has no access token'],
    [200, { ...GRANTED, expires_in: 0 }, 'it does not say when the token expires'],
    [200, { ...GRANTED, job_id: undefined }, 'it has no job_id'],
    [200, [], 'the broker refused: status 200'],
  ])('%i %j: no job, and why', async (status, body, words) => {
    answer = (response) => json(response, status, body);
    await expect(start()).rejects.toThrow(words);
    expect(asked).toHaveLength(1);
  });

  it('GitHub is asked for the identity token, and the command cannot ask', async () => {
    const identity = { source: 'github', audience: 'https://broker.example.com' };
    const variables = {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${origin()}/github?api=1`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-token',
    };
    const { exported } = await start({ broker: { url: origin(), identity } }, variables);
    expect(asked[0]?.identity).toBe(`Bearer ${IDENTITY}`);
    expect(exported).toMatchObject({ ACTIONS_ID_TOKEN_REQUEST_URL: null, ACTIONS_ID_TOKEN_REQUEST_TOKEN: null });
  });

  it('buildkite-agent is asked for the identity token, and the command cannot ask: it would get one for a key of its own', async () => {
    const bin = mkdtempSync(join(tmpdir(), 'sallyport-bin-'));
    const said = `[ "$BUILDKITE_AGENT_ACCESS_TOKEN" = job-token ] && [ "$1 $2 $4" = "oidc request-token https://b.example" ] && echo ${IDENTITY}`;
    writeFileSync(join(bin, 'buildkite-agent'), `#!/bin/sh\n${said}\n`, { mode: 0o755 });
    const variables = { PATH: `${bin}:${process.env['PATH']}`, BUILDKITE_AGENT_ACCESS_TOKEN: 'job-token' };
    const broker = { url: origin(), identity: { source: 'buildkite', audience: 'https://b.example' } };
    const { exported } = await start({ broker }, variables);
    rmSync(bin, { recursive: true });
    expect(asked[0]?.identity).toBe(`Bearer ${IDENTITY}`);
    expect(exported).toMatchObject({ BUILDKITE_AGENT_ACCESS_TOKEN: null });
  });

  it.each([
    [{ source: 'github', audience: 'a' }, {}, 'permissions: { id-token: write }'],
    [
      { source: 'github', audience: 'a' },
      { ACTIONS_ID_TOKEN_REQUEST_URL: 'http://evil.example/', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'x' },
      'not an https URL',
    ],
    [{ source: 'environment', variable: 'NOT_THERE' }, {}, 'NOT_THERE is not set'],
    [{ source: 'environment', variable: 'WRONG' }, { WRONG: 'no jwt' }, 'is not a JWT'],
    [{ source: 'file', token_file: '/nonexistent/token' }, {}, '/nonexistent/token cannot be read: ENOENT'],
    [{ source: 'buildkite', audience: 'a' }, { PATH: '/nonexistent' }, 'buildkite-agent is not on PATH'],
    [{ source: 'circleci' }, {}, 'CIRCLE_OIDC_TOKEN_V2 is not set'],
  ])('identity %j %j: says what to do', async (identity, variables, words) => {
    await expect(start({ broker: { url: origin(), identity } }, variables)).rejects.toThrow(words);
    expect(asked).toEqual([]);
  });
});
