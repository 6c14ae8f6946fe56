import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Job } from '../../src/kernel/context.ts';
import { readJob } from '../../src/token/job.ts';

const NOTHING: Omit<Job, 'claims'> = {
  provider: null,
  repository: null,
  repository_id: null,
  workflow: null,
  ref: null,
  ref_protected: null,
  environment: null,
  event: null,
  run_id: null,
  actor: null,
  runner: null,
};

const GITHUB = {
  iss: 'https://token.actions.githubusercontent.com',
  sub: 'repo:acme@1234/infra@456789:environment:production',
  repository: 'acme/infra',
  repository_id: '456789',
  repository_owner_id: '1234',
  workflow: 'Deploy to production',
  workflow_ref: 'acme/infra/.github/workflows/deploy.yml@refs/heads/main',
  job_workflow_ref: 'acme/shared/.github/workflows/deploy.yml@refs/tags/v1',
  ref: 'refs/heads/main',
  ref_protected: 'true',
  environment: 'production',
  event_name: 'push',
  run_id: '991',
  actor: 'octocat',
  actor_id: '583231',
  runner_environment: 'github-hosted',
};

const GITLAB = {
  iss: 'https://gitlab.com',
  project_path: 'acme/infra',
  project_id: '456789',
  ci_config_ref_uri: 'gitlab.com/acme/infra//.gitlab-ci.yml@refs/heads/main',
  ref: 'main',
  ref_type: 'branch',
  ref_path: 'refs/heads/main',
  ref_protected: 'false',
  environment: 'production',
  pipeline_source: 'web',
  pipeline_id: '991',
  user_login: 'tanuki',
  runner_environment: 'gitlab-hosted',
};

const BUILDKITE = {
  iss: 'https://agent.buildkite.com',
  organization_slug: 'acme',
  pipeline_slug: 'deploy',
  build_number: 991,
  build_branch: 'main',
  build_tag: null,
  build_source: 'ui',
  runner_environment: 'self-hosted',
};

const CIRCLECI = {
  iss: 'https://oidc.circleci.com/org/0b5fbd5b',
  sub: 'org/0b5fbd5b/project/5a7c/user/77e1/vcs-origin/github.com/acme/infra/vcs-ref/refs/heads/main',
  'oidc.circleci.com/project-id': '5a7c',
  'oidc.circleci.com/vcs-origin': 'github.com/acme/infra',
  'oidc.circleci.com/vcs-ref': 'refs/heads/main',
  'oidc.circleci.com/pipeline-id': '991',
  'oidc.circleci.com/pipeline-definition-id': 'd-7',
};

function jobOf(value: unknown): Job | null {
  const job = readJob(value);
  if (!job.ok) throw new Error(job.problem);
  return job.value;
}

describe('job: claims of a provider', () => {
  it('github', () => {
    expect(jobOf({ claims: GITHUB })).toEqual({
      provider: 'github',
      repository: 'acme/infra',
      repository_id: '456789',
      workflow: 'deploy.yml',
      ref: 'refs/heads/main',
      ref_protected: true,
      environment: 'production',
      event: 'push',
      run_id: '991',
      actor: 'octocat',
      runner: 'github-hosted',
      claims: GITHUB,
    });
  });

  it('gitlab: ref gets its refs/heads/ back', () => {
    expect(jobOf({ claims: GITLAB })).toEqual({
      provider: 'gitlab',
      repository: 'acme/infra',
      repository_id: '456789',
      workflow: '.gitlab-ci.yml',
      ref: 'refs/heads/main',
      ref_protected: false,
      environment: 'production',
      event: 'web',
      run_id: '991',
      actor: 'tanuki',
      runner: 'gitlab-hosted',
      claims: GITLAB,
    });
    const older = { ...GITLAB, ref_path: undefined };
    expect(jobOf({ claims: older })?.ref).toBe('refs/heads/main');
    expect(jobOf({ claims: { ...older, ref_type: 'tag', ref: 'main' } })?.ref).toBe('refs/tags/main');
    expect(jobOf({ claims: { ...older, ref_type: undefined } })?.ref).toBeNull();
  });

  it('buildkite: a pipeline is named with its organization', () => {
    expect(jobOf({ claims: BUILDKITE })).toEqual({
      ...NOTHING,
      provider: 'buildkite',
      workflow: 'acme/deploy',
      ref: 'refs/heads/main',
      event: 'ui',
      run_id: '991',
      runner: 'self-hosted',
      claims: BUILDKITE,
    });
    expect(jobOf({ claims: { ...BUILDKITE, build_tag: 'v1' } })?.ref).toBe('refs/tags/v1');
    expect(jobOf({ claims: { ...BUILDKITE, organization_slug: undefined } })?.workflow).toBeNull();
  });

  it('circleci', () => {
    expect(jobOf({ claims: CIRCLECI })).toEqual({
      ...NOTHING,
      provider: 'circleci',
      repository: 'github.com/acme/infra',
      repository_id: '5a7c',
      workflow: 'd-7',
      ref: 'refs/heads/main',
      run_id: '991',
      actor: '77e1',
      claims: CIRCLECI,
    });
  });

  it('a self-hosted provider is named by the authorization server', () => {
    const iss = 'https://gitlab.acme.example';
    const ci_config_ref_uri = 'gitlab.acme.example/acme/infra//ci/deploy.yml@refs/heads/main';
    const claims = { ...GITLAB, iss, ci_config_ref_uri };
    expect(jobOf({ provider: 'gitlab', claims })).toMatchObject({
      repository: 'acme/infra',
      workflow: 'ci/deploy.yml',
    });
    expect(jobOf({ claims })).toEqual({ ...NOTHING, claims });
    expect(
      jobOf({ claims: { ...GITHUB, iss: 'https://token.actions.githubusercontent.com.evil.example' } })?.provider,
    ).toBeNull();
  });

  it('a workflow that lies in another repository keeps its whole name, and no file passes for another', () => {
    const github = (workflow_ref: string) => jobOf({ claims: { ...GITHUB, workflow_ref } })?.workflow;
    expect(github('evil/infra/.github/workflows/deploy.yml@refs/heads/main')).toBe(
      'evil/infra/.github/workflows/deploy.yml@refs/heads/main',
    );
    expect(github('acme/infra/.github/workflows/deploy.yml@x.yml@refs/heads/main')).toBe('deploy.yml@x.yml');
    expect(github('acme/infra/.github/workflows/deploy.yml@refs/heads/a@b')).toBe('deploy.yml');
    const gitlab = (ci_config_ref_uri: string) => jobOf({ claims: { ...GITLAB, ci_config_ref_uri } })?.workflow;
    expect(gitlab('gitlab.com/evil/infra//.gitlab-ci.yml@refs/heads/main')).toBe(
      'gitlab.com/evil/infra//.gitlab-ci.yml@refs/heads/main',
    );
    expect(gitlab('https://evil.example.com/ci.yml')).toBe('https://evil.example.com/ci.yml');
    for (const workflow of ['deploy.yml', 'acme/infra/.github/workflows/deploy.yml@refs/heads/main']) {
      expect(jobOf({ claims: { ...GITHUB, workflow_ref: undefined, workflow } })?.workflow).toBeNull();
      expect(jobOf({ claims: { ...GITHUB, workflow_ref: ['deploy.yml'], workflow } })?.workflow).toBeNull();
    }
  });

  it('a claim of an unexpected type says nothing', () => {
    for (const wrong of [null, true, [], ['x'], {}, '', 1.5, 2 ** 60, 'x'.repeat(2000)]) {
      const job = jobOf({ claims: { ...GITHUB, repository: wrong, ref_protected: wrong, event_name: wrong } });
      if (wrong !== true) expect(job?.ref_protected).toBeNull();
      expect(job).toMatchObject({ repository: null, event: null, ref: 'refs/heads/main' });
    }
  });
});

