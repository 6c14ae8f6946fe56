import { afterAll, describe, expect, it } from 'vitest';
import { differenceOf } from '../../src/insight/difference.ts';
import { allPassed, testProject } from '../../src/insight/policy_test.ts';
import { readProject } from '../../src/insight/project.ts';
import { regoEngine } from '../support/rego.ts';
import { makePolicyFolder, type PolicyFolder, SOUND } from './policy_folder.ts';

const folders: PolicyFolder[] = [];
afterAll(async () => {
  for (const folder of folders) folder.remove();
  await regoEngine.close();
});

function folderOf(files: Readonly<Record<string, string>>): PolicyFolder {
  const folder = makePolicyFolder(files);
  folders.push(folder);
  return folder;
}

async function run(files: Readonly<Record<string, string>>, options: { filter?: string; coverage?: boolean } = {}) {
  return testProject(await readProject(folderOf(files).path), { nowMs: 0, ...options }, regoEngine);
}

const FAILING = `package x_test

import data.sallyport

test_wrong if {
	print("looked")
	sallyport.decision.allow with input as {}
}
`;

describe('sallyport policy test', { timeout: 60_000 }, () => {
  it('runs tests in both evaluators, with every decision that they ask for', async () => {
    const report = await run(SOUND, { coverage: true });
    expect(report).toMatchObject({ differences: [], interpretedOnly: [], decisions: 2, diagnostics: [] });
    expect(report.results.map(({ outcome }) => outcome)).toEqual(['pass', 'pass']);
    expect(allPassed(report)).toBe(true);
    // No test has an environment that is not listed.
    expect(report.coverage?.notCovered).toEqual([{ file: 'p/decision.rego', from: 9, to: 9 }]);
  });

  it('runs the tests of a filter only', async () => {
    const { results } = await run(SOUND, { filter: 'test_limit$' });
    expect(results.map(({ name }) => name)).toEqual(['test_limit']);
  });

  it('replays golden decisions and says which changed', async () => {
    const golden = {
      entrypoint: 'sallyport/decision',
      input: { job: { environment: 'production' }, token: { claims: { limit: 5 } } },
      cases: [
        { name: 'as it was', codes: [] },
        { name: 'too much', set: { '/token/claims/limit': 11 }, codes: [] },
        { name: 'other data', data: { '/p/environments': ['staging'] }, codes: ['environment'] },
      ],
    };
    const report = await run({ ...SOUND, 'p/golden.json': JSON.stringify(golden) });
    expect(report.broken).toEqual([{ name: 'p/golden.json: too much', expected: [], got: ['limit'] }]);
    expect(allPassed(report)).toBe(false);
  });

  it('a value that differs in WASM is a difference, another order of a set is none', () => {
    expect(differenceOf('a', { value: [1, { b: [2, 3] }] }, { value: [{ b: [3, 2] }, 1] })).toBeNull();
    expect(differenceOf('a', { value: [1] }, { value: [2] })).toEqual({ name: 'a', interpreter: '[1]', wasm: '[2]' });
    expect(differenceOf('a', {}, { value: false })).toMatchObject({ interpreter: 'undefined' });
    expect(differenceOf('a', { value: 1 }, { error: 'conflict' })).toMatchObject({ wasm: 'failed: conflict' });
    expect(differenceOf('a', { error: 'x' }, { error: 'y' })).toBeNull();
  });

  it('the command shows where a test failed, what it printed and its trace, and exits 1', async () => {
    const folder = folderOf({ ...SOUND, 'x_test.rego': FAILING });
    const { code, text } = await folder.policy('test', '--threshold', '50');
    expect(text).toContain('FAIL data.x_test.test_wrong (policies/x_test.rego:5)');
    expect(text).toContain('   7 |  sallyport.decision.allow with input as {}');
    expect(text).toContain('printed: looked');
    expect(text).toMatch(/Fail .*sallyport/);
    expect(text).toContain('2 tests passed, 1 failed');
    expect(text).toMatch(/coverage: \d+\.\d %/);
    expect(code).toBe(1);
  });

  it('the command exits 1 below the threshold, and says all of it as JSON', async () => {
    const uncovered = { 'q/q.rego': 'package q\n\na if input.x == 1\n\nb if input.y == 2\n\nc if input.z == 3\n' };
    const { code, text } = await folderOf({ ...SOUND, ...uncovered }).policy('test', '--threshold', '99', '--json');
    const report = JSON.parse(text) as { ok: boolean; coverage: { percent: number } };
    expect(report.ok).toBe(false);
    expect(report.coverage.percent).toBeLessThan(99);
    expect(code).toBe(1);
  });
});
