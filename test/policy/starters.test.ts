import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadCatalogue } from '../../src/config/catalogue.ts';
import { checkProject } from '../../src/insight/check.ts';
import { examplesOfTests } from '../../src/insight/examples.ts';
import { readExplanations } from '../../src/insight/explained.ts';
import { formatProject } from '../../src/insight/format.ts';
import { readGolden } from '../../src/insight/golden.ts';
import { mutatePolicy } from '../../src/insight/mutate.ts';
import { allPassed, testProject } from '../../src/insight/policy_test.ts';
import { type PolicyProject, readProject } from '../../src/insight/project.ts';
import { CLOUD_SHAPES, copyStarter } from '../../src/insight/starter.ts';
import { lintPolicy } from '../../src/rego/lint.ts';
import { createOperationIndex } from '../../src/request/operation_index.ts';
import { readTarget } from '../../src/request/target.ts';
import { regoEngine } from '../support/rego.ts';

const ENTRYPOINT = 'sallyport/decision';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'sallyport-starters-'));
});
afterAll(async () => {
  rmSync(root, { recursive: true, force: true });
  await regoEngine.close();
});

describe.each(Object.keys(CLOUD_SHAPES))('what policy new --cloud %s makes', { timeout: 300_000 }, (shape) => {
  let folder: string;
  let project: PolicyProject;
  beforeAll(async () => {
    folder = join(root, shape);
    for (const catalogue of await copyStarter(folder, shape)) loadCatalogue(join(folder, catalogue));
    project = await readProject(folder);
  });

  it('is laid out, has no problem under the strict schema, and none of the traps', async () => {
    expect(await formatProject(project, false, regoEngine)).toEqual({ changed: [], diagnostics: [] });
    expect(await checkProject(project, regoEngine)).toEqual([]);
    expect((await lintPolicy([...project.modules, ...project.tests], regoEngine)).findings).toEqual([]);
  });

  it('passes its tests in both evaluators, keeps its golden decisions, and covers at least 95 % of its lines', async () => {
    const report = await testProject(project, { nowMs: 0, coverage: true }, regoEngine);
    expect(report.differences).toEqual([]);
    expect(report.broken).toEqual([]);
    expect(allPassed(report)).toBe(true);
    expect(report.coverage?.percent).toBeGreaterThanOrEqual(95);
  });

  // The plain starter is mutated where the policies that come with Sallyport are tested.
  it.skipIf(shape === 'rest')('allows nothing for want of a field, but for what is explained', async () => {
    const golden = (await readGolden(project)).filter((row) => row.entrypoint === ENTRYPOINT);
    const examples = [...golden, ...(await examplesOfTests(project, { entrypoint: ENTRYPOINT }, regoEngine))];
    const explained = await readExplanations(join(folder, 'explained_flips.yaml'));
    const report = await mutatePolicy(project, { entrypoint: ENTRYPOINT, examples, explained }, regoEngine);
    if ('findings' in report) throw new Error(JSON.stringify(report.findings));
    expect(report.flips.filter(({ because }) => because === undefined)).toEqual([]);
    expect(report.unused).toEqual([]);
    expect(Math.min(report.allowed, report.denied)).toBeGreaterThan(5);
  });
});

describe('a copy', () => {
  it('is not made over a folder that is there, nor for a shape that nobody knows', async () => {
    await expect(copyStarter(root, 'rest')).rejects.toThrow(/is there already/);
    await expect(copyStarter(join(root, 'x'), 'constructor')).rejects.toThrow(/there are: rest, kubernetes, aws/);
  });
});

describe('the catalogue for object stores', () => {
  const catalogue = new URL('../../catalogs/aws_s3.yaml', import.meta.url).pathname;
  const index = createOperationIndex(loadCatalogue(catalogue));
  const find = (request: string, rawHeaders: readonly string[] = []) => {
    const [method = '', path = ''] = request.split(' ');
    const read = readTarget(path);
    if (!read.ok) throw new Error(read.denial.reason);
    const { segments, queryParameters } = read.value.target;
    return index.find(method, segments, { queryParameters, rawHeaders })?.name ?? null;
  };

  it.each([
    ['PUT /b', 'buckets.create'],
    ['PUT /b?policy', 'buckets.policy.put'],
    ['GET /b?list-type=2&prefix=a/', 'objects.list'],
    ['GET /b/a/b/c', 'objects.get'],
    ['HEAD /b/a', 'objects.get'],
    ['PUT /b/a?x-id=PutObject', 'objects.put'],
    ['POST /b/a?uploads', 'uploads.begin'],
    ['PUT /b/a?partNumber=1&uploadId=x', 'uploads.part'],
    ['POST /b/a?uploadId=x', 'uploads.complete'],
    ['DELETE /b/a?uploadId=x', 'uploads.abort'],
    ['DELETE /b/a', 'objects.delete'],
  ])('%s is %s', (request, name) => {
    expect(find(request)).toBe(name);
  });

  it.each([
    ['PUT /b?acl'],
    ['PUT /b/a?acl'],
    ['PUT /b/a?tagging'],
    ['DELETE /b?policy'],
    ['POST /b?delete'],
    ['GET /b/a?torrent'],
    ['GET /b/a?X-Amz-Signature=1&X-Amz-Credential=x'],
    ['PUT /b/a', 'x-amz-copy-source', '/private/key'],
    ['PUT /b/a', 'X-Amz-Acl', 'public-read'],
    ['PUT /b', 'x_amz_acl', 'public-read'],
    ['PUT /b/a', 'x-amz-grant-read', 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'],
    ['DELETE /b/a', 'x-amz-bypass-governance-retention', 'true'],
  ])('%s %s is no operation that it knows', (request, ...rawHeaders) => {
    expect(find(request, rawHeaders)).toBeNull();
  });
});
