import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { JobQuota, type QuotaOwner } from '../../src/broker/job_quota.ts';
import { BrokerJob, CI_ISSUER, RESOURCE, TestBroker, type TestBrokerOptions } from './fixture.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(options: TestBrokerOptions): Promise<TestBroker> {
  const test = await TestBroker.start(options);
  closing.push(() => test.close());
  return test;
}

const other = {
  name: 'other',
  match: { issuer: CI_ISSUER, repository_id: '4712' },
  resources: [RESOURCE],
  scopes: ['projects:read'],
  client: { client_id: 'deploy', private_key_file: 'client.jwk.json' },
};

/** Asks once, with a new key, as a run. */
async function ask(test: TestBroker, claims: Record<string, unknown>) {
  const { status, body, headers } = await (await BrokerJob.start(test, claims)).ask();
  return { status, reason: body['reason'], error: body['error'], retryAfter: headers.get('retry-after') };
}

const FULL_RUN = { status: 429, reason: 'broker.jobs_of_run', error: 'temporarily_unavailable', retryAfter: '30' };
const FULL_WORKFLOW = { ...FULL_RUN, reason: 'broker.jobs_of_workflow' };

describe('broker.jobs_of_run, broker.jobs_of_workflow, broker.jobs_full', () => {
  it('RFC 6585 §4: one run has limit_per_run jobs at most; other runs and workflows are served, and so is a job that has its place', async () => {
    const test = await start({ config: { jobs: { limit: 100, limit_per_run: 3 } }, workflows: [other] });
    const first = await BrokerJob.start(test, { run_id: '1' });
    expect((await first.ask()).status).toBe(200);
    for (let count = 0; count < 2; count++) expect(await ask(test, { run_id: '1' })).toMatchObject({ status: 200 });
    expect(await ask(test, { run_id: '1' })).toEqual(FULL_RUN);
    expect(test.records().at(-1)).toMatchObject({ event: 'token_refused', reason: 'broker.jobs_of_run', run_id: '1' });
    expect(await ask(test, { run_id: '2' })).toMatchObject({ status: 200 });
    expect(await ask(test, { run_id: '1', repository_id: '4712' })).toEqual(FULL_RUN);
    expect((await first.ask()).status).toBe(200);
  });

  it('jobs that have ended count as long as they are remembered, so that beginning and ending is no way around it', async () => {
    let ahead = 0;
    const test = await start({
      config: { jobs: { limit: 100, limit_per_run: 1 } },
      clock: () => Date.now() + ahead,
    });
    const job = await BrokerJob.start(test);
    const { body } = await job.ask();
    expect((await job.end(body['job_id'])).status).toBe(204);
    expect(await ask(test, {})).toEqual(FULL_RUN);
    ahead = 3_700_000;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    ahead = 0;
    expect(await ask(test, {})).toMatchObject({ status: 200 });
  });

  it('identity tokens of one run are bounded too, also those whose requests are refused', async () => {
    const test = await start({
      config: { jobs: { limit: 100, limit_per_run: 2 } },
      workflow: { environments: ['production'] },
    });
    for (let count = 0; count < 8; count++) {
      expect(await ask(test, { environment: 'test' })).toMatchObject({ reason: 'broker.environment_not_served' });
    }
    expect(await ask(test, { environment: 'test' })).toEqual(FULL_RUN);
    expect(await ask(test, { run_id: 'other' })).toMatchObject({ status: 200 });
  });

  it('one workflow has half of limit where nothing is said, over all its runs; the other half is left to others', async () => {
    const test = await start({ config: { jobs: { limit: 10 } }, workflows: [other] });
    for (let run = 0; run < 5; run++) expect(await ask(test, { run_id: `${run}` })).toMatchObject({ status: 200 });
    expect(await ask(test, { run_id: '5' })).toEqual(FULL_WORKFLOW);
    for (let run = 0; run < 5; run++) {
      expect(await ask(test, { run_id: `o${run}`, repository_id: '4712' })).toMatchObject({ status: 200 });
    }
    // With a place of its own in the workflow, but none in all.
    expect(await ask(test, { run_id: 'o9', repository_id: '4712' })).toEqual(FULL_WORKFLOW);
  });

  it('503 when all places are taken', async () => {
    const test = await start({ config: { jobs: { limit: 10, limit_per_workflow: 10 } } });
    for (let run = 0; run < 10; run++) expect(await ask(test, { run_id: `${run}` })).toMatchObject({ status: 200 });
    expect(await ask(test, { run_id: '10' })).toEqual(FULL_WORKFLOW);
    const wide = await start({ config: { jobs: { limit: 10, limit_per_workflow: 11 } } });
    for (let run = 0; run < 10; run++) expect(await ask(wide, { run_id: `${run}` })).toMatchObject({ status: 200 });
    expect(await ask(wide, { run_id: '10' })).toEqual({
      status: 503,
      reason: 'broker.jobs_full',
      error: 'temporarily_unavailable',
      retryAfter: '5',
    });
  });

  it('a run without an identifier is counted by its subject, and a restart forgets no place', async () => {
    const test = await start({ config: { jobs: { limit: 100, limit_per_run: 2 } } });
    const nameless = { run_id: undefined };
    for (let count = 0; count < 2; count++) expect(await ask(test, nameless)).toMatchObject({ status: 200 });
    expect(await ask(test, nameless)).toEqual(FULL_RUN);
    expect(await ask(test, { ...nameless, sub: 'repo:acme/infra:ref:refs/heads/main' })).toMatchObject({ status: 200 });
    await test.broker.close();
    await test.startBroker();
    expect(await ask(test, nameless)).toEqual(FULL_RUN);
  });
});

describe('JobQuota', () => {
  const owner = fc.record({
    run: fc.constantFrom('a', 'b', '__proto__'),
    workflow: fc.constantFrom('x', 'constructor'),
  });

  it('property: never more than any bound, and refused only at one', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(owner, fc.boolean()), { maxLength: 60 }), (steps) => {
        const bounds = { all: 7, run: 3, workflow: 5 };
        const quota = new JobQuota(bounds);
        const held: QuotaOwner[] = [];
        const of = (name: 'run' | 'workflow', one: QuotaOwner) =>
          held.filter((other) => other[name] === one[name]).length;
        for (const [one, isEnd] of steps) {
          if (isEnd) {
            const ended = held.pop();
            if (ended !== undefined) quota.remove(ended);
            continue;
          }
          const full =
            of('run', one) >= bounds.run || of('workflow', one) >= bounds.workflow || held.length >= bounds.all;
          expect(quota.refusal(one) !== null).toBe(full);
          if (full) continue;
          quota.add(one);
          held.push(one);
        }
      }),
    );
  });
});
