import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Title } from './titles.ts';

/** A defect that other systems had. */
export interface Advisory {
  readonly defect: string;
  /** Systems with the identifiers of public advisories, issues or sources. */
  readonly seen: readonly string[];
  readonly tests: readonly WantedTest[];
}

/** A test by its file and words that its title contains. */
export interface WantedTest {
  readonly file: string;
  readonly title: string;
}

/** Reads the table of defects. @throws Error that shows the row that is not one */
export function readAdvisories(): Advisory[] {
  const rows = parse(readFileSync(join(import.meta.dirname, 'advisories.yaml'), 'utf8')) as Advisory[];
  for (const row of rows) {
    const whole = typeof row.defect === 'string' && Array.isArray(row.seen) && Array.isArray(row.tests);
    if (!whole || row.tests.length === 0 || row.tests.some(({ title }) => !title))
      throw new Error(`advisories.yaml: not a row: ${JSON.stringify(row)}`);
  }
  return rows;
}

/** The tests that a defect names. */
export function testsOfDefect({ file, title }: WantedTest, titles: readonly Title[]): Title[] {
  return titles.filter((each) => each.file === file && each.text.includes(title));
}
