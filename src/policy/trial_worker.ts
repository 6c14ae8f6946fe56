/** The thread that tries a policy: judges every sample and says what was wrong, or nothing. It is ended from outside when that takes too long. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyEngine } from './engine.ts';
import type { Trial, TrialResult } from './trial.ts';

/** The machine may be busy with something else, so the best of some attempts counts. */
const ATTEMPTS = 3;

async function tryAll({ artifact, samples, budgetMs }: Trial): Promise<string | null> {
  const engine = await PolicyEngine.load(artifact);
  for (const { input, nowMs } of samples) {
    let best = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < ATTEMPTS && best > budgetMs; attempt++) {
      const started = performance.now();
      try {
        engine.evaluate(input, nowMs);
      } catch (error) {
        return `the policy fails on a sample request: ${(error as Error).message}`;
      }
      best = Math.min(best, performance.now() - started);
    }
    if (best > budgetMs) {
      const took = `the policy takes ${Math.round(best)} ms for a sample request of ${input.length} bytes`;
      return `${took}; at most ${budgetMs} ms are allowed`;
    }
  }
  return null;
}

parentPort?.postMessage({ problem: await tryAll(workerData as Trial) } satisfies TrialResult);
