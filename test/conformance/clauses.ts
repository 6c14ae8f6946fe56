import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Title } from './titles.ts';

/** A specification and what it obliges somebody to. */
export interface Specification {
  /** As tests call it, such as `RFC 9449`. */
  readonly specification: string;
  readonly title: string;
  readonly clauses: readonly Clause[];
}

/** One obligation, in our own words. */
export interface Clause {
  /** Such as `§4.3 check 9`. */
  readonly clause: string;
  readonly party: string;
  readonly must: string;
  /** Words that stand in the titles of its tests, where one clause obliges to several things. */
  readonly about: string | null;
}

const FOLDER = join(import.meta.dirname, 'clauses');

/** Reads the table of clauses. @throws Error that names the file and the row that is not one */
export function readSpecifications(): Specification[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => {
      const { specification, title, clauses } = parse(readFileSync(join(FOLDER, name), 'utf8')) as {
        specification: string;
        title: string;
        clauses: unknown[];
      };
      return { specification, title, clauses: clauses.map((row) => clauseOf(name, row)) };
    })
    .sort((left, right) => left.specification.localeCompare(right.specification, 'en', { numeric: true }));
}

function clauseOf(file: string, row: unknown): Clause {
  if (!Array.isArray(row) || row.length < 3 || row.length > 4 || !row.every((cell) => typeof cell === 'string')) {
    throw new Error(
      `${file}: expected [clause, party, what must hold, words in the titles of its tests or nothing], not ${JSON.stringify(row)}`,
    );
  }
  const [clause, party, must, about] = row as [string, string, string, string?];
  return { clause, party, must, about: about ?? null };
}

/** The titles of the tests of a clause: those that start with it, or name it among the clauses that they start with. */
export function testsOf(
  { specification }: Specification,
  { clause, about }: Clause,
  titles: readonly Title[],
): Title[] {
  const words = about?.toLowerCase();
  return titles.filter(
    ({ text }) =>
      clausesOf(text, specification).some((named) => named === clause || named.startsWith(`${clause} `)) &&
      (words === undefined || text.toLowerCase().includes(words)),
  );
}

/** The clauses of one specification that a title starts with: `RFC 9449 §4.2, §4.3 checks 2 to 4: …` names four. */
export function clausesOf(title: string, specification: string): string[] {
  const [head = ''] = title.split(':', 1);
  let current = '';
  return head.split(', ').flatMap((part) => {
    const named = /^(RFC \d+|FAPI 2\.0|RAR remediation|draft-[\w-]+) ?/.exec(part);
    if (named !== null) current = named[1] ?? '';
    return current === specification ? eachCheck(part.slice(named?.[0].length ?? 0)) : [];
  });
}

function eachCheck(clause: string): string[] {
  const [, section, first, word, last] = /^(\S+) checks (\d+) (and|to) (\d+)$/.exec(clause) ?? [];
  if (section === undefined) return [clause];
  const [from, to] = [Number(first), Number(last)];
  const numbers = word === 'and' ? [from, to] : Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return numbers.map((number) => `${section} check ${number}`);
}
