import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examplesOfTests } from '../../src/insight/examples.ts';
import { type Explanation, readExplanations } from '../../src/insight/explained.ts';
import { readGolden } from '../../src/insight/golden.ts';
import { mutatePolicy } from '../../src/insight/mutate.ts';
import { allPassed, testProject } from '../../src/insight/policy_test.ts';
import { type PolicyProject, readProject } from '../../src/insight/project.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { regoEngine } from '../support/rego.ts';

const FOLDER = resolve(import.meta.dirname, '../../policies');
const ENTRYPOINTS = [
  'sallyport/decision',
  'examples/per_job_table/decision',
  'examples/break_glass/decision',
  'examples/change_ticket/decision',
  'token_issuance/decision',
];

let project: PolicyProject;
let explained: readonly Explanation[];
beforeAll(async () => {
  project = await readProject(FOLDER);
  explained = await readExplanations(resolve(FOLDER, 'explained_flips.yaml'));
});
afterAll(() => regoEngine.close());

describe('the policies that come with Sallyport', { timeout: 300_000 }, () => {
  it('pass their tests in both evaluators, keep their golden decisions, and cover at least 95 % of their lines', async () => {
    const report = await testProject(project, { nowMs: 0, coverage: true }, regoEngine);
    expect(report.broken).toEqual([]);
    expect(report.differences).toEqual([]);
    expect(allPassed(report)).toBe(true);
    expect(report.decisions).toBeGreaterThan(150);
    expect(report.coverage?.percent).toBeGreaterThanOrEqual(95);
  });

  it('the policy of a gateway carries nothing of the examples', async () => {
    const starter = { ...project, modules: project.modules.filter(({ path }) => !path.startsWith('examples/')) };
    const sizes = [project, starter].map(async ({ modules, data }) => {
      const built = await buildPolicy({ modules, data, entrypoints: ['sallyport/decision'] }, regoEngine);
      return built.ok ? [built.entrypoints, built.wasm.length] : built.diagnostics;
    });
    const [whole, alone] = await Promise.all(sizes);
    expect(whole).toEqual(alone);
  });

  it.each(ENTRYPOINTS)('%s allows nothing for want of a field, but for what is explained', async (entrypoint) => {
    const golden = (await readGolden(project)).filter((row) => row.entrypoint === entrypoint);
    const examples = [...golden, ...(await examplesOfTests(project, { entrypoint }, regoEngine))];
    const about = explained.filter((flip) => flip.entrypoint === entrypoint);
    const report = await mutatePolicy(project, { entrypoint, examples, explained: about }, regoEngine);
    if ('findings' in report) throw new Error(JSON.stringify(report.findings));
    expect(report.flips.filter(({ because }) => because === undefined)).toEqual([]);
    expect(report.unused).toEqual([]);
    expect(Math.min(report.allowed, report.denied)).toBeGreaterThan(0);
  });
});
