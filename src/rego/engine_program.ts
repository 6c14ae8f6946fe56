/**
 * The process that runs OPA for another one. OPA itself runs in a thread, so that this one notices at any time that the process which
 * asked is gone, also in the middle of a call that never ends.
 */
import { Worker } from 'node:worker_threads';
import type { EngineCall, EngineMessage, EngineWorkerData } from './engine_protocol.ts';

const WORKER_FILE = new URL(
  import.meta.url.endsWith('.ts') ? './engine_worker.ts' : './engine_worker.js',
  import.meta.url,
);

const [, , engineFolder = ''] = process.argv;
const worker = new Worker(WORKER_FILE, { workerData: { engineFolder } satisfies EngineWorkerData });

function send(message: EngineMessage): void {
  // It fails when the other process is gone; then "disconnect" ends this one.
  process.send?.(message, () => undefined);
}

worker.on('message', send);
worker.on('error', (error) => send({ kind: 'fatal', code: 'engine_died', message: String(error) }));
process.on('message', (call: EngineCall) => worker.postMessage(call));
process.on('disconnect', () => process.exit());
// A terminal tells its whole group of processes, and a service manager may; whether to stop or to read anew is not for this one to decide.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
