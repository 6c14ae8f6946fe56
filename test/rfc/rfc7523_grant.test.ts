import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsOf, RESOURCE, requestToken } from '../authserver/fixture.ts';
import { byAssertion, JWT_BEARER, startWorkloadServer, type WorkloadServer } from '../authserver/workload_fixture.ts';
import { GITHUB_CLAIMS } from '../support/workload.ts';

let server: WorkloadServer;
beforeAll(async () => {
  server = await startWorkloadServer();
});
afterAll(() => server.close());

const now = () => Math.floor(Date.now() / 1000);

async function refusal(assertion: string, parameters: Record<string, string | null> = {}): Promise<[number, unknown]> {
  const answer = await byAssertion(server, assertion, parameters);
  expect(answer.body['access_token']).toBeUndefined();
  return [answer.status, answer.body['error']];
}

const INVALID = [400, 'invalid_grant'];

describe('RFC 7523 §2.1: a workload identity token as the grant', () => {
  it('is all that a client without a key brings, beside its proof', async () => {
    const details = [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1/builds' }];
    const answer = await byAssertion(server, server.ci.token(), { authorization_details: JSON.stringify(details) });
    expect(answer).toMatchObject({ status: 200, body: { token_type: 'DPoP', authorization_details: details } });
    expect(claimsOf(answer.body['access_token'])).toMatchObject({
      sub: GITHUB_CLAIMS.sub,
      client_id: 'deploy',
      aud: RESOURCE,
      cnf: { jkt: server.jobKey.thumbprint },
      job: { provider: 'github', environment: 'production', ref: 'refs/heads/main', run_id: '991' },
    });
  });

  it('may name its client', async () => {
    expect((await byAssertion(server, server.ci.token(), { client_id: 'deploy' })).status).toBe(200);
  });

  it('may come with the authentication of a client that it speaks for', async () => {
    const parameters = { grant_type: JWT_BEARER, assertion: server.ci.token() };
    const answer = await requestToken(server, { parameters });
    expect(claimsOf(answer.body['access_token'])).toMatchObject({ client_id: 'ci', sub: GITHUB_CLAIMS.sub });
  });

  it.each<[string, () => string]>([
    ['§3 item 1: another issuer', () => server.ci.token({ claims: { iss: 'https://ci.example.com' } })],
    ['§3 item 2: no subject', () => server.ci.token({ claims: { sub: undefined } })],
    ['§3 item 3: another audience', () => server.ci.token({ claims: { aud: 'https://x.example.com' } })],
    ['§3 item 3: no audience', () => server.ci.token({ claims: { aud: undefined } })],
    ['§3 item 4: expired', () => server.ci.token({ claims: { exp: now() - 1 } })],
    ['§3 item 4: no exp', () => server.ci.token({ claims: { exp: undefined } })],
    ['§3 item 5: nbf ahead', () => server.ci.token({ claims: { nbf: now() + 100 } })],
    ['§3 item 9: another key', () => server.ci.token({ header: { kid: 'x' } })],
    ['§3 item 9: alg none', () => server.ci.token({ header: { alg: 'none' } })],
    ['another repository', () => server.ci.token({ claims: { repository_id: '1' } })],
    ['another environment', () => server.ci.token({ claims: { environment: 'staging' } })],
    ['no environment', () => server.ci.token({ claims: { environment: undefined } })],
    ['another trusted issuer', () => server.forge.token()],
    ['an access token', () => server.ci.token({ header: { typ: 'at+jwt' } })],
    ['no JWT', () => 'x'],
  ])('invalid_grant: %s', async (_what, make) => {
    expect(await refusal(make(), { client_id: 'deploy' })).toEqual(INVALID);
  });

  it('invalid_request: no assertion', async () => {
    expect(await refusal('', { client_id: 'deploy' })).toEqual([400, 'invalid_request']);
  });

  it('a token that speaks for nobody, and no client_id, is no authentication', async () => {
    expect(await refusal(server.ci.token({ claims: { repository_id: '1' } }))).toEqual([400, 'invalid_request']);
  });

  it('invalid_client: naming a client that has a key', async () => {
    expect(await refusal(server.ci.token(), { client_id: 'ci' })).toEqual([401, 'invalid_client']);
  });

  it('unauthorized_client: such a client has nothing without its identity token', async () => {
    const answer = await byAssertion(server, server.ci.token(), {
      grant_type: 'client_credentials',
      assertion: null,
      client_id: 'deploy',
    });
    expect(answer).toMatchObject({ status: 400, body: { error: 'unauthorized_client' } });
  });

  it('of 100 copies of one assertion at once exactly one counts', async () => {
    const token = server.ci.token();
    const answers = await Promise.all(Array.from({ length: 100 }, () => byAssertion(server, token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body['error'] === 'invalid_grant')).toHaveLength(99);
  });

  it('the log names the subject, never the token', async () => {
    const token = server.ci.token();
    await byAssertion(server, token);
    expect(server.lines.at(-1)).toMatchObject({ fields: { client_id: 'deploy', subject: GITHUB_CLAIMS.sub } });
    const text = JSON.stringify(server.lines);
    for (const part of token.split('.')) expect(text).not.toContain(part);
  });
});
