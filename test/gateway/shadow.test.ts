import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sharedRegoEngine } from '../../src/rego/engine_host.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

const POLICIES = resolve(import.meta.dirname, '../../policies');
const READ = '/v1/projects/p1';
/** Seconds that compiling may take on a busy machine. */
const COMPILES = 30;

/** Beside what it says, each evaluation of some path takes longer than it may, or fails. */
const HOSTILE = `package sallyport

decision := {"allow": false} if not strange

decision := {"allow": count(found) > 0} if input.request.path == "/v1/projects/slow"

decision := {"allow": true} if input.request.path == "/v1/projects/conflict"

decision := {"allow": false} if input.request.path == "/v1/projects/conflict"

decision := "allow" if input.request.path == "/v1/projects/nonsense"

strange if input.request.path in {"/v1/projects/slow", "/v1/projects/conflict", "/v1/projects/nonsense"}

found contains "never" if {
	list := numbers.range(1, 5000)
	some x in list
	some y in list
	some z in list
	x > y
	y > z
	z > x
}
`;

let upstream: RecordingUpstream;
let folder: string;
let gateway: TestGateway;

beforeAll(async () => {
  upstream = await startRecordingUpstream();
});
afterEach(async () => {
  await gateway.close();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(async () => {
  await upstream.close();
  await sharedRegoEngine().close();
});

/** Starts a gateway whose candidate is the starter policy, changed by `change`, and waits until it is asked. */
async function start(change: (file: (name: string) => string) => void, shadow: Record<string, unknown> = {}) {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-shadow-'));
  cpSync(join(POLICIES, 'lib'), join(folder, 'lib'), { recursive: true });
  cpSync(join(POLICIES, 'starter'), join(folder, 'starter'), { recursive: true });
  change((name) => join(folder, name));
  gateway = await startTestGateway({
    upstream: upstream.origin,
    config: { policy: { path: POLICIES, watch: true, shadow: { path: folder, ...shadow } } },
  });
}

const candidateIs = async (text: RegExp) => {
  const known = async () => gateway.gateway.readiness().checks.find(({ name }) => name === 'shadow');
  await eventually(`the candidate is ${text}`, async () => text.test((await known())?.detail ?? ''), COMPILES);
};

async function call(path = READ): Promise<{ status: number; body: string; headers: string[] }> {
  const response = await fetch(gateway.origin + path, { headers: await gateway.headers('GET', path) });
  const headers = [...response.headers.keys()].filter((name) => name !== 'date');
  return { status: response.status, body: await response.text(), headers };
}

const metric = async (name: string): Promise<string[]> => {
  const text = await (await fetch(`${gateway.gateway.adminOrigin}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith(name));
};
const shadowOf = (record: unknown) =>
  (record as { custom: { sallyport: { shadow?: Record<string, unknown> } } }).custom.sallyport.shadow;
const refuseJobs = (file: (name: string) => string) => {
  const data = file('starter/data.json');
  writeFileSync(
    data,
    readFileSync(data, 'utf8').replace('"tokens_without_job": "allow"', '"tokens_without_job": "refuse"'),
  );
};

describe('a candidate policy beside the live one', { timeout: 120_000 }, () => {
  it('changes nothing that the caller or the upstream sees; the difference is in record and metrics', async () => {
    await start(refuseJobs);
    await candidateIs(/^sha256:/);
    const before = upstream.requests.length;
    expect(await call()).toMatchObject({ status: 200 });
    expect(upstream.requests).toHaveLength(before + 1);
    const [record] = await gateway.records(1);
    expect(record).toMatchObject({
      result: { allow: true },
      custom: { sallyport: { outcome: 'allowed', status: 200 } },
    });
    expect(shadowOf(record)).toEqual({
      revision: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      difference: 'refuses',
      candidate: 'job_not_allowed',
      reason: 'policy.denied',
      policy_reasons: [{ code: 'job_not_allowed', message: expect.any(String) }],
      timing_us: expect.any(Number),
    });
    expect((record as { bundles: { policy: { revision: string } } }).bundles.policy.revision).not.toBe(
      shadowOf(record)?.['revision'],
    );
    expect(await metric('sallyport_shadow_differences_total')).toEqual([
      'sallyport_shadow_differences_total{route="projects",operation="projects.get",difference="refuses",live="allow",candidate="job_not_allowed"} 1',
    ]);
    expect(await metric('sallyport_shadow_judged_total')).toEqual(['sallyport_shadow_judged_total 1']);
  });

  it('that allows more lets nobody in', async () => {
    await start((file) => {
      writeFileSync(file('starter/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
    });
    await candidateIs(/^sha256:/);
    const before = upstream.requests.length;
    const path = '/v1/projects/p1/nothing';
    expect((await call(path)).status).toBe(403);
    expect(upstream.requests).toHaveLength(before);
    const [record] = await gateway.records(1);
    expect(shadowOf(record)).toMatchObject({ difference: 'allows', candidate: 'allow' });
    expect(await metric('sallyport_requests_total')).toEqual([
      expect.stringContaining('reason="policy.denied",status_class="4xx"} 1'),
    ]);
  });

  it('of the same mind is said to be; what never came to a policy is not judged', async () => {
    await start(() => undefined);
    await candidateIs(/^sha256:/);
    await call();
    await (await fetch(gateway.origin + READ)).text();
    // That of the judged one is written once the candidate has said what it thinks, which may be after the other.
    const records = await gateway.records(2);
    const judged = records.find((record) => shadowOf(record) !== undefined);
    const unjudged = records.find((record) => record !== judged);
    expect(shadowOf(judged)).toEqual({
      revision: expect.any(String),
      difference: 'none',
      timing_us: expect.any(Number),
    });
    expect(unjudged).toMatchObject({ custom: { sallyport: { reason: 'request.credentials_missing' } } });
    expect(shadowOf(unjudged)).toBeUndefined();
    expect(await metric('sallyport_shadow_differences_total')).toEqual([]);
  });

  it('that hangs, traps or talks nonsense fails alone: every call is answered as before, and every record is written', async () => {
    await start((file) => writeFileSync(file('starter/decision.rego'), HOSTILE));
    await candidateIs(/^sha256:/);
    const paths = ['conflict', 'nonsense', 'slow', 'conflict'].map((name) => `/v1/projects/${name}`);
    const answers = [];
    for (const path of paths) answers.push(await call(path));
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    const records = await gateway.records(4);
    const told = new Map(
      records.map((record) => [(record['custom'] as { sallyport: { path: string } }).sallyport.path, shadowOf(record)]),
    );
    expect(told.get('/v1/projects/nonsense')).toMatchObject({ difference: 'fails', reason: 'policy.malformed' });
    expect(told.get('/v1/projects/slow')).toMatchObject({
      difference: 'fails',
      reason: 'policy.failed',
      note: 'its evaluation took longer than 1000 ms',
    });
    const failures = await metric('sallyport_shadow_differences_total');
    expect(failures).toContainEqual(
      expect.stringMatching(/difference="fails",live="\w+",candidate="policy.failed"\} [23]$/),
    );
    // The caller of the slow one had its answer before the candidate was asked.
    expect((await call()).status).toBe(200);
  });

  it('that does not compile changes nothing and says where; once repaired it is asked', async () => {
    let whole = '';
    await start((file) => {
      whole = readFileSync(file('starter/decision.rego'), 'utf8');
      writeFileSync(file('starter/decision.rego'), `${whole}\nallow if { unknown_function(1) }\n`);
    });
    await candidateIs(/none yet \(a newer one was refused: .*decision\.rego:\d+:\d+: .*unknown_function/s);
    expect((await call()).status).toBe(200);
    expect(gateway.gateway.readiness().checks.find(({ name }) => name === 'shadow')?.ok).toBe(true);
    expect(await metric('sallyport_shadow_failures_total')).toEqual([expect.stringMatching(/ [1-9]\d*$/)]);
    writeFileSync(join(folder, 'starter/decision.rego'), whole);
    await candidateIs(/^sha256:[0-9a-f]{64}$/);
    await call();
    const records = await gateway.records(2);
    expect(shadowOf(records[0])).toBeUndefined();
    expect(shadowOf(records[1])).toMatchObject({ difference: 'none' });
  });

  it('judges about the share of requests that is asked for', async () => {
    await start(() => undefined, { sample: 0.5 });
    await candidateIs(/^sha256:/);
    for (let i = 0; i < 60; i++) await call();
    const records = await gateway.records(60);
    const judged = records.filter((record) => shadowOf(record) !== undefined).length;
    // Fewer than 5 or more than 55 of 60: once in 10^11 runs.
    expect(judged).toBeGreaterThan(4);
    expect(judged).toBeLessThan(56);
  });
});
