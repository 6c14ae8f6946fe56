import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WorkloadTokenIssuer } from '../support/workload.ts';
import { claimsOf, RESOURCE, requestToken, startTestServer, type TestServer } from './fixture.ts';
import { AUDIENCE, JWT_BEARER, NO_CLIENT } from './workload_fixture.ts';

/** A job of each CI system whose names are known, and of one that is only configured, gets a token by its identity token alone. */

interface Provider {
  readonly name: string;
  readonly issuer: string;
  /** In the configuration, beside issuer and keys. */
  readonly configured: Readonly<Record<string, unknown>>;
  /** Claims, in the shape that the provider documents; those of the fixture that do not belong there are left out. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** What its identity is known by. */
  readonly condition: Readonly<Record<string, string>>;
  readonly job: Readonly<Record<string, unknown>>;
}

const NOT_GITHUB = Object.fromEntries(
  [
    'repository',
    'repository_id',
    'repository_owner',
    'repository_owner_id',
    'workflow',
    'workflow_ref',
    'ref',
    'ref_protected',
    'environment',
    'event_name',
    'run_id',
    'run_attempt',
    'actor',
    'actor_id',
    'runner_environment',
  ].map((name) => [name, undefined]),
);

const PROVIDERS: readonly Provider[] = [
  {
    name: 'gitlab',
    issuer: 'https://gitlab.com',
    configured: { preset: 'gitlab' },
    claims: {
      sub: 'project_path:acme/infra:ref_type:branch:ref:main',
      project_path: 'acme/infra',
      project_id: '456789',
      ci_config_ref_uri: 'gitlab.com/acme/infra//.gitlab-ci.yml@refs/heads/main',
      ref: 'main',
      ref_type: 'branch',
      ref_path: 'refs/heads/main',
      ref_protected: 'true',
      environment: 'production',
      pipeline_source: 'push',
      pipeline_id: '991',
      user_login: 'tanuki',
    },
    condition: { project_id: '456789' },
    job: {
      repository: 'acme/infra',
      repository_id: '456789',
      ref: 'refs/heads/main',
      ref_protected: true,
      run_id: '991',
    },
  },
  {
    name: 'buildkite',
    issuer: 'https://agent.buildkite.com',
    configured: { preset: 'buildkite' },
    claims: {
      sub: 'organization:acme:pipeline:deploy:ref:refs/heads/main:commit:abc:step:deploy',
      organization_slug: 'acme',
      pipeline_slug: 'deploy',
      build_number: 991,
      build_branch: 'main',
      build_tag: null,
      build_source: 'webhook',
      runner_environment: 'self-hosted',
    },
    condition: { organization_slug: 'acme', pipeline_slug: 'deploy' },
    job: { workflow: 'acme/deploy', ref: 'refs/heads/main', run_id: '991', runner: 'self-hosted' },
  },
  {
    name: 'circleci',
    issuer: 'https://oidc.circleci.com/org/0b5fbd5b',
    configured: { preset: 'circleci', issuer: 'https://oidc.circleci.com/org/0b5fbd5b' },
    claims: {
      sub: 'org/0b5fbd5b/project/5a7c/user/77e1',
      jti: undefined,
      'oidc.circleci.com/project-id': '5a7c',
      'oidc.circleci.com/vcs-origin': 'github.com/acme/infra',
      'oidc.circleci.com/vcs-ref': 'refs/heads/main',
      'oidc.circleci.com/pipeline-id': '991',
    },
    condition: { 'oidc.circleci.com/project-id': '5a7c' },
    job: { repository: 'github.com/acme/infra', repository_id: '5a7c', ref: 'refs/heads/main', actor: '77e1' },
  },
  {
    name: 'forge',
    issuer: 'https://forge.example.com',
    configured: {
      provider: 'forge',
      issuer: 'https://forge.example.com',
      algorithms: ['RS256'],
      job_claims: { repository: 'project', run_id: 'run', environment: 'stage' },
    },
    claims: { sub: 'job-7', project: 'acme/infra', run: 7, stage: 'production' },
    condition: { project: 'acme/infra' },
    job: { repository: 'acme/infra', run_id: '7', environment: 'production' },
  },
];

describe.each(PROVIDERS)('a job of $name', ({ name, issuer, configured, claims, condition, job }) => {
  let folder: string;
  let ci: WorkloadTokenIssuer;
  let server: TestServer;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), `sallyport-${name}-`));
    ci = await WorkloadTokenIssuer.create(issuer, AUDIENCE);
    writeFileSync(join(folder, 'jwks.json'), JSON.stringify(ci.jwks()));
    server = await startTestServer(
      {},
      {
        server: { workload_issuers: [{ audience: AUDIENCE, jwks_file: join(folder, 'jwks.json'), ...configured }] },
        clients: [
          {
            client_id: 'job',
            token_endpoint_auth_method: 'none',
            workloads: [{ issuer, claims: condition }],
            resources: [RESOURCE],
            scopes: ['builds:write'],
          },
        ],
      },
    );
  });
  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  const identity = (changes: Record<string, unknown> = {}) =>
    ci.token({ claims: { ...NOT_GITHUB, ...claims, ...changes } });
  const ask = (assertion: string) =>
    requestToken(server, { parameters: { ...NO_CLIENT, grant_type: JWT_BEARER, assertion } });

  it('gets a token that says which job it is', async () => {
    const { status, body } = await ask(identity());
    expect([status, body]).toEqual([200, expect.objectContaining({ token_type: 'DPoP' })]);
    const token = claimsOf(body['access_token']);
    expect(token).toMatchObject({ sub: claims['sub'], client_id: 'job', job: { provider: name, ...job } });
    expect(token['job']).toMatchObject({ claims: { iss: issuer } });
  });

  it('once', async () => {
    const token = identity({ other: name });
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it('not in the name of another', async () => {
    for (const claim of Object.keys(condition)) {
      for (const value of ['another', undefined, [condition[claim]]]) {
        const { body } = await ask(identity({ [claim]: value }));
        expect(body['access_token']).toBeUndefined();
      }
    }
  });
});
