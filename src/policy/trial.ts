import { once } from 'node:events';
import { getCompileCacheDir } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { PolicyArtifact } from './artifact.ts';

/** A policy and what it is tried with. */
export interface Trial {
  readonly artifact: PolicyArtifact;
  /** Input documents as JSON text, and the time that policies are told, in milliseconds since the Unix epoch. */
  readonly samples: readonly { readonly input: string; readonly nowMs: number }[];
  /** Milliseconds that judging one sample may take. */
  readonly budgetMs: number;
}

/** What the thread says. */
export interface TrialResult {
  readonly problem: string | null;
}

/** Milliseconds that the whole trial may take, the start of its thread included. */
const TRIAL_TIMEOUT_MS = 20_000;

/** The worker beside this file: TypeScript in development, JavaScript once built. */
const WORKER_FILE = new URL(
  import.meta.url.endsWith('.ts') ? './trial_worker.ts' : './trial_worker.js',
  import.meta.url,
);

/**
 * Lets a policy judge its samples in a thread of its own: an evaluation cannot be interrupted, and requests do not wait for a policy that
 * may never be used.
 * @throws Error that says why the policy cannot be used: it fails, or takes too long
 */
export async function tryPolicy(trial: Trial, timeoutMs: number = TRIAL_TIMEOUT_MS): Promise<void> {
  if (trial.samples.length === 0) return;
  const worker = new Worker(WORKER_FILE, { workerData: trial, execArgv: [], env: environment() });
  try {
    const { problem } = await resultOf(worker, timeoutMs);
    if (problem !== null) throw new Error(problem);
  } finally {
    await worker.terminate();
  }
}

/** Nothing of the gateway's own environment; what Node.js compiled before is not compiled again. */
function environment(): NodeJS.ProcessEnv {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder };
}

async function resultOf(worker: Worker, timeoutMs: number): Promise<TrialResult> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const [result] = (await once(worker, 'message', { signal: abort.signal })) as [TrialResult];
    return result;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    throw new Error(`the policy did not judge its sample requests within ${timeoutMs} ms`);
  } finally {
    clearTimeout(timer);
  }
}
