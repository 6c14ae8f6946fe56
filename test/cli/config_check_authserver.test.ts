import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { makeCertificate } from '../support/certificate.ts';
import { CheckFolder } from '../support/config_check.ts';
import { runSallyport } from '../support/program.ts';

/** `sallyport config check` with the file of an authorization server, as a user runs it: it reads what a start reads, and writes nothing. */

const RESOURCE = 'https://cloud.example.com/v1';
const DETAIL = { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' };
const CI = { client_id: 'ci', jwks_file: 'ci.json', resources: [RESOURCE], scopes: ['builds:read'] };
const GITHUB = { preset: 'github', audience: 'https://as.example.com' };
const POLICY = 'package token_issuance\n\ndecision := {"allow": true}\n';
const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['type'],
  properties: { type: { const: 'printer' }, trays: { type: 'array', items: { type: 'string' } } },
};

let folder: CheckFolder;
let jwks: { keys: object[] };
let privateJwk: object;
beforeAll(async () => {
  const jwk = await generatePrivateJwk();
  privateJwk = jwk;
  jwks = { keys: [(await importSigningKey(jwk)).publicJwk] };
});
beforeEach(() => {
  folder = new CheckFolder();
  folder.write('ci.json', jwks);
});
afterEach(() => folder.remove());

const BASE = { version: 1, signing_keys_file: 'keys.json', clients: [CI] };
const check = (changes: object = {}, ...flags: string[]) => folder.check({ ...BASE, ...changes }, ...flags);
/** Without the folder's name, which is another in each run. */
const plain = (text: string) => text.replaceAll(`${folder.path}/`, '').split('\n');

