import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { policyInputSchema } from '../../src/policy/input_schema.ts';
import { makePolicyFolder, SOUND } from './policy_folder.ts';

const folder = makePolicyFolder(SOUND);
afterAll(() => folder.remove());

const ROOT = resolve(import.meta.dirname, '../..');
const beside = (name: string, text: string) => {
  writeFileSync(join(dirname(folder.path), name), text);
  return name;
};
const INPUT = { job: { environment: 'staging' }, token: { claims: { limit: 5 } } };

describe('sallyport policy eval and explain', { timeout: 60_000 }, () => {
  it('an input: decision, reasons, and the rules that hold', async () => {
    const { code, text } = await folder.policy('eval', '--input', beside('input.json', JSON.stringify(INPUT)));
    expect(text).toContain('refused: policy.denied\n  environment\n');
    expect(text).toMatch(/rules that hold:(\n {2}.*)*policies\/p\/decision\.rego:9:1: data\.sallyport\.denials/);
    expect(text).not.toContain('rules that do not hold');
    expect(code).toBe(0);
  });

  it('explain says where the others end, with a caret', async () => {
    const { text } = await folder.policy('explain', '--input', beside('input.json', JSON.stringify(INPUT)));
    const failed = text.slice(text.indexOf('rules that do not hold'));
    expect(failed).toContain(
      'policies/p/decision.rego:13:1: data.sallyport.environment_listed\n  13 | environment_listed if',
    );
    expect(failed).toMatch(/\n {5}\| +\^{10,}\n/);
  });

  it('a recorded decision: what was answered then and what is answered now', async () => {
    const record = (id: string, result: unknown) =>
      JSON.stringify({ decision_id: id, input: INPUT, result, bundles: { policy: { revision: 'r1' } } });
    const same = { allow: false, reasons: [{ code: 'environment' }] };
    const file = beside(
      'records.jsonl',
      `${record('one', same)}\n${record('two', { allow: true })}\n{"decision_id":"three"}\n`,
    );
    const [one, two, three, none] = await Promise.all(
      ['one', 'two', 'three', 'four'].map((id) => folder.policy('eval', '--record', file, '--decision', id)),
    );
    expect(one?.text).toContain('recorded with revision r1: the same answer');
    expect(two?.text).toContain('recorded with revision r1: another answer:\n  {"allow":true}');
    expect(three).toMatchObject({ code: 1, errors: expect.stringContaining('no policy was asked') });
    expect(none).toMatchObject({ code: 1, errors: expect.stringContaining('has no decision four') });
  });

  it('a described request becomes the document that the gateway would make, by the starter policy', async () => {
    const request = [
      '--method',
      'POST',
      '--path',
      '/v1/projects/p1/builds?dry_run=true',
      '--time',
      '2026-11-22T18:00:00Z',
    ];
    const rights = ['--scope', 'builds:write', '--resource', 'https://cloud.example.com/v1'];
    const detail = ['--detail', '{"type":"cloud_api","actions":["builds.create"],"identifier":"projects/p1"}'];
    const catalogue = ['--catalogue', join(ROOT, 'catalogs/demo_cloud.yaml')];
    const all = [join(ROOT, 'policies'), ...request, ...rights, ...detail, ...catalogue, '--json'];
    const { code, text } = await folder.policy('eval', ...all);
    const answer = JSON.parse(text) as { allow: boolean; input: { request: { time: number; query: unknown } } };
    expect(answer.allow).toBe(true);
    expect(policyInputSchema.parse(answer.input).operation).toMatchObject({
      name: 'builds.create',
      resource: 'projects/p1/builds',
    });
    expect(answer.input.request).toMatchObject({ time: 1_795_370_400, query: { dry_run: ['true'] } });
    expect(code).toBe(0);
  });

  it('a target that the gateway refuses asks no policy; nothing to judge and wrong JSON are said', async () => {
    const catalogue = ['--catalogue', join(ROOT, 'catalogs/demo_cloud.yaml')];
    const [target, nothing, json] = await Promise.all([
      folder.policy('eval', '--method', 'GET', '--path', '/v1/../admin', ...catalogue),
      folder.policy('eval'),
      folder.policy('eval', '--detail', '{'),
    ]);
    expect(target).toMatchObject({ code: 1, errors: expect.stringContaining('request.target_ambiguous') });
    expect(nothing).toMatchObject({ code: 2, errors: expect.stringContaining('nothing to judge') });
    expect(json.code).toBe(2);
  });
});

describe('a described job', { timeout: 60_000 }, () => {
  const JOB = {
    provider: 'github',
    repository: 'acme/infra',
    repository_id: '456789',
    workflow: 'deploy.yml',
    environment: 'production',
    ref_protected: 'true',
  };
  const judged = async (job: Readonly<Record<string, string>>) => {
    const catalogue = ['--catalogue', join(ROOT, 'catalogs/demo_cloud.yaml'), '--scope', 'builds:write'];
    const detail = ['--detail', '{"type":"cloud_api","actions":["builds.create"],"identifier":"projects/p1"}'];
    const members = Object.entries(job).flatMap(([name, value]) => ['--job', `${name}=${value}`]);
    const request = ['--method', 'POST', '--path', '/v1/projects/p1/builds', ...catalogue, ...detail, ...members];
    return folder.policy('eval', join(ROOT, 'policies'), ...request, '--json');
  };

  it('that the table of the starter knows is allowed; its id is a text, as the gateway reads it', async () => {
    const answer = JSON.parse((await judged(JOB)).text) as { allow: boolean; input: { job: unknown } };
    expect(answer.input.job).toMatchObject({ repository_id: '456789', ref_protected: true });
    expect(answer.allow).toBe(true);
    const other = JSON.parse((await judged({ ...JOB, repository_id: '456790' })).text) as { allow: boolean };
    expect(other.allow).toBe(false);
  });
});

describe('sallyport policy new', { timeout: 60_000 }, () => {
  it('copies starter, tests and catalogue, which pass; never over something', async () => {
    const made = await folder.policy('new', 'mine');
    expect(made).toMatchObject({ code: 0, text: expect.stringContaining('made mine') });
    const mine = join(dirname(folder.path), 'mine');
    expect(readFileSync(join(mine, 'catalog.yaml'), 'utf8')).toContain('service: projects');
    expect(await folder.policy('check', 'mine')).toMatchObject({ code: 0 });
    const [again, unknown] = await Promise.all([
      folder.policy('new', 'mine'),
      folder.policy('new', 'x', '--cloud', 'moon'),
    ]);
    expect(again).toMatchObject({ code: 1, errors: expect.stringContaining('mine is there already') });
    expect(unknown).toMatchObject({ code: 2, errors: expect.stringMatching(/rest .*\n.*kubernetes .*\n.*aws /) });
  });
});
