import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Program, runSallyport } from '../support/program.ts';

/** The commands around the gateway's configuration as a person uses them: what they print, where, and their exit codes. */

const ROOT = resolve(import.meta.dirname, '../..');
let folder: string;
const programs: Program[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-commands-'));
});
afterAll(() => {
  for (const { child } of programs) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a command to its end. */
async function run(...argv: string[]) {
  const program = runSallyport(folder, ...argv);
  programs.push(program);
  return { code: await program.ended, text: program.text(), errors: program.errors() };
}

const ROUTE = {
  name: 'projects',
  path_prefix: '/v1',
  resource: 'https://cloud.example.com/v1',
  bindings: ['dpop', 'bearer'],
  operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
  upstream: { url: 'http://127.0.0.1:9000' },
};
const CONFIG = {
  version: 1,
  public_origin: 'https://cloud.example.com',
  listen: { address: '127.0.0.1', port: 0 },
  admin: { port: 0 },
  issuers: [{ issuer: 'https://as.example.com' }],
  policy: { path: join(ROOT, 'policies') },
  routes: [ROUTE],
};

/** Writes a configuration. @returns its name in the folder */
function write(name: string, config: Record<string, unknown> | string): string {
  writeFileSync(join(folder, name), typeof config === 'string' ? config : stringify(config));
  return name;
}

describe('sallyport config check', { timeout: 60_000 }, () => {
  it('exit 0: prints what would be served', async () => {
    const { code, text, errors } = await run('config', 'check', write('good.yaml', CONFIG));
    expect([code, errors]).toEqual([0, '']);
    expect(text.split('\n').map((line) => line.trim().replace(/ {2,}/g, ' '))).toEqual([
      'origin https://cloud.example.com (listens on 127.0.0.1:0)',
      'issuers https://as.example.com',
      'replay memory',
      expect.stringMatching(/^policy \S+policies, entrypoint sallyport\/decision, revision sha256:[0-9a-f]{64}$/),
      '',
      'route projects: cloud.example.com /v1 → http://127.0.0.1:9000',
      'audience https://cloud.example.com/v1',
      'bindings dpop, bearer (warning: a bearer token can be used by whoever holds it)',
      'methods GET, HEAD, POST, PUT, PATCH, DELETE',
      'proofs nonce off, single use: memory',
      'operations 16',
      '',
    ]);
  });

  it('exit 0, --json: the same for machines', async () => {
    const { code, text } = await run('config', 'check', '--json', write('good.yaml', CONFIG));
    expect(code).toBe(0);
    expect(JSON.parse(text)).toMatchObject({
      origin: 'https://cloud.example.com',
      policy: { entrypoint: 'sallyport/decision', revision: expect.stringMatching(/^sha256:/) },
      routes: [
        { name: 'projects', audience: 'https://cloud.example.com/v1', bindings: ['dpop', 'bearer'], operations: 16 },
      ],
    });
  });

  it('exit 1: every mistake in the file at once, with file, line, key and what to do', async () => {
    const { path_prefix: _, ...rest } = ROUTE;
    const config = stringify({ ...CONFIG, routes: [{ ...rest, path_prefx: '/v1' }] }).replace('port: 0', 'port: 99999');
    const { code, text, errors } = await run('config', 'check', write('typo.yaml', config));
    expect([code, text]).toEqual([1, '']);
    expect(errors.trim().split('\n')).toEqual([
      expect.stringMatching(/^typo\.yaml:5:\d+: listen\.port: .*65535/),
      expect.stringMatching(/^typo\.yaml:\d+:\d+: routes\[0\]\.path_prefix: is missing/),
      expect.stringMatching(
        /^typo\.yaml:\d+:\d+: routes\[0\]\.path_prefx: is not a known key; did you mean path_prefix\?/,
      ),
    ]);
  });

  const FAILING: readonly [name: string, config: () => Record<string, unknown> | string, errors: RegExp][] = [
    ['YAML that is none', () => 'version: [', /^broken\.yaml:1:11: is not valid YAML: .*end with a \]$/m],
    [
      'what no operator wants, with the way out',
      () => ({ ...CONFIG, processes: 2, listen: { address: '0.0.0.0' } }),
      /^broken\.yaml:\d+:\d+: processes: .*replay\.store: redis(.|\n)*: listen\.address: .*allow_plaintext/,
    ],
    [
      'files that are not there, each with its key',
      () => ({
        ...CONFIG,
        issuers: [{ issuer: 'https://as.example.com', jwks_file: 'keys.json' }],
        policy: { path: 'no_policies' },
        routes: [{ ...ROUTE, operations: 'none.yaml' }],
      }),
      /^broken\.yaml:\d+:\d+: issuers\[0\]\.jwks_file: there is no such file.*keys\.json(.|\n)*^broken\.yaml:\d+:\d+: policy\.path: there is no .*no_policies(.|\n)*^broken\.yaml:\d+:\d+: routes\[0\]\.operations: there is no .*none\.yaml/m,
    ],
    [
      'keys of an issuer that are none, and a token of the admin port that could be guessed',
      () => {
        writeFileSync(join(folder, 'empty.json'), '{"keys":[]}');
        writeFileSync(join(folder, 'admin.token'), 'short', { mode: 0o600 });
        const issuers = [{ issuer: 'https://as.example.com', jwks_file: 'empty.json' }];
        return { ...CONFIG, issuers, admin: { port: 0, api_token_file: 'admin.token' } };
      },
      /^broken\.yaml:\d+:\d+: admin\.api_token_file: .*of 32 to 4096(.|\n)*^broken\.yaml:\d+:\d+: issuers\[0\]\.jwks_file: .*no key/m,
    ],
    [
      'a certificate that is not there, of callers and of the admin port',
      () => {
        const tls = { certificate_file: 'none.crt', key_file: 'none.key' };
        return { ...CONFIG, listen: { port: 0, tls }, admin: { port: 0, tls } };
      },
      /: listen\.tls\.certificate_file: .*none\.crt cannot be read(.|\n)*: admin\.tls\.certificate_file: .*none\.crt cannot/,
    ],
    [
      'a policy that does not compile',
      () => {
        mkdirSync(join(folder, 'broken'), { recursive: true });
        writeFileSync(join(folder, 'broken/a.rego'), 'package sallyport\ndecision := {"allow": http.send({})}\n');
        return { ...CONFIG, policy: { path: 'broken' } };
      },
      /does not compile:\n +a\.rego:2:\d+: undefined function http\.send/,
    ],
  ];

  it.each(FAILING)('exit 1: %s', async (_, config, errors) => {
    const outcome = await run('config', 'check', write('broken.yaml', config()));
    expect([outcome.code, outcome.text]).toEqual([1, '']);
    expect(outcome.errors).toMatch(errors);
    expect(outcome.errors).not.toMatch(/^ +at /m);
  });
});

describe('sallyport config schema', { timeout: 60_000 }, () => {
  it('exit 0: a JSON Schema that editors can use, the same that is kept with the documentation', async () => {
    const { code, text, errors } = await run('config', 'schema');
    expect([code, errors]).toEqual([0, '']);
    const schema = JSON.parse(text) as { properties: Record<string, unknown>; $schema: string };
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(Object.keys(schema.properties)).toEqual(expect.arrayContaining(['version', 'issuers', 'routes', 'policy']));
  });
});

describe('sallyport gateway', { timeout: 60_000 }, () => {
  it('exit 1: a mistake in the file, before anything listens', async () => {
    const file = write('unknown.yaml', { ...CONFIG, isuers: [] });
    const { code, errors } = await run('gateway', '--config', file);
    expect([code, errors]).toEqual([1, expect.stringContaining('isuers: is not a known key; did you mean issuers?')]);
  });

  it('exit 1: a port that is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => other.once('listening', done));
    const port = (other.address() as AddressInfo).port;
    const { code, errors } = await run('gateway', '--config', write('taken.yaml', { ...CONFIG, listen: { port } }));
    other.close();
    expect(code).toBe(1);
    expect(errors).toMatch(new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use; stop the other`));
  });

  it('exit 2: no file named', async () => {
    const { code, errors } = await run('gateway');
    expect([code, errors]).toEqual([2, expect.stringContaining("required option '--config <file>'")]);
  });
});

describe('sallyport', { timeout: 60_000 }, () => {
  it.each([
    [['confg'], 2, /unknown command 'confg'\n\(Did you mean config\?\)/],
    [['config', 'check'], 2, /missing required argument 'file'/],
    [['config', 'check', '--jsn', 'a'], 2, /unknown option '--jsn'/],
  ])('exit 2: %j is wrong usage', async (argv, code, errors) => {
    const outcome = await run(...argv);
    expect([outcome.code, outcome.text]).toEqual([code, '']);
    expect(outcome.errors).toMatch(errors);
  });

  it('exit 0: --version and --help', async () => {
    expect(await run('--version')).toMatchObject({
      code: 0,
      text: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      errors: '',
    });
    const { code, text } = await run('--help');
    expect(code).toBe(0);
    for (const command of ['gateway', 'config', 'authserver', 'call', 'demo'])
      expect(text).toContain(`\n  ${command} `);
  });
});
