import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { GatewayProcess } from '../support/gateway_process.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { startRedis } from '../support/redis_server.ts';

/** A policy that is changed on disk while a gateway, a process of its own, serves calls. */

let upstream: RecordingUpstream;
let gateway: GatewayProcess;
beforeAll(async () => {
  upstream = await startRecordingUpstream();
});
afterAll(() => upstream.close());
afterEach(() => gateway.discard());

/** Seconds that compiling may take on a busy machine. */
const COMPILES = 30;
const ALLOWED = { status: 200, reason: null };
const DENIED = { status: 403, reason: 'policy.denied' };

const refuseTokensWithoutJob = (text: string) =>
  text.replace('"tokens_without_job": "allow"', '"tokens_without_job": "refuse"');
const reloads = async (outcome: string) => {
  const { body } = await gateway.page('/metrics');
  return Number(new RegExp(`^sallyport_policy_reloads_total\\{outcome="${outcome}"\\} (\\d+)$`, 'm').exec(body)?.[1]);
};
const policyCheck = async () => {
  const { status, body } = await gateway.page('/readyz');
  const { ready, checks } = JSON.parse(body) as { ready: boolean; checks: { name: string; detail?: string }[] };
  return { status, ready, detail: checks.find(({ name }) => name === 'policy')?.detail ?? '' };
};
const isRefused = async () => (await gateway.call()).reason === 'policy.denied';

describe('a policy that changes on disk', () => {
  it('is seen without a word: allowed becomes refused, a broken one changes nothing and says so, a repaired one counts', {
    timeout: 120_000,
  }, async () => {
    gateway = await GatewayProcess.start({ upstream: upstream.origin });
    expect(await gateway.call()).toEqual(ALLOWED);
    const first = await policyCheck();
    expect(first).toMatchObject({ status: 200, ready: true, detail: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });

    gateway.edit('starter/data.json', refuseTokensWithoutJob);
    await eventually('the call is refused', isRefused, COMPILES);
    const second = await policyCheck();
    expect(second.detail).not.toBe(first.detail);
    expect([await reloads('success'), await reloads('failure')]).toEqual([2, 0]);

    const whole = readFileSync(join(gateway.folder, 'policies/starter/decision.rego'), 'utf8');
    gateway.edit('starter/decision.rego', (text) => `${text}\nallow if { unknown_function(1) }\n`);
    await eventually('the failure is counted', async () => (await reloads('failure')) > 0, COMPILES);
    expect(await gateway.call()).toEqual(DENIED);
    const third = await policyCheck();
    expect(third).toMatchObject({ status: 200, ready: true });
    expect(third.detail).toContain(second.detail);
    expect(third.detail).toMatch(/decision\.rego:\d+:\d+: .*unknown_function/);
    expect(gateway.program.errors()).toContain('the new policy was refused; the old one stays');

    gateway.edit('starter/decision.rego', () => whole);
    gateway.edit('starter/data.json', (text) => text.replace('"refuse"', '"allow"'));
    await eventually('the call is allowed again', async () => !(await isRefused()), COMPILES);
    expect((await policyCheck()).detail).toBe(first.detail);
    expect(await gateway.stop()).toBe(0);
  });

  it('is read again on SIGHUP where it is not watched; record files are opened anew', {
    timeout: 120_000,
  }, async () => {
    gateway = await GatewayProcess.start({ upstream: upstream.origin, policy: { watch: false } });
    expect(await gateway.call()).toEqual(ALLOWED);
    gateway.edit('starter/data.json', refuseTokensWithoutJob);
    expect(await gateway.call()).toEqual(ALLOWED);

    const records = join(gateway.folder, 'records.jsonl');
    await eventually('two records', () => linesOf(records).length === 2);
    renameSync(records, `${records}.1`);
    gateway.program.child.kill('SIGHUP');
    await eventually('the call is refused', isRefused, COMPILES);
    await eventually('the refusal is recorded in a new file', () => lastReasonIn(records) === 'policy.denied');
    const last = JSON.parse(linesOf(records).at(-1) ?? '{}') as { bundles: unknown };
    expect(linesOf(`${records}.1`).every((line) => !line.includes(JSON.stringify(last.bundles)))).toBe(true);

    gateway.edit('starter/decision.rego', (text) => text.replace('package sallyport', 'package other'));
    gateway.program.child.kill('SIGHUP');
    await eventually('the failure is counted', async () => (await reloads('failure')) === 1, COMPILES);
    expect(await gateway.call()).toEqual(DENIED);
    expect(await gateway.stop()).toBe(0);
    expect(gateway.program.errors()).not.toMatch(/eyJ[\w-]{20,}/);
  });

  it('counts in every process at once', { timeout: 120_000 }, async () => {
    const redis = await startRedis();
    try {
      const replay = { store: 'redis', redis: { url: redis.url } };
      gateway = await GatewayProcess.start({ upstream: upstream.origin, config: { processes: 2, replay } });
      const { body } = await gateway.page('/readyz');
      expect(JSON.parse(body)).toMatchObject({
        ready: true,
        checks: [{ name: 'workers', detail: '2 of 2 answer' }, {}],
      });
      expect(new Set(await Promise.all(outcomes(12)))).toEqual(new Set([200]));
      gateway.edit('starter/data.json', refuseTokensWithoutJob);
      await eventually(
        'every process refuses',
        async () => (await Promise.all(outcomes(12))).every(isForbidden),
        COMPILES,
      );
      // Connections go to the processes in turn, so twelve at once reach both.
      expect(new Set(await Promise.all(outcomes(24)))).toEqual(new Set([403]));
      expect(await gateway.stop()).toBe(0);
    } finally {
      await redis.stop();
    }
  });
});

function linesOf(file: string): string[] {
  return !existsSync(file) ? [] : readFileSync(file, 'utf8').split('\n').filter(Boolean);
}

function lastReasonIn(file: string): string | undefined {
  const last = JSON.parse(linesOf(file).at(-1) ?? '{}') as { custom?: { sallyport: { reason?: string } } };
  return last.custom?.sallyport.reason;
}

/** The statuses of calls that are made at once, each on a connection of its own where the client takes one. */
function outcomes(count: number): Promise<number>[] {
  return Array.from({ length: count }, async () => (await gateway.call()).status);
}

const isForbidden = (status: number) => status === 403;
