import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  assertionFor,
  BUILDS,
  claimsOf,
  proofFor,
  RESOURCE,
  requestToken,
  startTestServer,
  type TestServer,
} from './fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('a token that is issued', () => {
  it('RFC 9068 §2: is signed with a published key and carries every required claim', async () => {
    const before = Math.floor(Date.now() / 1000);
    const answer = await requestToken(server, { parameters: { authorization_details: JSON.stringify([BUILDS]) } });
    const keys = (await (await fetch(`${server.issuer}/jwks`)).json()) as JSONWebKeySet;
    const { payload, protectedHeader } = await jwtVerify(String(answer.body['access_token']), createLocalJWKSet(keys), {
      issuer: server.issuer,
      audience: RESOURCE,
      typ: 'at+jwt',
      algorithms: ['ES256'],
    });
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: keys.keys[0]?.kid });
    expect(payload).toEqual({
      iss: server.issuer,
      aud: RESOURCE,
      sub: 'ci',
      client_id: 'ci',
      scope: 'builds:write',
      authorization_details: [BUILDS],
      cnf: { jkt: server.jobKey.thumbprint },
      jti: expect.stringMatching(/^[\w-]{20,}$/),
      iat: expect.any(Number),
      exp: expect.any(Number),
    });
    expect(payload.iat).toBeGreaterThanOrEqual(before);
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
  });

  it('RFC 6749 §5.1: the answer says what was granted and must not be stored', async () => {
    const answer = await requestToken(server, { parameters: { authorization_details: JSON.stringify([BUILDS]) } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.body).toEqual({
      access_token: expect.any(String),
      token_type: 'DPoP',
      expires_in: 300,
      scope: 'builds:write',
      authorization_details: [BUILDS],
    });
  });

  it('two tokens have two identifiers', async () => {
    const answers = await Promise.all([requestToken(server), requestToken(server)]);
    const [first, second] = answers.map((answer) => claimsOf(answer.body['access_token'])['jti']);
    expect(first).not.toBe(second);
  });

  it('RFC 6749 §3.3: a scope above the ceiling is left out, and the answer says so', async () => {
    const answer = await requestToken(server, { parameters: { scope: 'builds:write secrets:read builds:read' } });
    expect(answer.body['scope']).toBe('builds:write builds:read');
    expect(claimsOf(answer.body['access_token'])['scope']).toBe('builds:write builds:read');
  });

  it('authorization_details without a scope are enough', async () => {
    const parameters = { scope: null, authorization_details: JSON.stringify([BUILDS]) };
    const answer = await requestToken(server, { parameters });
    expect(answer.status).toBe(200);
    expect(answer.body['scope']).toBeUndefined();
    expect(claimsOf(answer.body['access_token'])['scope']).toBeUndefined();
  });

  it('is written to the log by its identifier, and nothing secret with it', async () => {
    const assertion = await assertionFor(server);
    const proof = await proofFor(server);
    const answer = await requestToken(server, { assertion, proof });
    const { jti } = claimsOf(answer.body['access_token']);
    const text = JSON.stringify(server.lines);
    expect(server.lines.find((line) => line.fields['jti'] === jti)).toMatchObject({
      level: 'info',
      message: 'token issued',
      fields: { client_id: 'ci', aud: RESOURCE, scope: 'builds:write', expires_in: 300, jkt: server.jobKey.thumbprint },
    });
    for (const secret of [assertion, proof, String(answer.body['access_token'])]) {
      for (const part of secret.split('.')) expect(text).not.toContain(part);
    }
  });
});

describe('lifetime', () => {
  it('of the client before that of the server', async () => {
    const own = await startTestServer({ token_lifetime_seconds: 45 }, { server: { token_lifetime_seconds: 600 } });
    const answer = await requestToken(own);
    await own.close();
    const { iat, exp } = claimsOf(answer.body['access_token']) as { iat: number; exp: number };
    expect(answer.body['expires_in']).toBe(45);
    expect(exp - iat).toBe(45);
  });

  it('of the server where the client has none', async () => {
    const own = await startTestServer({}, { server: { token_lifetime_seconds: 600 } });
    const answer = await requestToken(own);
    await own.close();
    expect(answer.body['expires_in']).toBe(600);
  });
});

describe('job', () => {
  const job = { claims: { provider: 'demo', repository: 'acme/infra' }, from_assertion: ['ref', 'run_id'] };
  let engine: TestServer;
  beforeAll(async () => {
    engine = await startTestServer({ job });
  });
  afterAll(() => engine.close());

  it('what is fixed for the client is in every token', async () => {
    const answer = await requestToken(engine);
    expect(claimsOf(answer.body['access_token'])['job']).toEqual({ provider: 'demo', repository: 'acme/infra' });
  });

  it('what the client may state is added from its assertion', async () => {
    const assertion = await assertionFor(engine, { job: { ref: 'refs/heads/main', run_id: '17', provider: 'demo' } });
    const answer = await requestToken(engine, { assertion });
    expect(claimsOf(answer.body['access_token'])['job']).toEqual({
      provider: 'demo',
      repository: 'acme/infra',
      ref: 'refs/heads/main',
      run_id: '17',
    });
  });

  it.each([
    ['a claim it was not given leave for', { environment: 'production' }],
    ['another value than the fixed one', { repository: 'acme/other' }],
    ['a member nobody knows', { admin: true }],
    ['a value of another type', { ref: 7 }],
    ['no object', 'main'],
    ['an array', ['ref']],
  ])('invalid_request: stating %s is refused, not dropped', async (_what, stated) => {
    const assertion = await assertionFor(engine, { job: stated });
    const answer = await requestToken(engine, { assertion });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});
