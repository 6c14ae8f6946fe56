import { fstatSync } from 'node:fs';
import process from 'node:process';
import type { Readable } from 'node:stream';
import type { Log } from '../telemetry/log.ts';
import { wholeLines } from './sink.ts';

/**
 * Whether standard output is a pipe. Worker processes must not share one: what does not fit into it is written in parts, and the parts of
 * several workers would mix. Give each worker a pipe of its own, and merge them (mergeStdout). A file they may share.
 */
export function stdoutIsPipe(): boolean {
  const status = fstatSync(1);
  return status.isFIFO() || status.isSocket();
}

/**
 * Passes the lines of a worker's standard output on to ours, whole lines only. A reader of ours that is slow slows the worker down; one
 * that is gone ends the worker's pipe, so that the worker learns of it.
 */
export function mergeStdout(worker: Readable, log: Log): void {
  let rest: Buffer = Buffer.alloc(0);
  const more = () => worker.resume();
  const gone = () => worker.destroy();
  process.stdout.setMaxListeners(process.stdout.getMaxListeners() + 1);
  process.stdout.on('drain', more).on('error', gone);
  worker.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole = wholeLines(bytes, bytes.length);
    rest = bytes.subarray(whole);
    if (whole > 0 && !process.stdout.write(bytes.subarray(0, whole))) worker.pause();
  });
  worker.on('error', gone);
  worker.on('close', () => {
    process.stdout.off('drain', more).off('error', gone);
    if (rest.length > 0) log.error({ bytes: rest.length }, 'a worker ended in the middle of a record');
  });
}
