import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { WantedTest } from './advisories.ts';

/** Something that goes wrong around the gateway, and what must happen then. */
export interface Fault {
  readonly fault: string;
  readonly must: string;
  readonly tests: readonly WantedTest[];
}

/** Reads the table of faults. @throws Error that shows the row that is not one */
export function readFaults(): Fault[] {
  const rows = parse(readFileSync(join(import.meta.dirname, 'faults.yaml'), 'utf8')) as Fault[];
  for (const row of rows) {
    const whole = typeof row.fault === 'string' && typeof row.must === 'string' && Array.isArray(row.tests);
    if (!whole || row.tests.length === 0 || row.tests.some(({ title }) => !title))
      throw new Error(`faults.yaml: not a row: ${JSON.stringify(row)}`);
  }
  return rows;
}
