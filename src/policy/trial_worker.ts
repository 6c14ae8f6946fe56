/** The thread that tries a policy: judges every sample and says what was wrong, or nothing. It is ended from outside when that takes too long. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyEngine } from './engine.ts';
import type { Trial, TrialResult } from './trial.ts';

/** The first evaluations run before the compiler has warmed up, so the best of some attempts counts. */
const ATTEMPTS = 3;

/** Milliseconds of processor time of this thread: a machine that is busy with something else does not make a policy slow. */
function spentMs(): number {
  // Node.js 23.9 and newer; older ones can only tell how much time went by.
  const measure = process.threadCpuUsage as typeof process.threadCpuUsage | undefined;
  if (measure === undefined) return performance.now();
  const { user, system } = measure.call(process);
  return (user + system) / 1000;
}

async function tryAll({ artifact, samples, budgetMs }: Trial): Promise<string | null> {
  const engine = await PolicyEngine.load(artifact);
  for (const { input, nowMs } of samples) {
    let best = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < ATTEMPTS && best > budgetMs; attempt++) {
      const started = spentMs();
      try {
        engine.evaluate(input, nowMs);
      } catch (error) {
        return `the policy fails on a sample request: ${(error as Error).message}`;
      }
      best = Math.min(best, spentMs() - started);
    }
    if (best > budgetMs) {
      const took = `the policy takes ${Math.round(best)} ms for a sample request of ${input.length} bytes`;
      return `${took}; at most ${budgetMs} ms are allowed`;
    }
  }
  return null;
}

parentPort?.postMessage({ problem: await tryAll(workerData as Trial) } satisfies TrialResult);
