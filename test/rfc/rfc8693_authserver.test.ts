import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsOf, proofFor, RESOURCE, requestToken } from '../authserver/fixture.ts';
import {
  byExchange,
  GITHUB,
  JWT_TYPE,
  NO_CLIENT,
  startWorkloadServer,
  TOKEN_EXCHANGE,
  type WorkloadServer,
} from '../authserver/workload_fixture.ts';
import { GITHUB_CLAIMS } from '../support/workload.ts';

let server: WorkloadServer;
beforeAll(async () => {
  server = await startWorkloadServer();
});
afterAll(() => server.close());

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const now = () => Math.floor(Date.now() / 1000);

async function refusal(token: string, parameters: Record<string, string | null> = {}): Promise<[number, unknown]> {
  const answer = await byExchange(server, token, parameters);
  expect(answer.body['access_token']).toBeUndefined();
  return [answer.status, answer.body['error']];
}

const INVALID = [400, 'invalid_request'];

describe('RFC 8693 §2: a workload identity token becomes an access token', () => {
  it('RFC 8693 §2.2.1: the answer says what was issued, bound to the key of the proof', async () => {
    const answer = await byExchange(server, server.ci.token());
    expect(answer.body).toMatchObject({
      issued_token_type: ACCESS_TOKEN,
      token_type: 'DPoP',
      scope: 'builds:write',
    });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const claims = claimsOf(answer.body['access_token']);
    expect(claims).toMatchObject({
      iss: server.issuer,
      sub: GITHUB_CLAIMS.sub,
      client_id: 'ci',
      aud: RESOURCE,
      cnf: { jkt: server.jobKey.thumbprint },
      job: { provider: 'github', repository: 'acme/infra', repository_id: '456789', workflow: 'deploy.yml' },
    });
  });

  it('RFC 8693 §4.1: the client that brings the token acts for its subject', async () => {
    const answer = await byExchange(server, server.ci.token());
    expect(claimsOf(answer.body['access_token'])['act']).toEqual({ sub: 'ci' });
  });

  it('RFC 8693 §4.1: the actor is the one of the actor_token; who acted before stands inside', async () => {
    const earlier = { sub: 'first', act: { sub: 'zeroth' } };
    const actor = server.forge.token({ claims: { sub: 'runner-7' } });
    const answer = await byExchange(server, server.ci.token({ claims: { act: earlier } }), {
      actor_token: actor,
      actor_token_type: JWT_TYPE,
    });
    expect(claimsOf(answer.body['access_token'])['act']).toEqual({
      iss: server.forge.issuer,
      sub: 'runner-7',
      act: earlier,
    });
  });

  it('RFC 8693 §4.1: a subject that is its own actor acts for nobody', async () => {
    const answer = await byExchange(server, server.ci.token(), {
      actor_token: server.ci.token(),
      actor_token_type: JWT_TYPE,
    });
    expect(answer.status).toBe(200);
    expect(claimsOf(answer.body['access_token'])['act']).toBeUndefined();
  });

  it('RFC 8693 §2.1: by the client that the identity token alone makes known', async () => {
    const answer = await byExchange(server, server.ci.token(), { ...NO_CLIENT, client_id: 'deploy' });
    expect(claimsOf(answer.body['access_token'])).toMatchObject({ client_id: 'deploy' });
    expect(claimsOf(answer.body['access_token'])['act']).toBeUndefined();
  });

  it.each([
    ['id_token as the type', { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['the access token asked for by name', { requested_token_type: ACCESS_TOKEN }],
    ['audience in place of resource', { resource: null, audience: RESOURCE }],
    ['audience and resource that are the same', { audience: RESOURCE }],
  ])('takes %s', async (_what, parameters) => {
    expect((await byExchange(server, server.ci.token(), parameters)).status).toBe(200);
  });

  it('no token outlives the identity token, nor what the client may have', async () => {
    const short = await byExchange(server, server.ci.token({ claims: { exp: now() + 40 } }));
    expect(Number(short.body['expires_in'])).toBeLessThanOrEqual(40);
    const long = await byExchange(server, server.ci.token({ claims: { exp: now() + 3000 } }));
    expect(long.body['expires_in']).toBe(300);
  });
});

describe('RFC 8693 §2.2.2: refused', () => {
  it.each<[string, Record<string, string | null>]>([
    ['no subject_token', { subject_token: null }],
    ['no subject_token_type', { subject_token_type: null }],
    ['neither', { subject_token: null, subject_token_type: null }],
    ['an unknown type', { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }],
    ['an access token as the subject', { subject_token_type: ACCESS_TOKEN }],
    ['an actor_token without type', { actor_token: 'x' }],
    ['an actor_token_type without token', { actor_token_type: JWT_TYPE }],
    ['an actor_token that is none', { actor_token: 'x.y.z', actor_token_type: JWT_TYPE }],
    ['a refresh token asked for', { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['a JWT asked for', { requested_token_type: JWT_TYPE }],
  ])('invalid_request: %s', async (_what, parameters) => {
    expect(await refusal(server.ci.token(), parameters)).toEqual(INVALID);
  });

  it.each<[string, () => string]>([
    ['signed by nobody known', () => server.ci.token({ header: { kid: 'other' } })],
    ['of another issuer', () => server.ci.token({ claims: { iss: 'https://ci.example.com' } })],
    ['for another audience', () => server.ci.token({ claims: { aud: 'https://cloud.example.com' } })],
    ['expired', () => server.ci.token({ claims: { exp: now() - 1 } })],
    ['of another repository', () => server.ci.token({ claims: { repository_id: '1' } })],
    ['of another trusted issuer', () => server.forge.token()],
    ['of no use', () => 'x'],
    ['may_act for another', () => server.ci.token({ claims: { may_act: { sub: 'other' } } })],
    ['may_act that is no object', () => server.ci.token({ claims: { may_act: 'ci' } })],
  ])('invalid_request: a subject_token %s', async (_what, make) => {
    expect(await refusal(make())).toEqual(INVALID);
  });

  it('RFC 8693 §4.4: may_act that names the client lets it act', async () => {
    expect((await byExchange(server, server.ci.token({ claims: { may_act: { sub: 'ci' } } }))).status).toBe(200);
  });

  it('invalid_target: another audience, or several', async () => {
    expect(await refusal(server.ci.token(), { audience: 'https://other.example.com/' })).toEqual([
      400,
      'invalid_target',
    ]);
    expect(await refusal(server.ci.token(), { resource: null, audience: 'logical' })).toEqual([400, 'invalid_target']);
  });

  it('invalid_dpop_proof: without a proof; a token is always bound', async () => {
    const parameters = { grant_type: TOKEN_EXCHANGE, subject_token: server.ci.token(), subject_token_type: JWT_TYPE };
    const answer = await requestToken(server, { proof: null, parameters });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } });
  });

  it('unauthorized_client: a client that no workload identity speaks for', async () => {
    const plain = await startWorkloadServer({ server: {} });
    await plain.close();
    const own = await startWorkloadServer({
      clients: [{ client_id: 'alone', jwks: { keys: [server.clientKey.publicJwk] }, resources: [RESOURCE] }],
    });
    const { makeClientAssertion } = await import('../../src/oauth/client_assertion.ts');
    const assertion = await makeClientAssertion({
      clientId: 'alone',
      issuer: own.issuer,
      key: server.clientKey,
      clock: Date.now,
    });
    const parameters = { grant_type: TOKEN_EXCHANGE, subject_token: own.ci.token(), subject_token_type: JWT_TYPE };
    const answer = await requestToken(own, { assertion, parameters });
    await own.close();
    expect(answer).toMatchObject({ status: 400, body: { error: 'unauthorized_client' } });
  });
});

describe('replay', () => {
  it('a subject_token is good once', async () => {
    const token = server.ci.token();
    expect((await byExchange(server, token)).status).toBe(200);
    expect(await refusal(token)).toEqual(INVALID);
  });

  it('of 100 copies at once exactly one counts', async () => {
    const token = server.ci.token();
    const answers = await Promise.all(Array.from({ length: 100 }, () => byExchange(server, token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body['error'] === 'invalid_request')).toHaveLength(99);
  });

  it('a refused request burns no subject_token', async () => {
    const token = server.ci.token();
    expect(await refusal(token, { scope: 'nothing:here' })).toEqual([400, 'invalid_scope']);
    expect((await byExchange(server, token)).status).toBe(200);
  });

  it('use: one_key lets the same key come again, and nobody else', async () => {
    const own = await startWorkloadServer({ issuer: { use: 'one_key' } });
    const token = own.ci.token();
    expect((await byExchange(own, token)).status).toBe(200);
    expect((await byExchange(own, token)).status).toBe(200);
    const other = { ...own, jobKey: own.clientKey };
    const proof = await proofFor(other);
    const stolen = await requestToken(own, {
      proof,
      parameters: { grant_type: TOKEN_EXCHANGE, subject_token: token, subject_token_type: JWT_TYPE },
    });
    await own.close();
    expect(stolen).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});

it('the issuer is the one of the preset', () => {
  expect(server.ci.issuer).toBe(GITHUB);
});
