import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { checkEnvironment, workflowOf } from '../../src/broker/workflows.ts';
import { loadWorkflows, parseBrokerConfig } from '../../src/config/load_broker.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { workflowsSchema } from '../../src/config/workflows_schema.ts';
import { mapWorkloadClaims } from '../../src/oauth/workload_claims.ts';
import type { WorkloadIdentity } from '../../src/oauth/workload_identity.ts';
import { CI_ISSUER, RESOURCE } from './fixture.ts';

let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-workflows-'));
  file = join(folder, 'workflows.yaml');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const broker = parseBrokerConfig({
  version: 1,
  authorization_server: { issuer: 'https://as.example.com', registration: {} },
  workload_issuers: [
    { preset: 'github', audience: 'x' },
    { preset: 'gitlab', audience: 'x' },
  ],
  workflows_file: 'workflows.yaml',
  state_folder: 'state',
});

/** What reading a text leads to; anything but a ConfigError that names the file fails the test. */
function read(text: string): 'read' | 'refused' {
  writeFileSync(file, text);
  try {
    for (const { match } of loadWorkflows(file, broker)) {
      expect([CI_ISSUER, 'https://gitlab.com']).toContain(match.issuer);
    }
    return 'read';
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    for (const problem of (error as ConfigError).problems) expect(problem.file).toBe(file);
    return 'refused';
  }
}

const deploy = {
  name: 'deploy',
  match: { issuer: CI_ISSUER, repository_id: '1' },
  resources: [RESOURCE],
  scopes: ['x'],
};
const whole = (workflow: unknown) => stringify({ version: 1, workflows: [workflow] });

