/** A flood, from a thread of its own, so that what it sends delays nothing of what is measured. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { sendAll } from '../load.ts';

/** How a flood is sent. */
export interface FloodOptions {
  readonly port: number;
  readonly connections: number;
  /** Requests per second; absent: each connection sends when it has its answer. */
  readonly rate?: number | undefined;
}

/** What came of a flood. */
export interface FloodResult {
  readonly seconds: number;
  readonly statuses: ReadonlyMap<number, number>;
}

/** A flood that has begun. */
export interface Flooding {
  readonly result: Promise<FloodResult>;
}

/** Milliseconds after which a flood that has begun is one. */
const SETTLED_MS = 200;

/** Begins to send a flood; when this resolves it is under way. */
export async function beginFlood(requests: readonly Buffer[], options: FloodOptions): Promise<Flooding> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { requests, options } });
  await once(worker, 'message');
  const result = once(worker, 'message').then(async ([told]) => {
    await worker.terminate();
    return told as FloodResult;
  });
  return { result };
}

if (!isMainThread && workerData?.options !== undefined) {
  const { requests, options } = workerData as { requests: readonly Uint8Array[]; options: FloodOptions };
  const bytes = requests.map(({ buffer, byteOffset, length }) => Buffer.from(buffer, byteOffset, length));
  const { rate, ...rest } = options;
  setTimeout(() => parentPort?.postMessage('under way'), SETTLED_MS);
  const { seconds, statuses } = await sendAll(bytes, rate === undefined ? rest : { ...rest, rate });
  parentPort?.postMessage({ seconds, statuses });
}
