import { afterAll, describe, expect, it } from 'vitest';
import { examplesOfTests } from '../../src/insight/examples.ts';
import { type Flip, mutatePolicy } from '../../src/insight/mutate.ts';
import { readProject } from '../../src/insight/project.ts';
import { regoEngine } from '../support/rego.ts';
import { makePolicyFolder, type PolicyFolder, SOUND } from './policy_folder.ts';

const ENTRYPOINT = 'sallyport/decision';
const folders: PolicyFolder[] = [];
afterAll(async () => {
  for (const folder of folders) folder.remove();
  await regoEngine.close();
});

/** The sound policy with one of its conditions, or its tests, written in another way. */
function folderWith(changes: { readonly from?: string; readonly to?: string; readonly tests?: string }): PolicyFolder {
  const { from = '', to = '', tests = SOUND['p/decision_test.rego'] } = changes;
  const text = SOUND['p/decision.rego'].replace(from, to);
  if (from !== '') expect(text).not.toBe(SOUND['p/decision.rego']);
  const folder = makePolicyFolder({ ...SOUND, 'p/decision.rego': text, 'p/decision_test.rego': tests });
  folders.push(folder);
  return folder;
}

async function flipsOf(folder: PolicyFolder): Promise<readonly Flip[]> {
  const project = await readProject(folder.path);
  const examples = await examplesOfTests(project, { entrypoint: ENTRYPOINT }, regoEngine);
  const report = await mutatePolicy(project, { entrypoint: ENTRYPOINT, examples, explained: [] }, regoEngine);
  if ('findings' in report) throw new Error(JSON.stringify(report.findings));
  return report.flips;
}

const TRAP_1 = {
  from: 'if not environment_listed',
  to: 'if not input.job.environment in data.p.environments',
};
const TRAP_2 = {
  from: 'denials contains {"code": "environment"} if not environment_listed',
  to: 'denials contains {"code": "environment", "message": input.job.environment} if not environment_listed',
};
const TRAP_3 = {
  from: 'limit_kept if {\n\tis_number(input.token.claims.limit)\n\tinput.token.claims.limit <= 10\n}',
  to: 'limit_kept if object.get(input, ["token", "claims", "limit"], 0) <= 10',
};
/** Says only what is allowed: the denials must be found by themselves. */
const ONLY_ALLOWED = `package sallyport_test

import data.sallyport

test_allowed if {
	call := {"job": {"environment": "production"}, "token": {"claims": {"limit": 5}}}
	sallyport.decision.allow with input as call
}
`;

describe('sallyport policy mutate', { timeout: 60_000 }, () => {
  it('finds nothing in a sound policy', async () => {
    expect(await flipsOf(folderWith({}))).toEqual([]);
  });

  it.each([
    ['1: a missing field under not', TRAP_1, 'removed', '/input/job/environment', 9],
    ['2: a denial whose head names a missing field', TRAP_2, 'removed', '/input/job/environment', 9],
    ['3: a default that passes the limit', TRAP_3, 'removed', '/input/token/claims/limit', 11],
  ] as const)('trap %s, from an allowed example alone, and points at the rule', async (_, trap, change, path, row) => {
    const flips = await flipsOf(folderWith({ ...trap, tests: ONLY_ALLOWED }));
    const flip = flips.find((found) => found.path === path && found.change === change);
    expect(flip?.example).toContain(
      `sallyport_test.test_allowed question 1, with another ${path.replace('/input', '')}`,
    );
    expect(flip?.rules).toContainEqual(expect.objectContaining({ path: 'data.sallyport.denials', row, kind: 'lost' }));
  });

  it('trap 3: null passes as a missing limit does where null is less than every number', async () => {
    const trap = { from: TRAP_3.from, to: 'limit_kept if input.token.claims.limit <= 10' };
    expect(
      (await flipsOf(folderWith({ ...trap, tests: ONLY_ALLOWED }))).map(({ path, change }) => [path, change]),
    ).toEqual([['/input/token/claims/limit', 'nulled']]);
  });

  it('finds what missing data opens', async () => {
    const trap = {
      from: 'if not environment_listed',
      to: 'if {\n\tsome listed in data.p.environments\n\tlisted != input.job.environment\n}',
    };
    const paths = (await flipsOf(folderWith({ ...trap, tests: ONLY_ALLOWED }))).map(({ path }) => path);
    expect(paths).toContain('/data/p/environments');
  });

  it('the command shows the flip and exits 1; explained, it exits 0 and says what is not needed', async () => {
    const folder = folderWith(TRAP_3);
    const { code, text } = await folder.policy('mutate');
    expect(text).toContain('FLIP /input/token/claims/limit removed: a denial becomes an allow');
    expect(text).toContain('example: sallyport_test.test_limit question 1');
    expect(text).toContain('policies/p/decision.rego:11:1: data.sallyport.denials does not hold any more');
    expect(code).toBe(1);
    const flips = ['/input/token', '/input/token/claims', '/input/token/claims/limit', '/input/job/none'].flatMap(
      (path) => ['removed', 'nulled'].map((change) => ({ path, change, because: 'no limit was asked for' })),
    );
    folder.write({ 'explained_flips.yaml': JSON.stringify({ flips }) });
    const again = await folder.policy('mutate');
    expect(again.text).toContain('nothing here needs the explanation of /input/job/none removed');
    expect(again.text).toContain('0 unexplained flips, 6 explained');
    expect(again.code).toBe(0);
  });

  it('an explanation that does not say why is an error, and so is a policy without examples', async () => {
    const folder = folderWith({});
    folder.write({ 'explained_flips.yaml': 'flips: [{ path: /input/job, change: removed, because: "" }]' });
    const unexplained = await folder.policy('mutate');
    expect(unexplained).toMatchObject({ code: 1, errors: expect.stringContaining('flips[0]: because must say why') });
    const bare = makePolicyFolder({ 'p/decision.rego': SOUND['p/decision.rego'] });
    folders.push(bare);
    expect(await bare.policy('mutate')).toMatchObject({ code: 1, text: expect.stringContaining('no example') });
  });
});
