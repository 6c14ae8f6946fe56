/**
 * Replaces the policy in force again and again, as a source of bundles does, and tells how much memory is held: npm run bench:reloads -- [COUNT].
 * Two compiled policies take turns, each with another revision, so that every replacement is a whole one: module, instance, trial, swap.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { buildConfiguredPolicy } from '../../src/gateway/policy_build.ts';
import { PolicyHolder } from '../../src/gateway/policy_holder.ts';
import { makeArtifact, type PolicyArtifact } from '../../src/policy/artifact.ts';
import { SAMPLE_INPUT } from '../../src/policy/sample.ts';
import { createLog } from '../../src/telemetry/log.ts';

const count = Number(process.argv[2] ?? 10_000);
const STEPS = 10;
const MEGABYTE = 1_048_576;

function numbered({ wasm, data, entrypoint }: PolicyArtifact, revision: number): PolicyArtifact {
  return makeArtifact({
    wasm,
    data: JSON.parse(data),
    entrypoint,
    bundles: [{ name: 'main', revision: `${revision}` }],
  });
}

async function told(reloads: number): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    globalThis.gc?.();
    await sleep(20);
  }
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const parts = { rss, heapUsed, external, arrayBuffers };
  const words = Object.entries(parts).map(([name, bytes]) => `${name} ${(bytes / MEGABYTE).toFixed(1)} MB`);
  process.stdout.write(`${String(reloads).padStart(6)} reloads: ${words.join(', ')}\n`);
}

const built = await buildConfiguredPolicy({ path: 'policies', entrypoint: 'sallyport/decision', data: [] });
const holder = await PolicyHolder.start(built, { clock: Date.now, log: createLog({ level: 'fatal' }) });
const input = JSON.stringify(SAMPLE_INPUT);
await told(0);
for (let reload = 1; reload <= count; reload++) {
  if (!(await holder.replace(async () => numbered(built, reload)))) throw new Error('a policy was refused');
  holder.live().evaluate(input, 0);
  if (reload % Math.ceil(count / STEPS) === 0) await told(reload);
}