describe('job: what the authorization server states', () => {
  it('no job', () => {
    expect(jobOf(undefined)).toBeNull();
    expect(jobOf({})).toEqual({ ...NOTHING, claims: {} });
  });

  it('stated members stand before those of the provider', () => {
    const job = jobOf({
      provider: 'github',
      repository: 'acme/other',
      repository_id: 17,
      ref_protected: false,
      claims: GITHUB,
    });
    expect(job).toMatchObject({
      repository: 'acme/other',
      repository_id: '17',
      ref_protected: false,
      actor: 'octocat',
    });
  });

  it('members of null are left to the provider', () => {
    expect(jobOf({ repository: null, ref_protected: null, claims: GITHUB })).toMatchObject({
      repository: 'acme/infra',
      ref_protected: true,
    });
  });

  it('other members join the claims, which stand before them', () => {
    const job = jobOf({ provider: 'github', event_name: 'push', extra: 1, claims: { extra: 2 } });
    expect(job).toMatchObject({ event: 'push', claims: { event_name: 'push', extra: 2 } });
  });

  it('token.claims: a member of a wrong type is a failure', () => {
    for (const wrong of [true, [], {}, '', 1.5, 2 ** 60, 'x'.repeat(2000)]) {
      for (const name of ['provider', 'repository', 'workflow', 'ref', 'run_id', 'actor', 'ref_protected']) {
        if (name === 'ref_protected' && wrong === true) continue;
        expect(readJob({ [name]: wrong }).ok).toBe(false);
      }
    }
    for (const job of [null, 1, 'job', true, [], { claims: null }, { claims: [] }, { claims: 'x' }]) {
      expect(readJob(job).ok).toBe(false);
    }
  });

  it('whatever the value, the result has the shape of a job', () => {
    const names = [...Object.keys(NOTHING), ...Object.keys(GITHUB), ...Object.keys(GITLAB), 'claims', '__proto__'];
    const member = fc.oneof(
      fc.jsonValue(),
      fc.string(),
      fc.constantFrom('github', 'gitlab', 'buildkite', 'circleci', 'true'),
    );
    const object = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), member, { maxKeys: 12 });
    const job = fc.oneof(fc.jsonValue(), object, fc.record({ provider: member, claims: object }));
    fc.assert(
      fc.property(job, (value) => {
        const read = readJob(value);
        if (!read.ok || read.value === null) return;
        const { claims, ref_protected, ...texts } = read.value;
        expect(Object.keys(read.value).sort()).toEqual([...Object.keys(NOTHING), 'claims'].sort());
        expect(Object.getPrototypeOf(claims)).toBe(Object.prototype);
        expect([true, false, null]).toContain(ref_protected);
        for (const text of Object.values(texts)) {
          expect(text === null || (typeof text === 'string' && text.length > 0)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
