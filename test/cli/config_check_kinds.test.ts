import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { CheckFolder } from '../support/config_check.ts';

/** `sallyport config check FILE` tells by the keys of a file whose it is, also when something in it is wrong. */

const RESOURCE = 'https://cloud.example.com/v1';
const FILES = {
  gateway: {
    version: 1,
    issuers: [{ issuer: 'https://as.example.com' }],
    policy: { path: 'policies' },
    routes: [{ name: 'r', path_prefix: '/', resource: RESOURCE, upstream: { url: 'http://127.0.0.1:9' } }],
  },
  authserver: {
    version: 1,
    signing_keys_file: 'keys.json',
    clients: [{ client_id: 'ci', jwks_file: 'ci.json', resources: [RESOURCE], scopes: ['x'] }],
  },
  broker: {
    version: 1,
    authorization_server: { issuer: 'https://as.example.com' },
    workload_issuers: [{ preset: 'github', audience: 'https://broker.example.com' }],
    workflows_file: 'workflows.yaml',
    state_folder: 'state',
  },
  agent: {
    version: 1,
    authorization_server: { issuer: 'https://as.example.com', client_id: 'ci', private_key_file: 'ci.json' },
    apis: [{ name: 'cloud', url: RESOURCE, scopes: ['x'] }],
  },
} as const;
type Kind = keyof typeof FILES;
const KINDS = Object.keys(FILES) as Kind[];

/** A key that each file alone must have, and how it may be misspelt. */
const OWN = {
  gateway: ['routes', 'route'],
  authserver: ['signing_keys_file', 'signing_key_file'],
  broker: ['workflows_file', 'workflow_file'],
  agent: ['apis', 'api'],
} as const;

let folder: CheckFolder;
beforeAll(() => {
  folder = new CheckFolder();
});
afterAll(() => folder.remove());

/** Without some keys, and with others. */
function changed(kind: Kind, without: readonly string[], more: object = {}): Record<string, unknown> {
  const kept = Object.entries(FILES[kind]).filter(([key]) => !without.includes(key));
  return { ...Object.fromEntries(kept), ...more };
}

describe('whose file it is', { timeout: 60_000 }, () => {
  it.each(KINDS)('%s: an unknown key is one of this program: what it has is named', async (kind) => {
    const { code, text, errors } = await folder.check({ ...FILES[kind], entirely_different: 1 });
    expect([code, text]).toEqual([1, '']);
    expect(errors).toMatch(/^config\.yaml:\d+:1: entirely_different: is not a known key; expected one of version, /m);
    const [own] = OWN[kind];
    expect(errors.split('expected one of ')[1]?.split(', ')).toContain(own);
    expect(errors).not.toMatch(/is missing/);
  });

  it.each(KINDS)('%s: a misspelt key of its own, with the one that is meant', async (kind) => {
    const [own, misspelt] = OWN[kind];
    const { code, errors } = await folder.check(changed(kind, [own], { [misspelt]: (FILES[kind] as never)[own] }));
    expect(code).toBe(1);
    expect(errors).toMatch(
      new RegExp(`config\\.yaml:\\d+:\\d+: ${misspelt}: is not a known key; did you mean ${own}\\?`),
    );
    expect(errors).toMatch(new RegExp(`: ${own}: is missing`));
  });

  it.each(KINDS)('%s: a key of its own with a value that is none', async (kind) => {
    const [own] = OWN[kind];
    const { code, errors } = await folder.check(changed(kind, [own], { [own]: 7 }));
    expect([code, errors]).toEqual([
      1,
      expect.stringMatching(new RegExp(`^config\\.yaml:\\d+:\\d+: ${own}: expected`, 'm')),
    ]);
  });

  it.each(KINDS)('%s: what it must have is missing', async (kind) => {
    const [own] = OWN[kind];
    const { errors } = await folder.check(changed(kind, [own]));
    expect(errors).toMatch(new RegExp(`^config\\.yaml:1:1: ${own}: is missing`, 'm'));
  });

  it.each(KINDS.flatMap((kind) => KINDS.filter((other) => other !== kind).map((other) => [kind, other] as const)))(
    '%s with a key that only %s has: a mistake in the file of the first',
    async (kind, other) => {
      const [foreign] = OWN[other];
      const { code, errors } = await folder.check({ ...FILES[kind], [foreign]: (FILES[other] as never)[foreign] });
      expect([code, errors]).toEqual([
        1,
        expect.stringMatching(new RegExp(`^config\\.yaml:\\d+:1: ${foreign}: is not a known key`, 'm')),
      ]);
    },
  );

  it.each(KINDS)('%s: an environment variable that is not set', async (kind) => {
    const { errors } = await folder.check({ ...FILES[kind], version: ['$', '{SALLYPORT_NOT_SET}'].join('') });
    expect(errors).toMatch(/^config\.yaml:1:10: version: the environment variable "SALLYPORT_NOT_SET" is not set$/m);
  });

  it('JSON is YAML', async () => {
    const { errors } = await folder.check(JSON.stringify({ ...FILES.agent, apis: [] }));
    expect(errors).toMatch(/^config\.yaml:1:\d+: apis: /);
  });
});

