/**
 * Says what became of each clause (test/conformance/clauses) in a run of the tests: `node scripts/conformance.ts [--strict] RESULTS`, where
 * RESULTS is the JSON of vitest. Exits 1 when a test of a clause failed; with --strict also when none of a clause's tests ran.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSpecifications, testsOf } from '../test/conformance/clauses.ts';
import { collectTitles, type Title } from '../test/conformance/titles.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
/** Where `npm test` leaves the results of its last run. */
const LAST_RUN = fileURLToPath(new URL('../node_modules/.cache/sallyport-tests/results.json', import.meta.url));

interface Results {
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
    }[];
  }[];
}

interface Ran {
  readonly file: string;
  readonly titles: readonly string[];
  readonly status: string;
}

const strict = process.argv.includes('--strict');
const quiet = process.argv.includes('--quiet');
const file = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? LAST_RUN;
let results: Results;
try {
  results = JSON.parse(readFileSync(file, 'utf8')) as Results;
} catch {
  console.error(`there are no results in ${relative(process.cwd(), file)}: run npm test first`);
  process.exit(1);
}
const ran: Ran[] = results.testResults.flatMap(({ name, assertionResults }) =>
  assertionResults.map(({ ancestorTitles, title, status }) => ({
    file: relative(ROOT, name),
    titles: [...ancestorTitles, title],
    status,
  })),
);
const titles = collectTitles(ROOT);
const counts = { held: 0, failed: 0, notRun: 0 };
for (const specification of readSpecifications()) {
  for (const clause of specification.clauses) {
    const own = runsOf(testsOf(specification, clause, titles));
    const failed = own.filter(({ status }) => status === 'failed').length;
    const passed = own.filter(({ status }) => status === 'passed').length;
    const outcome = failed > 0 ? 'FAILED' : passed > 0 ? 'held' : 'not run';
    counts[failed > 0 ? 'failed' : passed > 0 ? 'held' : 'notRun']++;
    if (!quiet || failed > 0 || (strict && passed === 0)) {
      console.log(
        `${outcome.padEnd(8)} ${specification.specification} ${clause.clause}: ${passed} passed, ${failed} failed: ${clause.must}`,
      );
    }
  }
}
console.log(`clauses: ${counts.held} held, ${counts.failed} failed, ${counts.notRun} not run`);
process.exitCode = counts.failed > 0 || (strict && counts.notRun > 0) ? 1 : 0;

/** The tests that ran under these titles. A title that was filled in begins like the one that stands in the file. */
function runsOf(wanted: readonly Title[]): Ran[] {
  const patterns = wanted.map(({ file, text }) => ({ file, text, pattern: patternOf(text) }));
  return ran.filter((test) =>
    patterns.some(
      ({ file: where, text, pattern }) =>
        where === test.file && test.titles.some((title) => pattern.test(title) || isCutFrom(title, text)),
    ),
  );
}

/** A title that vitest took from a member of a table (`$name`) is cut after 40 characters. */
function isCutFrom(title: string, text: string): boolean {
  return title.endsWith('…') && text.startsWith(title.slice(0, -1));
}

/** `%s`, `$name` and `${…}` stand for any text. */
function patternOf(text: string): RegExp {
  const parts = text.split(/%[sdifjo#%]|\$\{[^}]*\}|\$[a-z_]\w*/i);
  return new RegExp(`^${parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^]*')}$`);
}
