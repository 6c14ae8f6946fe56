import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { API_TOKEN, writeApiToken } from '../support/api_token.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway } from '../support/gateway.ts';
import { answerEach, RecordingUpstream } from '../support/recording_upstream.ts';
import { startRedis } from '../support/redis_server.ts';
import { BrokerJob, RESOURCE, TestBroker } from './fixture.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A gateway that takes the tokens of the authorization server, and hears of ended jobs. */
async function gatewayFor(test: TestBroker, ended: Record<string, unknown>) {
  const upstream = await new RecordingUpstream(answerEach()).listen();
  closing.push(() => upstream.close());
  const file = writeApiToken(test.folder);
  const gateway = await startTestGateway({
    upstream: upstream.origin,
    config: { issuers: [{ issuer: test.issuer }], admin: { port: 0, api_token_file: file }, ended_jobs: ended },
  });
  closing.push(() => gateway.close());
  return gateway;
}

describe('POST /jobs/{id}/end', () => {
  it('through the gateways: the token is refused there once it is answered; a repeat is 204; no further token', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    const gateway = await gatewayFor(test, { store: 'memory' });
    const gateways = [{ url: gateway.gateway.adminOrigin, api_token_file: 'admin.token' }];
    await test.startBroker({ ended_jobs: { gateways } });
    const job = await BrokerJob.start(test);
    const { body } = await job.ask({
      scope: 'projects:read',
      authorization_details: [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' }],
    });
    const call = async () => {
      const url = `${gateway.origin}/v1/projects/p1`;
      const { makeProof } = await import('../../src/oauth/dpop_proof.ts');
      const { privateKey, publicJwk, alg } = job.key;
      const accessToken = String(body['access_token']);
      const dpop = await makeProof({ privateKey, publicJwk, alg, method: 'GET', url, accessToken, clock: Date.now });
      const answer = await fetch(url, { headers: { authorization: `DPoP ${accessToken}`, dpop } });
      return [answer.status, answer.ok ? null : ((await answer.json()) as { reason: string }).reason];
    };
    // The token is good; the starter policy does not know this job.
    expect(await call()).toEqual([403, 'policy.denied']);
    expect((await job.end(body['job_id'])).status).toBe(204);
    expect(await call()).toEqual([401, 'token.job_ended']);
    expect((await job.end(body['job_id'])).status).toBe(204);
    const again = await job.ask();
    expect([again.status, again.body['error_description']]).toEqual([403, 'The job has ended.']);
    expect(test.records().filter(({ event }) => event === 'job_ended')).toMatchObject([
      { job_id: body['job_id'], by: 'job', everywhere: true },
    ]);
  });

  it('through Redis, and after a restart of the broker, for a job that began before it', async () => {
    const redis = await startRedis();
    closing.push(() => redis.stop());
    const test = await TestBroker.start({ config: { ended_jobs: { redis: { url: redis.url } } } });
    closing.push(() => test.close());
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    await test.broker.close();
    await test.startBroker();
    expect((await job.end(body['job_id'])).status).toBe(204);
    expect(await redis.call('ZSCORE', 'sallyport:{ended_jobs}expiry', job.key.thumbprint)).not.toBeNull();
    await redis.call('FLUSHALL');
    await eventually(
      'it is written again',
      async () => (await redis.call('ZCARD', 'sallyport:{ended_jobs}expiry')) === 1,
    );
  });

  it('a gateway that is away: 202, and it is told when it comes', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    writeApiToken(test.folder);
    await test.startBroker({
      ended_jobs: { gateways: [{ url: 'http://127.0.0.1:1', api_token_file: 'admin.token' }] },
    });
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    expect((await job.end(body['job_id'])).status).toBe(202);
    const ready = await fetch(`${test.broker.adminOrigin}/readyz`);
    expect(await ready.text()).toContain('1 owed');
  });

  it('401 with another key, for another URL, without a proof; 404 for a job that is not', async () => {
    const test = await TestBroker.start();
    closing.push(() => test.close());
    const [job, other] = [await BrokerJob.start(test), await BrokerJob.start(test)];
    const id = (await job.ask()).body['job_id'];
    expect((await other.end(id)).status).toBe(401);
    expect((await job.end(id, { dpop: await job.proof() })).status).toBe(401);
    expect((await job.end(id, { dpop: '' })).status).toBe(401);
    expect((await job.end('a'.repeat(43))).status).toBe(404);
    expect((await job.ask()).status).toBe(200);
  });

  it('by the engine with its own credential, and listed on the admin port', async () => {
    const test = await TestBroker.prepare();
    closing.push(() => test.close());
    writeApiToken(test.folder);
    await test.startBroker({ admin: { port: 0, api_token_file: 'admin.token' } });
    const job = await BrokerJob.start(test);
    const id = String((await job.ask()).body['job_id']);
    const url = `${test.broker.origin}/jobs/${id}/end`;
    expect((await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${API_TOKEN}x` } })).status).toBe(401);
    const authorization = `Bearer ${API_TOKEN}`;
    const listed = await fetch(`${test.broker.adminOrigin}/jobs?run_id=1001`, { headers: { authorization } });
    expect(await listed.json()).toMatchObject({ jobs: [{ job_id: id, workflow: 'deploy', ended_at: null }] });
    expect((await fetch(url, { method: 'POST', headers: { authorization } })).status).toBe(204);
    expect((await job.ask()).status).toBe(403);
  });

  it('at its deadline', async () => {
    let ahead = 0;
    const test = await TestBroker.start({ workflow: { job_lifetime_seconds: 60 }, clock: () => Date.now() + ahead });
    closing.push(() => test.close());
    const job = await BrokerJob.start(test);
    await job.ask();
    ahead = 61_000;
    await eventually('it ended', () =>
      test.records().some(({ event, by }) => event === 'job_ended' && by === 'deadline'),
    );
  });

  it('state that is torn keeps it from starting, and it says what to do', async () => {
    const test = await TestBroker.start();
    closing.push(() => test.close());
    await test.broker.close();
    writeFileSync(join(test.folder, 'state/jobs.json'), '{"version":1,"jo');
    await expect(test.startBroker()).rejects.toThrow(/jobs\.json: expected one JSON document.*move it away/);
    expect(RESOURCE).toBeDefined();
  });
});
