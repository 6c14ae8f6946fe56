/**
 * How long and from where properties are fuzzed. In the gate: a fixed number of runs from a fixed seed, so that a run can be played again.
 * `npm run fuzz -- --seconds N [--seed S]`: each property for its share of that time, from a seed of its own.
 */
const seconds = Number(process.env['SALLYPORT_FUZZ_SECONDS'] ?? '0');
const seed = Number(process.env['SALLYPORT_FUZZ_SEED'] ?? '20261128');

/** Milliseconds that a fuzzing test may take. */
export const FUZZ_TIMEOUT = 60_000 + seconds * 1000;

/** The parameters of a property: `runs` in the gate; as many as its time allows in a longer run. A failure prints seed and path. */
export function fuzzed(runs: number): { seed: number; numRuns: number; interruptAfterTimeLimit?: number } {
  if (seconds === 0) return { seed, numRuns: runs };
  return { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 };
}
