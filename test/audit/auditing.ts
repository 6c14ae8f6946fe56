import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach } from 'vitest';
import { type Auditor, createAuditor } from '../../src/audit/auditor.ts';
import type { AuditConfig } from '../../src/config/schema.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { NOW } from './evidence.ts';
import { numbered, numbersOf } from './numbered.ts';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Has something undone after the test, the last thing first. */
export function afterwards(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** A folder that is gone after the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-records-'));
  afterwards(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** An auditor as the gateway makes it, and what it logged. */
export interface Auditing {
  readonly auditor: Auditor;
  readonly logged: Record<string, unknown>[];
}

/** Makes an auditor; `sinks` are paths of files. */
export function auditing(config: Omit<AuditConfig, 'sinks'> & { readonly sinks: string[] }): Auditing {
  const logged: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'info',
    destination: { write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const sinks = config.sinks.map((path) => ({ type: 'file' as const, path }));
  const auditor = createAuditor({ config: { ...config, sinks }, labels: { app: 'test' }, clock: () => NOW, log });
  afterwards(() => auditor.close(50));
  return { auditor, logged };
}

/** Records requests numbered from `first`; each record is about `bytes` long. */
export function recordMany(auditor: Auditor, first: number, count: number, bytes = 1000): void {
  for (let number = first; number < first + count; number++) auditor.record(numbered(number, bytes));
}

/** The numbers of the requests in a file, in order; every line must be a whole record. */
export function numbersIn(path: string): number[] {
  return numbersOf(readFileSync(path, 'utf8'));
}

/** Waits until something holds; the test's own time limit ends it otherwise. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(5);
}
