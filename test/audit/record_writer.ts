/**
 * A process that records requests, for tests that need several, or one with a standard output of its own. Reports on standard error, one
 * JSON object a line: `{"report": …}`; the log is there too.
 */
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { createAuditor } from '../../src/audit/auditor.ts';
import type { AuditConfig } from '../../src/config/schema.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { numbered } from './numbered.ts';

/** What the process is to do. */
export interface Task {
  readonly config: AuditConfig;
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
  /** Milliseconds to wait after the last record before closing, for what is to happen meanwhile. */
  readonly linger?: number;
  readonly closeWithin?: number;
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
const report = (value: unknown) => process.stderr.write(`${JSON.stringify({ report: value })}\n`);
const log = createLog({ level: 'info', pretty: false });
const auditor = createAuditor({ config: task.config, labels: { app: 'test' }, clock: Date.now, log });

report('started');
let wasAvailable = true;
for (let number = task.first; number < task.first + task.count; number++) {
  auditor.record(numbered(number, task.bytes));
  if (number % 20 === 0) await delay(1);
  if (wasAvailable && !auditor.available()) report('unavailable');
  wasAvailable = auditor.available();
}
for (let waited = 0; waited < (task.linger ?? 0); waited += 10) {
  await delay(10);
  if (wasAvailable && !auditor.available()) report('unavailable');
  wasAvailable = auditor.available();
}
report({ lost: await auditor.close(task.closeWithin), stats: auditor.stats() });
process.exit(0);