describe('a file that is none of them, or could be several', { timeout: 60_000 }, () => {
  const LOOKED_FOR = KINDS.map((kind) => new RegExp(`^ {2}${kind} +.*\\b${OWN[kind][0]}\\b`, 'm'));
  it.each<[string, string, RegExp]>([
    ['empty', '', /^config\.yaml: is empty; expected the configuration of one program/],
    ['a comment', '# nothing yet\n', /is empty/],
    ['null', 'null\n', /is empty/],
    ['a list', '- version: 1\n', /holds a list/],
    ['a text', 'routes\n', /holds a string/],
    ['a number', '42\n', /holds a number/],
    ['the version alone', 'version: 1\n', /has no key that one program alone has/],
    ['an empty object', '{}\n', /has no key that one program alone has/],
    [
      'what several have',
      'version: 1\nlisten: { port: 0 }\nlog: { level: info }\n',
      /has no key that one program alone has/,
    ],
    ['keys of nobody', 'entirely_different: 1\nunheard_of: 1\n', /has no key that one program alone has/],
    ['a catalogue of operations', 'service: projects\noperations: []\n', /has no key that one program alone has/],
    ['wrapped in one key', stringify({ sallyport_settings: FILES.gateway }), /has no key that one program alone has/],
    [
      'two files in one',
      stringify({ ...FILES.gateway, ...FILES.authserver }),
      /has issuers \(gateway\).*signing_keys_file \(authserver\).*keys of several programs/,
    ],
    [
      'one key of each of two',
      'routes: []\napis: []\n',
      /has routes \(gateway\), apis \(agent\): keys of several programs/,
    ],
  ])('%s: exit 1, and what was looked for', async (_name, text, words) => {
    const { code, text: printed, errors } = await folder.check(text);
    expect([code, printed]).toEqual([1, '']);
    expect(errors).toMatch(words);
    for (const line of LOOKED_FOR) expect(errors).toMatch(line);
  });

  it.each<[string, string, RegExp]>([
    ['no YAML', 'routes: [', /^config\.yaml:1:10: is not valid YAML: /],
    ['a key twice', 'apis: []\napis: []\n', /^config\.yaml:2:1: is not valid YAML: .*unique/],
    ['tabs', 'routes:\n\t- a\n', /^config\.yaml:2:\d+: is not valid YAML: /],
    ['two documents', 'version: 1\n---\nversion: 1\n', /^config\.yaml:\d+:\d+: is not valid YAML: /],
    ['an alias to nothing', 'routes: *nowhere\n', /^config\.yaml:?.*: is not valid YAML: /],
    ['bytes of something else', '\u0000\u0001\u0002', /^config\.yaml: (holds a string|is empty)|not valid YAML/],
  ])('%s: exit 1, and where', async (_name, text, words) => {
    expect(await folder.check(text)).toMatchObject({
      code: 1,
      text: '',
      errors: expect.stringMatching(words) as string,
    });
  });

  it('no file, and a folder', async () => {
    mkdirSync(join(folder.path, 'folder'));
    expect(await folder.run('check', 'none.yaml')).toMatchObject({
      code: 1,
      errors: 'none.yaml: cannot be read: there is no such file\n',
    });
    expect((await folder.run('check', 'folder')).errors).toMatch(/^folder: cannot be read: .*EISDIR/);
  });

  it('the workflows of a broker: which file to check instead', async () => {
    const { code, errors } = await folder.check({ version: 1, workflows: [] });
    expect([code, errors]).toEqual([
      1,
      'config.yaml: is a file of workflows: check the file of the broker that names it (workflows_file)\n',
    ]);
  });

  it.each(KINDS)('--of %s says whose it is: then its own mistakes are told', async (kind) => {
    const { code, errors } = await folder.check('version: 1\n', '--of', kind);
    expect([code, errors]).toEqual([
      1,
      expect.stringMatching(new RegExp(`^config\\.yaml:1:1: ${OWN[kind][0]}: is missing`, 'm')),
    ]);
  });

  it('wrong usage is exit 2: no file, a program that is none', async () => {
    expect((await folder.run('check')).code).toBe(2);
    const { code, errors } = await folder.run('check', 'config.yaml', '--of', 'workflows');
    expect([code, errors]).toEqual([2, expect.stringContaining('gateway, authserver, broker, agent')]);
  });
});

describe('config schema --of', { timeout: 60_000 }, () => {
  it.each([...KINDS, 'workflows'] as const)(
    '%s: the JSON Schema for editors, as it is in docs/reference',
    async (of) => {
      const { code, text, errors } = await folder.run('schema', '--of', of);
      expect([code, errors]).toEqual([0, '']);
      const schema = JSON.parse(text) as { properties: object; additionalProperties: boolean };
      expect(schema.additionalProperties).toBe(false);
      expect(Object.keys(schema.properties)).toContain(of === 'workflows' ? 'workflows' : OWN[of][0]);
      const name = of === 'gateway' ? 'configuration' : of;
      const file = join(import.meta.dirname, `../../docs/reference/${name}.schema.json`);
      expect(text).toBe(readFileSync(file, 'utf8'));
    },
  );

  it('another word is exit 2, and the words that are known', async () => {
    const { code, errors } = await folder.run('schema', '--of', 'client');
    expect([code, errors]).toEqual([2, expect.stringContaining('gateway, authserver, broker, agent, workflows')]);
  });
});
