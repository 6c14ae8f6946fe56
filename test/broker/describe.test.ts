import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { runSallyport } from '../support/program.ts';
import { CI_ISSUER, RESOURCE, TestBroker } from './fixture.ts';

let test: TestBroker;

beforeEach(async () => {
  test = await TestBroker.prepare({ issuer: 'https://as.example.com' });
});
afterEach(() => test.close());

/** `sallyport config check broker.yaml` as a user runs it. */
async function check(changes: Record<string, unknown> = {}, ...flags: string[]) {
  writeFileSync(join(test.folder, 'broker.yaml'), stringify(test.config(changes)));
  const program = runSallyport(test.folder, 'config', 'check', 'broker.yaml', ...flags);
  return { code: await program.ended, text: program.text(), errors: program.errors() };
}

const secret = (name: string, text = 'a'.repeat(40)) => writeFileSync(join(test.folder, name), text, { mode: 0o600 });

describe('sallyport config check with the file of a broker', () => {
  it('says what would be served: where, for whom, each workflow with its ceiling; asks nobody and makes nothing', async () => {
    const { code, text, errors } = await check({ listen: { port: 9200 } });
    expect([code, errors]).toEqual([0, '']);
    expect(text.split('\n')).toEqual([
      'origin    http://127.0.0.1:9200 (listens on 127.0.0.1:9200)',
      'server    https://as.example.com',
      `issuer    ${CI_ISSUER}, audience https://broker.example.com`,
      'told      of ended jobs: nobody',
      '',
      `workflow  deploy: issuer ${CI_ISSUER}, repository_id 4711, workflow deploy.yml, ref refs/heads/main`,
      '          client       deploy',
      '          environments any, and none',
      `          resources    ${RESOURCE}`,
      '          scopes       projects:read builds:write',
      '          details      {"type":"cloud_api","actions":["projects.get","builds.list","builds.create","builds.get"],"identifier":"projects/p1"}',
      '',
      'warning   ended_jobs is not configured: tokens of jobs that have ended are good until they expire',
      '',
    ]);
    expect(existsSync(join(test.folder, 'state'))).toBe(false);
  });

  it('--json for machines; a name of a repository without its identifier is warned about', async () => {
    test.writeWorkflows([
      {
        name: 'named',
        match: { issuer: CI_ISSUER, repository: 'acme/infra' },
        resources: [RESOURCE],
        scopes: ['x'],
        client: { client_id: 'c', private_key_file: 'client.jwk.json' },
      },
    ]);
    const { code, text } = await check({ ended_jobs: { redis: { url: 'redis://127.0.0.1:1' } } }, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(text)).toMatchObject({
      registration: false,
      ended_jobs: ['redis'],
      workflows: [
        { name: 'deploy', client_id: 'deploy' },
        { name: 'named', environments: null },
      ],
      warnings: ['workflow named matches by the name of a repository, which may change hands: add repository_id'],
    });
  });

  it.each([
    ['an unknown key', { jobs: { limit_per_rn: 1 } }, /broker\.yaml:\d+:\d+: jobs\.limit_per_rn: .*limit_per_run/],
    ['no workflows', { workflows_file: 'none.yaml' }, /none\.yaml: cannot be read: there is no such file/],
    [
      'no keys of an issuer',
      { workload_issuers: [{ preset: 'github', audience: 'x', jwks_file: 'none.json' }] },
      /workload_issuers\[0\]\.jwks_file: there is no such file/,
    ],
    [
      'keys that are none',
      { workload_issuers: [{ preset: 'github', audience: 'x', jwks_file: 'workflows.yaml' }] },
      /workload_issuers\[0\]\.jwks_file: .*jwks_file/,
    ],
    ['no API token', { admin: { port: 0, api_token_file: 'none' } }, /none: cannot be read \(ENOENT\)/],
    [
      'no token to register with',
      {
        authorization_server: { issuer: 'https://as.example.com', registration: { initial_access_token_file: 'none' } },
      },
      /none: cannot be read/,
    ],
    [
      'no software statement',
      { authorization_server: { issuer: 'https://as.example.com', registration: { software_statement_file: 'none' } } },
      /registration\.software_statement_file: there is no such file/,
    ],
    [
      'no certificate',
      { listen: { port: 0, tls: { certificate_file: 'none', key_file: 'none' } } },
      /certificate_file/,
    ],
    [
      'no token of a gateway',
      { ended_jobs: { gateways: [{ url: 'https://gw:1', api_token_file: 'none' }] } },
      /none: cannot be read/,
    ],
    [
      'no folder for the records',
      { records_file: 'none/records.jsonl' },
      /records_file: there is no such file or folder/,
    ],
  ])('%s: 1, and where', async (_name, changes, words) => {
    const { code, errors, text } = await check(changes);
    expect([code, text]).toEqual([1, '']);
    expect(errors).toMatch(words);
  });

  it('a state folder that others may read, or that is none', async () => {
    mkdirSync(join(test.folder, 'state'), { mode: 0o755 });
    expect((await check()).errors).toMatch(/state_folder: others may read .*chmod 700/);
    expect((await check({ state_folder: 'workflows.yaml' })).errors).toMatch(/state_folder: .* is not a folder/);
  });

  it('a key of a client that is missing, and a token that others may read', async () => {
    rmSync(join(test.folder, 'client.jwk.json'));
    const { code, errors } = await check();
    expect(code).toBe(1);
    expect(errors).toMatch(
      /workflows\.yaml:\d+:\d+: workflows\[0\]\.client\.private_key_file: .*client\.jwk\.json: cannot be read \(ENOENT\)/,
    );
    secret('client.jwk.json', JSON.stringify(test.clientJwk));
    secret('engine.token');
    chmodSync(join(test.folder, 'engine.token'), 0o644);
    expect((await check({ admin: { port: 0, api_token_file: 'engine.token' } })).errors).toContain('chmod 600');
  });

  const deploy = {
    name: 'w',
    resources: [RESOURCE],
    scopes: ['x'],
    client: { client_id: 'c', private_key_file: 'client.jwk.json' },
  };
  it.each([
    [
      'an issuer that is not configured',
      { ...deploy, match: { issuer: 'https://gitlab.com', repository_id: '1' } },
      /workflows\.yaml:\d+:\d+: workflows\[0\]\.match\.issuer: is none of workload_issuers/,
    ],
    [
      'no client, and no registration',
      { ...deploy, client: undefined, match: { issuer: CI_ISSUER, repository_id: '1' } },
      /workflows\[0\]\.name: names no client/,
    ],
    [
      'whoever has a branch main',
      { ...deploy, match: { issuer: CI_ISSUER, ref: 'refs/heads/main' } },
      /workflows\[0\]\.match: anybody can get tokens of this issuer/,
    ],
    [
      'whoever has such a file',
      { ...deploy, match: { issuer: CI_ISSUER, workflow: 'deploy.yml', event: 'push', ref_protected: true } },
      /anybody can get tokens/,
    ],
    ['whoever', { ...deploy, match: { issuer: CI_ISSUER } }, /expected more than the issuer/],
  ])('a workflow with %s is refused', async (_name, workflow, words) => {
    writeFileSync(join(test.folder, 'workflows.yaml'), stringify({ version: 1, workflows: [workflow] }));
    expect((await check()).errors).toMatch(words);
  });

  it.each([
    ['an owner among its claims', { match: { issuer: CI_ISSUER, claims: { repository_owner_id: '42' } } }, {}],
    [
      'a condition of the issuer',
      { match: { issuer: CI_ISSUER, ref: 'refs/heads/main' } },
      { workload_issuers: [{ preset: 'github', audience: 'x', conditions: { repository_owner_id: '42' } }] },
    ],
    [
      'an issuer of its own',
      { match: { issuer: 'https://ci.example.com', ref: 'refs/heads/main' } },
      { workload_issuers: [{ issuer: 'https://ci.example.com', audience: 'x' }] },
    ],
    [
      'a pipeline of Buildkite',
      { match: { issuer: 'https://agent.buildkite.com', workflow: 'acme/deploy' } },
      { workload_issuers: [{ preset: 'buildkite', audience: 'x' }] },
    ],
  ])('a workflow with %s is good', async (_name, workflow, changes) => {
    writeFileSync(
      join(test.folder, 'workflows.yaml'),
      stringify({ version: 1, workflows: [{ ...deploy, ...workflow }] }),
    );
    expect(await check(changes)).toMatchObject({ code: 0, errors: '' });
  });

  it('config schema --of broker and --of workflows print their schemas', async () => {
    for (const [of, key] of [
      ['broker', 'workflows_file'],
      ['workflows', 'workflows'],
      ['gateway', 'routes'],
    ]) {
      const program = runSallyport(test.folder, 'config', 'schema', '--of', String(of));
      expect(await program.ended).toBe(0);
      expect((JSON.parse(program.text()) as { properties: object }).properties).toHaveProperty(String(key));
    }
  });
});