describe('the file of workflows', () => {
  it('property: no text is anything but read or refused with its place', () => {
    const yaml = fc.string({ unit: fc.constantFrom(...'abn:- \n\t{}[]"\'&*!|>#?@%,1version:workflows') });
    fc.assert(
      fc.property(fc.oneof(yaml, fc.string()), (text) => void read(text)),
      { numRuns: 300 },
    );
  });

  it('property: no value in place of a member is anything but read or refused', () => {
    const member = fc.constantFrom(
      'name',
      'match',
      'resources',
      'scopes',
      'authorization_details',
      'environments',
      'job_lifetime_seconds',
      'job_claims',
      'client',
    );
    fc.assert(
      fc.property(member, fc.jsonValue(), (name, value) => void read(whole({ ...deploy, [name]: value }))),
      { numRuns: 300 },
    );
  });

  it('property: no value in place of a member of match widens it: what is read still says whose jobs', () => {
    const member = fc.constantFrom(
      'subject',
      'repository_id',
      'repository',
      'workflow',
      'ref',
      'event',
      'claims',
      'ref_protected',
    );
    fc.assert(
      fc.property(member, fc.jsonValue(), (name, value) => {
        const match = { issuer: CI_ISSUER, [name]: value };
        if (read(whole({ ...deploy, match })) === 'refused') return;
        expect(['subject', 'repository_id', 'repository', 'claims']).toContain(name);
        expect(Object.keys(value as object).length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ['the good one', deploy, 'read'],
    ['an unknown key', { ...deploy, scope: 'x' }, 'refused'],
    ['a key of the prototype', { ...deploy, constructor: {} }, 'refused'],
    ['an unknown key of match', { ...deploy, match: { ...deploy.match, repo: '1' } }, 'refused'],
    ['neither scopes nor details', { ...deploy, scopes: [] }, 'refused'],
    ['a scope with a space', { ...deploy, scopes: ['a b'] }, 'refused'],
    ['a name with a slash', { ...deploy, name: '../x' }, 'refused'],
    ['a name with a line break', { ...deploy, name: 'x\ny' }, 'refused'],
    ['a resource that is no URI', { ...deploy, resources: ['cloud'] }, 'refused'],
    ['no resource', { ...deploy, resources: [] }, 'refused'],
    [
      'an identifier that climbs',
      { ...deploy, authorization_details: [{ type: 'cloud_api', actions: ['a'], identifier: '../x' }] },
      'refused',
    ],
    [
      'an identifier with *',
      { ...deploy, authorization_details: [{ type: 'cloud_api', actions: ['a'], identifier: 'p/*' }] },
      'refused',
    ],
    [
      'a cloud_api item without actions',
      { ...deploy, authorization_details: [{ type: 'cloud_api', identifier: 'p' }] },
      'refused',
    ],
    [
      'a number for an identifier of a repository',
      { ...deploy, match: { issuer: CI_ISSUER, repository_id: 1 } },
      'refused',
    ],
    ['empty claims', { ...deploy, match: { issuer: CI_ISSUER, claims: {} } }, 'refused'],
    ['no environments', { ...deploy, environments: [] }, 'refused'],
  ])('%s is %s', (_name, workflow, outcome) => {
    expect(read(whole(workflow))).toBe(outcome);
  });

  it('aliases that multiply are refused, and nothing grows', () => {
    const lines = ['version: 1', 'a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 12; level++)
      lines.push(`a${level}: &a${level} [${Array.from({ length: 9 }, () => `*a${level - 1}`).join(', ')}]`);
    expect(read(`${lines.join('\n')}\nworkflows: *a11\n`)).toBe('refused');
  });
});

describe('claims of a CI system', () => {
  const claims = fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        'repository',
        'repository_id',
        'project_id',
        'project_path',
        'ref',
        'ref_path',
        'ref_type',
        'ref_protected',
        'workflow',
        'workflow_ref',
        'ci_config_ref_uri',
        'environment',
        'run_id',
        'pipeline_id',
        'build_tag',
        'build_branch',
        'sub',
        '__proto__',
        'constructor',
      ),
      fc.string(),
    ),
    fc.oneof(fc.jsonValue(), fc.constantFrom('acme/infra', 'refs/heads/main', 'true', true, 4711, '4711', '')),
  );
  const provider = fc.constantFrom('github', 'gitlab', 'buildkite', 'circleci', 'other', null, '__proto__');

  it('property: whatever they are, members of the job are texts of bounded length or nothing, and never invented', () => {
    fc.assert(
      fc.property(provider, claims, (name, given) => {
        const { ref_protected: isProtected, ...texts } = mapWorkloadClaims(name, given as never);
        expect([true, false, null]).toContain(isProtected);
        for (const value of Object.values(texts)) {
          if (value === null) continue;
          expect(typeof value).toBe('string');
          expect(value.length).toBeGreaterThan(0);
          expect(value.length).toBeLessThanOrEqual(2100);
        }
        const { repository_id: id } = texts;
        if (id !== null) expect(Object.values(given).map(String)).toContain(id);
      }),
      { numRuns: 500 },
    );
  });

  const { workflows } = workflowsSchema.parse({
    version: 1,
    workflows: [
      {
        ...deploy,
        match: {
          issuer: CI_ISSUER,
          repository_id: '4711',
          ref: ['refs/heads/main', 'refs/tags/v*'],
          claims: { team: ['a', 'b'] },
        },
      },
      {
        ...deploy,
        name: 'protected',
        match: { issuer: CI_ISSUER, repository_id: '4712', ref_protected: true },
        environments: ['production'],
      },
    ],
  });
  const identityOf = (given: Record<string, unknown>, issuer = CI_ISSUER) =>
    ({
      issuer,
      subject: 's',
      claims: given,
      job: { ...mapWorkloadClaims('github', given as never), provider: 'github', claims: given },
    }) as unknown as WorkloadIdentity;
  const near = fc.record(
    {
      repository_id: fc.constantFrom<unknown>('4711', 4711, '4712', '04711', ['4711'], null, { 0: '4711' }),
      ref: fc.constantFrom<unknown>(
        'refs/heads/main',
        'refs/tags/v1',
        'refs/tags/',
        'refs/heads/main/x',
        'REFS/HEADS/MAIN',
        ['refs/heads/main'],
      ),
      ref_protected: fc.constantFrom<unknown>('true', true, 'false', false, 'TRUE', 1, null),
      team: fc.constantFrom<unknown>('a', 'b', 'c', ['a'], '', true),
    },
    { requiredKeys: [] },
  );

  it('property: a job is of a workflow exactly when every member says so', () => {
    fc.assert(
      fc.property(near, fc.constantFrom(CI_ISSUER, 'https://gitlab.com'), (given, issuer) => {
        const found = workflowOf(workflows, identityOf(given, issuer), null);
        const id = typeof given.repository_id === 'number' ? String(given.repository_id) : given.repository_id;
        const first =
          id === '4711' &&
          (given.ref === 'refs/heads/main' || given.ref === 'refs/tags/v1') &&
          (given.team === 'a' || given.team === 'b');
        const second = id === '4712' && (given.ref_protected === true || given.ref_protected === 'true');
        const expected = issuer !== CI_ISSUER ? null : first ? 'deploy' : second ? 'protected' : null;
        expect(found.ok ? found.value.name : null).toBe(expected);
        // The one that a job names is the same or none.
        for (const { name } of workflows) {
          const named = workflowOf(workflows, identityOf(given, issuer), name);
          expect(named.ok ? named.value.name : null).toBe(expected === name ? name : null);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('property: an environment is served only as the identity token names it', () => {
    const environment = fc.constantFrom(null, 'production', 'Production', 'staging', '');
    const [, workflow] = workflows;
    fc.assert(
      fc.property(environment, environment, (stated, said) => {
        const identity = identityOf(stated === null ? {} : { environment: stated });
        const outcome = checkEnvironment(workflow as (typeof workflows)[number], identity, said);
        expect(outcome.ok).toBe(stated === 'production' && (said === null || said === 'production'));
      }),
    );
  });
});
