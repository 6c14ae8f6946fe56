import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A test or a group of tests by its title, as it stands in its file; `%s` and the like are not filled in. */
export interface Title {
  /** Path from the root of the repository. */
  readonly file: string;
  readonly text: string;
}

/** The title of `it`, `describe`, or of a function that makes them: a text that is the first of several arguments. */
const TITLE = /(\w*)\(\s*(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`)\s*,/g;
const GROUPS: ReadonlySet<string> = new Set(['it', 'test', 'describe', 'concurrent', '']);
/** Titles that name a specification may be arguments of any function; others only of those that make tests. */
const SPECIFICATION = /^(?:RFC \d|FAPI 2|RAR remediation|draft-|cases)/;
const CONSTANT = /const ([A-Z_]+) = '([^']*)'/g;

/** Collects the titles of all tests below a folder, without running any. */
export function collectTitles(root: string, folder = join(root, 'test')): Title[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) return collectTitles(root, path);
      return name.endsWith('.test.ts') ? titlesIn(relative(root, path), readFileSync(path, 'utf8')) : [];
    });
}

function titlesIn(file: string, source: string): Title[] {
  const constants = new Map([...source.matchAll(CONSTANT)].map(([, name = '', value = '']) => [name, value]));
  return [...source.matchAll(TITLE)].flatMap(([, caller = '', single, double, template]) => {
    const text = (single ?? double ?? template ?? '').replace(
      /\$\{([A-Z_]+)\}/g,
      (whole, name: string) => constants.get(name) ?? whole,
    );
    return GROUPS.has(caller) || SPECIFICATION.test(text) ? [{ file, text: text.replaceAll(/\\(['"`])/g, '$1') }] : [];
  });
}
