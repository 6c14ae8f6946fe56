/** A primary process with two workers that record to standard output, merged into its own; for tests. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { mergeStdout, stdoutIsPipe } from '../../src/audit/merge_stdout.ts';
import { createLog } from '../../src/telemetry/log.ts';

if (!stdoutIsPipe()) throw new Error('this test needs a pipe');
const log = createLog({ level: 'info', pretty: false });
const workers = [0, 1].map((index) => {
  const config = { sinks: [{ type: 'stdout' }], on_failure: 'block' };
  const task = { config, first: index * 2000, count: 2000, bytes: 6000, closeWithin: Number(process.argv[2]) };
  const worker = spawn(process.execPath, [join(import.meta.dirname, 'record_writer.ts'), JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  mergeStdout(worker.stdout, log);
  return new Promise((resolve) => worker.on('close', resolve));
});
await Promise.all(workers);
