/**
 * Runs the tests (arguments go to vitest) and closes with `N passed, N failed`, from vitest's own count.
 * A run in which no test was executed has failed.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
const file = join(folder, 'results.json');
/** Where `npm run conformance` finds the results of the last run. */
const KEPT = new URL('../node_modules/.cache/sallyport-tests/', import.meta.url);
const { status } = spawnSync(
  'vitest',
  ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
let passed = 0;
let failed = 0;
try {
  const results = JSON.parse(readFileSync(file, 'utf8'));
  passed = results.numPassedTests;
  failed =
    results.numFailedTests +
    results.testResults.filter((suite) => suite.status === 'failed' && suite.assertionResults.length === 0).length;
  mkdirSync(KEPT, { recursive: true });
  copyFileSync(file, new URL('results.json', KEPT));
} catch (error) {
  console.error(`the test runner left no result: ${error.message}`);
}
rmSync(folder, { recursive: true, force: true });
// A run of all tests says what became of each clause.
if (process.argv.length === 2)
  spawnSync('node', ['scripts/conformance.ts', '--quiet', '--strict'], { stdio: 'inherit' });
if (status !== 0 || passed === 0) failed = Math.max(failed, 1);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
