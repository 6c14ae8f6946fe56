import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertionFor, claimsOf, requestToken, startTestServer, type TestServer } from './fixture.ts';
import { byAssertion, byExchange, startWorkloadServer, type WorkloadServer } from './workload_fixture.ts';

const now = () => Math.floor(Date.now() / 1000);

describe('no token lives past the deadline of its job', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ job: { from_assertion: ['deadline', 'run_id'] } });
  });
  afterAll(() => server.close());

  const ask = async (job: Record<string, unknown>) =>
    requestToken(server, { assertion: await assertionFor(server, { job }) });

  it('that its client states', async () => {
    const deadline = now() + 30;
    const { body } = await ask({ deadline });
    expect(claimsOf(body['access_token'])).toMatchObject({ exp: deadline, job: { deadline } });
    expect(Number(body['expires_in'])).toBeLessThanOrEqual(30);
  });

  it('one that is far away changes nothing', async () => {
    expect((await ask({ deadline: now() + 5000 })).body['expires_in']).toBe(300);
  });

  it('invalid_grant: one that has passed', async () => {
    expect(await ask({ deadline: now() - 1 })).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  it.each([1.5, -1, '1', null, 1e300])('invalid_request: %s is none', async (deadline) => {
    expect(await ask({ deadline })).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});

describe('what the identity token says of the job goes before what anybody states', () => {
  let server: WorkloadServer;
  beforeAll(async () => {
    server = await startWorkloadServer();
  });
  afterAll(() => server.close());

  it('the token ends with it', async () => {
    const exp = now() + 25;
    const { body } = await byAssertion(server, server.ci.token({ claims: { exp } }));
    expect(claimsOf(body['access_token'])['exp']).toBe(exp);
  });

  it('a client that states another repository is refused', async () => {
    const own = await startWorkloadServer({
      clients: [
        {
          client_id: 'fixed',
          token_endpoint_auth_method: 'none',
          workloads: [{ issuer: 'https://token.actions.githubusercontent.com', claims: { repository_id: '7' } }],
          resources: ['https://cloud.example.com/v1'],
          scopes: ['builds:write'],
          job: { claims: { repository: 'acme/other', environment: 'production' } },
        },
      ],
    });
    const ask = (claims: Record<string, unknown>) =>
      byAssertion(own, own.ci.token({ claims: { repository_id: '7', ...claims } }), { client_id: 'fixed' });
    expect(await ask({})).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const good = await ask({ repository: 'acme/other', environment: undefined });
    expect(claimsOf(good.body['access_token'])['job']).toMatchObject({
      repository: 'acme/other',
      environment: 'production',
    });
    await own.close();
  });

  it('its claims come along, without those of the token itself', async () => {
    const { body } = await byExchange(server, server.ci.token());
    const { claims } = claimsOf(body['access_token'])['job'] as { claims: Record<string, unknown> };
    expect(claims).toMatchObject({ repository_owner_id: '1234', run_attempt: '1' });
    for (const name of ['exp', 'iat', 'nbf', 'jti', 'aud']) expect(claims[name]).toBeUndefined();
  });
});
