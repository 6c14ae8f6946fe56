import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach } from 'vitest';
import { type Auditor, createAuditor } from '../../src/audit/auditor.ts';
import type { AuditConfig } from '../../src/config/schema.ts';
import type { Evidence } from '../../src/kernel/context.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { NOW, unjudged } from './evidence.ts';

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

/** The evidence of a request that can be told from others in a file. */
export function numbered(number: number, bytes = 1000): Evidence {
  return unjudged({
    id: `request-${number}`,
    status: 200,
    policyInput: JSON.stringify({ pad: 'x'.repeat(Math.max(bytes - 600, 0)) }),
  });
}

/** The numbers of the requests in a file, in order; every line must be a whole record. */
export function numbersIn(path: string): number[] {
  return numbersOf(readFileSync(path, 'utf8'));
}

/** The numbers of the requests in a text, in order; every line must be a whole record. */
export function numbersOf(text: string): number[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error(`the last line is torn: ${text.slice(-80)}`);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number((JSON.parse(line) as { decision_id: string }).decision_id.replace('request-', '')));
}

/** The numbers from `first`, `count` of them. */
export function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

/** Waits until something holds; the test's own time limit ends it otherwise. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(5);
}
