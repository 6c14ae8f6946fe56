/**
 * Fuzzes for longer than the gate does: `npm run fuzz -- [--seconds N] [--seed S]`. Every property gets its share of the time; the seed is
 * printed, and the same seed plays the same run again.
 */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

/** Properties that share the time. */
const PROPERTIES = 14;

const usage = () => {
  console.error('usage: npm run fuzz -- [--seconds N] [--seed S], N from 14 to 86400');
  process.exit(2);
};
let values;
try {
  ({ values } = parseArgs({ options: { seconds: { type: 'string' }, seed: { type: 'string' } } }));
} catch {
  usage();
}
const seconds = Number(values.seconds ?? '120');
const seed = Number(values.seed ?? randomInt(2 ** 31));
if (!(seconds >= PROPERTIES && seconds <= 86_400) || !Number.isSafeInteger(seed)) usage();
console.log(`seed ${seed}, ${seconds} seconds; to play it again: npm run fuzz -- --seconds ${seconds} --seed ${seed}`);
const { status } = spawnSync(
  'vitest',
  ['run', '--project', 'security', 'test/security/fuzz', 'test/security/tokens_and_proofs'],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      SALLYPORT_FUZZ_SECONDS: String(Math.floor(seconds / PROPERTIES)),
      SALLYPORT_FUZZ_SEED: String(seed),
    },
  },
);
console.log(`seed ${seed}: ${status === 0 ? 'nothing found' : 'something was found, see above'}`);
process.exitCode = status === 0 ? 0 : 1;