describe('config check with the file of an authorization server', { timeout: 60_000 }, () => {
  it('says what would be served; asks nobody and makes nothing', async () => {
    const before = readdirSync(folder.path).concat('config.yaml').sort();
    const { code, text, errors } = await check();
    expect([code, errors]).toEqual([0, '']);
    expect(plain(text)).toEqual([
      'issuer    http://127.0.0.1:9100 (listens on 127.0.0.1:9100)',
      'keys      keys.json: made at the first start',
      'storage   authserver.db',
      'tokens    300 s, nonce off',
      'types     cloud_api',
      'policy    none: the ceiling of a client decides',
      '',
      'client    ci: private_key_jwt, tokens bound to its key',
      `          resources  ${RESOURCE}`,
      '          scopes     builds:read',
      '          lifetime   300 s',
      '',
    ]);
    expect(readdirSync(folder.path).sort()).toEqual(before);
  });

  it('the whole of it, for people and with --json', async () => {
    folder.write('registration.token', 'a'.repeat(40));
    folder.write('printer.schema.json', SCHEMA);
    mkdirSync(join(folder.path, 'policy'));
    folder.write('policy/decision.rego', POLICY);
    const { cert, key } = makeCertificate({ name: 'as.example.com' });
    folder.write('as.crt', cert);
    folder.write('as.key', key);
    const config = {
      issuer: 'https://as.example.com',
      listen: { port: 8443, tls: { certificate_file: 'as.crt', key_file: 'as.key', client_certificates: 'optional' } },
      admin: { port: 9102 },
      authorization_details_types: [{ type: 'cloud_api' }, { type: 'printer', schema_file: 'printer.schema.json' }],
      workload_issuers: [{ ...GITHUB, jwks_file: 'ci.json' }],
      issuance_policy: { path: 'policy' },
      registration: {
        initial_access_tokens: [
          {
            name: 'engine',
            token_file: 'registration.token',
            resources: [RESOURCE],
            scopes: ['a', 'b'],
            token_lifetime_seconds: 60,
          },
        ],
        software_statements: { issuers: [{ issuer: 'https://vendor.example.com' }], required: true },
      },
      clients: [
        { ...CI, authorization_details: [DETAIL], tls_client_certificate_bound_access_tokens: true },
        {
          client_id: 'job',
          token_endpoint_auth_method: 'none',
          resources: [RESOURCE],
          scopes: ['x'],
          workloads: [
            {
              issuer: 'https://token.actions.githubusercontent.com',
              claims: { repository_id: ['1', '2'] },
              job: { ref: 'refs/heads/main' },
            },
          ],
        },
      ],
      resource_servers: [{ client_id: 'gateway', jwks_file: 'ci.json', resources: [RESOURCE], token_format: 'opaque' }],
      dpop: { nonce: 'required' },
    };
    const { code, text, errors } = await check(config);
    expect([code, errors]).toEqual([0, '']);
    expect(plain(text)).toEqual([
      'issuer    https://as.example.com (listens on 127.0.0.1:8443, admin 127.0.0.1:9102)',
      'clients   may show certificates: optional in TLS',
      'keys      keys.json: made at the first start',
      'storage   authserver.db',
      'tokens    300 s, nonce required',
      'types     cloud_api, printer',
      'trusts    https://token.actions.githubusercontent.com, audience https://as.example.com',
      expect.stringMatching(/^policy {4}policy, entrypoint token_issuance\/decision, revision sha256:[0-9a-f]{64}$/),
      'believes  software statements of https://vendor.example.com, and registers nobody without',
      '',
      'registers engine: whoever has its initial access token',
      `          resources  ${RESOURCE}`,
      '          scopes     a b',
      '          lifetime   60 s',
      '',
      'client    ci: private_key_jwt, tokens bound to its certificate',
      `          resources  ${RESOURCE}`,
      '          scopes     builds:read',
      `          details    ${JSON.stringify(DETAIL)}`,
      '          lifetime   300 s',
      '',
      'client    job: by its workload identity, tokens bound to its key',
      '          workload   issuer https://token.actions.githubusercontent.com, ref refs/heads/main, claims.repository_id 1 or 2',
      `          resources  ${RESOURCE}`,
      '          scopes     x',
      '          lifetime   300 s',
      '',
      `asks      gateway: about tokens for ${RESOURCE} (token_format opaque)`,
      '',
    ]);
    const machines = await folder.run('check', '--json', 'config.yaml');
    expect(JSON.parse(machines.text)).toMatchObject({
      issuer: 'https://as.example.com',
      admin: '127.0.0.1:9102',
      signing_keys: { keys: 0 },
      policy: { entrypoint: 'token_issuance/decision', revision: expect.stringMatching(/^sha256:/) as string },
      registration: { registrars: [{ name: 'engine', by: 'initial_access_token' }], statement_required: true },
      clients: [
        { client_id: 'ci', bound_to: ['certificate'] },
        {
          client_id: 'job',
          workloads: [{ conditions: { 'claims.repository_id': ['1', '2'], ref: ['refs/heads/main'] } }],
        },
      ],
      warnings: [],
    });
  });

  it('after a start and beside a running server: it is read what lies there, and left as it is', async () => {
    folder.write('config.yaml', { ...BASE, listen: { port: 0 } });
    const server = runSallyport(folder.path, 'authserver', '--config', 'config.yaml');
    try {
      await server.says('ready: ');
      const seen = () =>
        readdirSync(folder.path).map((name) => {
          const { mtimeMs, size, mode } = statSync(join(folder.path, name));
          return [name, mtimeMs, size, mode, readFileSync(join(folder.path, name)).toString('base64')];
        });
      const before = seen();
      const { code, text, errors } = await folder.run('check', 'config.yaml');
      expect([code, errors]).toEqual([0, '']);
      expect(plain(text)).toContain('keys      keys.json: 1 key');
      expect(seen()).toEqual(before);
    } finally {
      server.child.kill('SIGTERM');
      await server.ended;
    }
    expect((await folder.run('check', 'config.yaml')).code).toBe(0);
  });

  it('Redis is not asked: one that is not there is where the description says', async () => {
    const { code, text } = await check({ storage: { redis: { url: 'redis://:secret@127.0.0.1:1' } } });
    expect(code).toBe(0);
    expect(text).toContain('storage   Redis at 127.0.0.1:1\n');
    expect(text).not.toContain('secret');
  });

  const at = (key: string, words: string) =>
    new RegExp(`^config\\.yaml:\\d+:\\d+: ${key.replace(/[[\].]/g, '\\$&')}: .*${words}`, 'm');
  const registration = (entry: object) => ({
    registration: {
      initial_access_tokens: [
        { name: 'engine', token_file: 'registration.token', resources: [RESOURCE], scopes: ['a'], ...entry },
      ],
    },
  });
  it.each<[string, object, RegExp, (() => void)?]>([
    [
      'a folder for the keys that is not there',
      { signing_keys_file: 'none/keys.json' },
      at('signing_keys_file', 'there is no such folder.*none; make it'),
    ],
    [
      'signing keys that are no JSON',
      {},
      at('signing_keys_file', 'keys\\.json is not JSON'),
      () => folder.write('keys.json', 'x'),
    ],
    [
      'signing keys that are none',
      {},
      at('signing_keys_file', 'not a private EC key on P-256'),
      () => folder.write('keys.json', jwks),
    ],
    [
      'signing keys off the curve',
      {},
      at('signing_keys_file', 'not a private EC key on P-256'),
      () =>
        folder.write('keys.json', {
          keys: [{ kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43), d: 'A'.repeat(43) }],
        }),
    ],
    [
      'a database that is none',
      {},
      at('storage.database_file', 'is not a database'),
      () => folder.write('authserver.db', 'x'.repeat(5000)),
    ],
    [
      'a database in no folder',
      { storage: { database_file: 'none/a.db' } },
      at('storage.database_file', 'there is no such folder'),
    ],
    [
      'a database of another version',
      { storage: { database_file: 'other.db' } },
      at('storage.database_file', 'version 99, expected'),
      () => {
        const database = new DatabaseSync(join(folder.path, 'other.db'));
        database.exec('PRAGMA user_version = 99');
        database.close();
      },
    ],
    [
      'two ways to Redis',
      { storage: { redis: { url: 'redis://a:1', cluster: [{ host: 'b' }] } } },
      at('storage.redis', 'exactly one of url, sentinels and cluster'),
    ],
    [
      'no password of Redis',
      { storage: { redis: { url: 'redis://a:1', password_file: 'none' } } },
      at('storage.redis.password_file', 'there is no such file'),
    ],
    [
      'no CA of Redis',
      { storage: { redis: { url: 'rediss://a:1', tls: { ca_file: 'none' } } } },
      at('storage.redis.tls.ca_file', 'there is no such file'),
    ],
    [
      'no certificate',
      { listen: { tls: { certificate_file: 'none', key_file: 'none' } } },
      at('listen.tls.certificate_file', 'none cannot be read'),
    ],
    [
      'a certificate that is none',
      { listen: { tls: { certificate_file: 'ci.json', key_file: 'ci.json' } } },
      at('listen.tls.certificate_file', 'expected PEM'),
    ],
    [
      'no certificate of the admin port',
      { admin: { tls: { certificate_file: 'none', key_file: 'none' } } },
      at('admin.tls.certificate_file', 'none cannot be read'),
    ],
    ['one port for two', { listen: { port: 9100 }, admin: { port: 9100 } }, at('admin.port', 'give each its own')],
    [
      'a type without schema',
      { authorization_details_types: [{ type: 'printer' }] },
      at('authorization_details_types[0].type', 'name one with schema_file'),
    ],
    [
      'no schema',
      { authorization_details_types: [{ type: 'printer', schema_file: 'none' }] },
      at('authorization_details_types[0].schema_file', 'none: cannot be read'),
    ],
    [
      'a schema that lets anything through',
      { authorization_details_types: [{ type: 'printer', schema_file: 'printer.json' }] },
      at('authorization_details_types[0].schema_file', 'expected additionalProperties: false'),
      () => folder.write('printer.json', { ...SCHEMA, additionalProperties: true }),
    ],
    [
      'a schema of another type',
      { authorization_details_types: [{ type: 'scanner', schema_file: 'printer.json' }] },
      at('authorization_details_types[0].schema_file', 'properties.type.const: scanner'),
      () => folder.write('printer.json', SCHEMA),
    ],
    [
      'a ceiling that its type does not know',
      { clients: [{ ...CI, authorization_details: [{ ...DETAIL, colour: 'red' }] }] },
      at('clients[0].authorization_details[0]', 'has a field that its type does not have'),
    ],
    [
      'a ceiling of registration',
      registration({ authorization_details: [{ type: 'nothing' }] }),
      at('registration.initial_access_tokens[0].authorization_details[0]', 'none of authorization_details_types'),
      () => folder.write('registration.token', 'a'.repeat(40)),
    ],
    [
      'no keys of a client',
      { clients: [{ ...CI, jwks_file: 'none.json' }] },
      at('clients[0].jwks_file', 'none\\.json: cannot be read: there is no such file'),
    ],
    [
      'keys of a client that are private',
      { clients: [{ ...CI, jwks_file: 'private.json' }] },
      /private\.json:1:\d+: keys\[0\].*: .*/m,
      () => folder.write('private.json', { keys: [privateJwk] }),
    ],
    [
      'keys of a client that are none',
      { clients: [{ ...CI, jwks_file: 'keys.txt' }] },
      /keys\.txt.*: expected/m,
      () => folder.write('keys.txt', 'hello'),
    ],
    [
      'a certificate of a client that is none',
      {
        listen: { front_proxies: [{ addresses: ['127.0.0.1'] }] },
        clients: [
          {
            client_id: 'c',
            token_endpoint_auth_method: 'self_signed_tls_client_auth',
            certificate_file: 'ci.json',
            resources: [RESOURCE],
            scopes: ['x'],
          },
        ],
      },
      at('clients[0].certificate_file', 'ci\\.json cannot be used'),
    ],
    [
      'no keys of a resource server',
      { resource_servers: [{ client_id: 'g', jwks_file: 'none', resources: [RESOURCE] }] },
      at('resource_servers[0].jwks_file', 'none: cannot be read'),
    ],
    [
      'no initial access token',
      registration({}),
      at('registration.initial_access_tokens[0].token_file', 'cannot be read \\(ENOENT\\)'),
    ],
    [
      'an initial access token that others may read',
      registration({}),
      at('registration.initial_access_tokens[0].token_file', 'chmod 600'),
      () => chmodSync(folder.write('registration.token', 'a'.repeat(40)), 0o644),
    ],
    [
      'an initial access token that could be guessed',
      registration({}),
      at('registration.initial_access_tokens[0].token_file', 'expected one bearer token of 32'),
      () => folder.write('registration.token', 'short'),
    ],
    [
      'no keys of a workload issuer',
      { workload_issuers: [{ ...GITHUB, jwks_file: 'none' }] },
      at('workload_issuers[0].jwks_file', 'there is no such file'),
    ],
    [
      'keys of a workload issuer without one',
      { workload_issuers: [{ ...GITHUB, jwks_file: 'empty.json' }] },
      at('workload_issuers[0].jwks_file', 'no key that a signature can be verified with'),
      () => folder.write('empty.json', { keys: [] }),
    ],
    [
      'no keys of software statements',
      {
        registration: {
          ...registration({}).registration,
          software_statements: { issuers: [{ issuer: 'https://v.example.com', jwks_file: 'none' }] },
        },
      },
      at('registration.software_statements.issuers[0].jwks_file', 'there is no such file'),
      () => folder.write('registration.token', 'a'.repeat(40)),
    ],
    ['no policy', { issuance_policy: { path: 'none' } }, at('issuance_policy.path', 'there is no such file or folder')],
    [
      'no data of the policy',
      { issuance_policy: { path: '.', data: ['none.json'] } },
      at('issuance_policy.data[0]', 'there is no such file'),
    ],
    [
      'a policy that does not compile',
      { issuance_policy: { path: 'policy' } },
      /issuance_policy\.path: the issuance policy in .*policy does not compile:\n.*decision\.rego:3:/m,
      () => {
        mkdirSync(join(folder.path, 'policy'));
        folder.write('policy/decision.rego', 'package token_issuance\n\ndecision := {"allow": undefined_name}\n');
      },
    ],
    [
      'a policy without the rule',
      { issuance_policy: { path: 'policy', entrypoint: 'token_issuance/other' } },
      at('issuance_policy.path', ''),
      () => {
        mkdirSync(join(folder.path, 'policy'));
        folder.write('policy/decision.rego', POLICY);
      },
    ],
    ['nobody who could ask', { clients: [] }, at('clients', 'nobody could ask for a token')],
    [
      'an unknown key deep in it',
      { clients: [{ ...CI, scope: ['x'] }] },
      at('clients[0].scope', 'did you mean scopes'),
    ],
    ['a value out of its range', { token_lifetime_seconds: 5 }, at('token_lifetime_seconds', '10')],
  ])('%s: 1, and where', async (_name, changes, words, prepare) => {
    prepare?.();
    const { code, text, errors } = await check(changes);
    expect([code, text]).toEqual([1, '']);
    expect(errors).toMatch(words);
    expect(errors).not.toMatch(/unexpected failure|\n {4}at /);
  });

  it('everything that is wrong is told at once', async () => {
    const { errors } = await check({
      signing_keys_file: 'none/keys.json',
      clients: [
        { ...CI, jwks_file: 'a' },
        { ...CI, client_id: 'other', jwks_file: 'b' },
      ],
      workload_issuers: [{ ...GITHUB, jwks_file: 'c' }],
    });
    const keys = errors
      .trim()
      .split('\n')
      .map((line) => line.split(': ')[1]);
    expect(keys).toEqual([
      'signing_keys_file',
      'clients[0].jwks_file',
      'clients[1].jwks_file',
      'workload_issuers[0].jwks_file',
    ]);
  });

  it.each<[string, object, RegExp, (() => void)?]>([
    [
      'plain HTTP',
      { issuer: 'https://as.example.com', listen: { address: '0.0.0.0', allow_plaintext: true } },
      /allow_plaintext: tokens cross the network/,
    ],
    ['an issuer of http', { issuer: 'http://as.example.com', listen: { allow_plaintext: true } }, /issuer uses http/],
    ['no rotation', { signing_keys: { rotate_after_seconds: 0 } }, /never renewed/],
    [
      'keys of issuers by http',
      { workload_issuers: [{ issuer: 'http://ci.example.com', audience: 'a', allow_insecure: true }] },
      /may come over http \(allow_insecure\)/,
    ],
    [
      'a repository by its name',
      {
        workload_issuers: [{ issuer: 'https://ci.example.com', audience: 'a' }],
        clients: [{ ...CI, workloads: [{ issuer: 'https://ci.example.com', claims: { repository: 'acme/infra' } }] }],
      },
      /client ci goes by the name of a repository/,
    ],
    [
      'a client without rights',
      { clients: [{ ...CI, scopes: [] }] },
      /client ci may have neither scopes nor authorization_details/,
    ],
    [
      'tokens that nobody can get',
      { resource_servers: [{ client_id: 'g', jwks_file: 'ci.json', resources: ['https://other.example.com'] }] },
      /resource server g: no client may have tokens for https:\/\/other/,
    ],
    [
      'signing keys that others may read',
      {},
      /signing_keys_file: others may read .*chmod 600/,
      () => {
        folder.write('keys.json', { keys: [privateJwk] });
        chmodSync(join(folder.path, 'keys.json'), 0o644);
      },
    ],
  ])('%s is allowed, and warned about', async (_name, changes, words, prepare) => {
    prepare?.();
    const { code, text, errors } = await check(changes);
    expect([code, errors]).toEqual([0, '']);
    expect(text).toMatch(/^warning /m);
    expect(text).toMatch(words);
    expect(
      (JSON.parse((await folder.run('check', '--json', 'config.yaml')).text) as { warnings: string[] }).warnings,
    ).toHaveLength(1);
  });

  it('a link for a file is followed, a folder for a file is not', async () => {
    rmSync(join(folder.path, 'ci.json'));
    folder.write('elsewhere.json', jwks);
    symlinkSync('elsewhere.json', join(folder.path, 'ci.json'));
    expect((await check()).code).toBe(0);
    mkdirSync(join(folder.path, 'dir'));
    expect((await check({ clients: [{ ...CI, jwks_file: 'dir' }] })).errors).toMatch(
      at('clients[0].jwks_file', 'EISDIR'),
    );
  });
});
