import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { GatewayProcess } from '../support/gateway_process.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';

/** A candidate policy beside the live one, in a gateway of several processes. */

/** Seconds that compiling may take on a busy machine. */
const COMPILES = 30;

let upstream: RecordingUpstream;
let redis: RedisServer;
let gateway: GatewayProcess;
beforeAll(async () => {
  upstream = await startRecordingUpstream();
  redis = await startRedis();
});
afterAll(async () => {
  await upstream.close();
  await redis.stop();
});
afterEach(() => gateway.discard());

interface Record {
  readonly custom: { readonly sallyport: { readonly shadow?: { readonly difference: string } } };
}

const records = (): Record[] =>
  readFileSync(join(gateway.folder, 'records.jsonl'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record);
const differences = () => records().map(({ custom }) => custom.sallyport.shadow?.difference ?? 'unasked');
const counted = async (name: string) => {
  const { body } = await gateway.page('/metrics');
  return body
    .split('\n')
    .filter((line) => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
};
const calls = (count: number) => Promise.all(Array.from({ length: count }, () => gateway.call()));
const editCandidate = (change: (text: string) => string) => {
  const file = join(gateway.folder, 'policies/candidate/starter/data.json');
  writeFileSync(file, change(readFileSync(file, 'utf8')));
};

describe('a candidate policy and several processes', () => {
  it('is compiled once, judges in each of them, and follows its files; answers stay as they are', {
    timeout: 180_000,
  }, async () => {
    const replay = { store: 'redis', redis: { url: redis.url } };
    gateway = await GatewayProcess.start({
      upstream: upstream.origin,
      config: { processes: 2, replay },
      policy: { path: 'live', shadow: { path: 'policies/candidate' } },
      prepare: (folder) => {
        for (const part of ['lib', 'starter']) {
          for (const place of ['live', 'policies/candidate'])
            cpSync(join(folder, 'policies', part), join(folder, place, part), { recursive: true });
        }
      },
    });
    const asked = async (word: string) => {
      const before = records().length;
      expect((await calls(12)).map(({ status }) => status)).toEqual(Array(12).fill(200));
      await eventually('twelve records', () => records().length === before + 12);
      return differences()
        .slice(before)
        .every((difference) => difference === word);
    };
    await eventually('both processes ask the candidate', () => asked('none'), COMPILES);
    editCandidate((text) => text.replace('"tokens_without_job": "allow"', '"tokens_without_job": "refuse"'));
    await eventually('both processes ask the new candidate', () => asked('refuses'), COMPILES);
    const refusals = differences().filter((difference) => difference === 'refuses').length;
    expect(await counted('sallyport_shadow_differences_total')).toBe(refusals);
    expect(await counted('sallyport_shadow_judged_total')).toBe(
      differences().filter((difference) => difference !== 'unasked').length,
    );

    editCandidate(() => 'no JSON');
    await eventually(
      'the broken one is counted',
      async () => (await counted('sallyport_shadow_failures_total')) > 0,
      COMPILES,
    );
    expect((await calls(4)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const { body } = await gateway.page('/readyz');
    expect(JSON.parse(body)).toMatchObject({ ready: true });
    expect(body).toContain('a newer one was refused');
    expect(gateway.program.errors()).toContain(
      'the new candidate policy was refused; the live policy decides as before',
    );
    expect(await gateway.stop()).toBe(0);
  });

  it('is read again on SIGHUP where it is not watched', {
    timeout: 180_000,
  }, async () => {
    gateway = await GatewayProcess.start({
      upstream: upstream.origin,
      policy: { watch: false, shadow: { path: 'candidate', entrypoint: 'candidate/answer' } },
      prepare: (folder) => {
        cpSync(join(folder, 'policies/starter'), join(folder, 'candidate'), { recursive: true });
        for (const name of ['decision_test.rego']) writeFileSync(join(folder, 'candidate', name), '');
        writeFileSync(join(folder, 'candidate/decision.rego'), 'package candidate\n\nanswer := {"allow": true}\n');
      },
    });
    const lastIs = (word: string) => async () => {
      await gateway.call();
      return differences().at(-1) === word;
    };
    await eventually('the candidate is asked', lastIs('none'), COMPILES);
    writeFileSync(join(gateway.folder, 'candidate/decision.rego'), 'package candidate\n\nanswer := {"allow": false}\n');
    expect(await lastIs('none')()).toBe(true);
    gateway.program.child.kill('SIGHUP');
    await eventually('the new candidate is asked', lastIs('refuses'), COMPILES);
    expect(await gateway.stop()).toBe(0);
  });
});
