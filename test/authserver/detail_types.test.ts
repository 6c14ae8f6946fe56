import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { grantDetails, readDetails } from '../../src/authserver/authorization_details.ts';
import { loadDetailTypes } from '../../src/authserver/detail_types.ts';
import { requestToken, startTestServer } from './fixture.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-types-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const DATABASE = {
  type: 'object',
  additionalProperties: false,
  required: ['type', 'actions', 'database'],
  properties: {
    type: { const: 'database' },
    actions: { type: 'array', minItems: 1, items: { enum: ['select', 'insert'] } },
    database: { type: 'string', pattern: '^[a-z]+$' },
    schema_path: { type: 'string', 'x-covers': 'path' },
    rows: { type: 'integer', minimum: 0, 'x-covers': 'at_most' },
    options: { type: 'object' },
  },
};

function write(name: string, schema: unknown): string {
  const file = join(folder, name);
  writeFileSync(file, typeof schema === 'string' ? schema : JSON.stringify(schema));
  return file;
}

const types = () => loadDetailTypes([{ type: 'database', schema_file: write('database.json', DATABASE) }]);
const item = (changes: Record<string, unknown> = {}) => ({
  type: 'database',
  actions: ['select'],
  database: 'orders',
  ...changes,
});

it('every type that a catalogue of the product asks for comes with the product, and takes what the catalogue names', () => {
  const catalogs = resolve(import.meta.dirname, '../../catalogs');
  const asked = readdirSync(catalogs)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => (parse(readFileSync(join(catalogs, name), 'utf8')) as Catalogue).operations)
    .flatMap(({ name, authorization_details: about }) => (about === undefined ? [] : [{ name, type: about.type }]));
  const names = [...new Set(asked.map(({ type }) => type))];
  expect(names.sort()).toEqual(['cloud_api', 'kubernetes_api', 's3_api']);
  const shipped = loadDetailTypes(names.map((type) => ({ type })));
  const problems = asked.map(({ name, type }) =>
    shipped.get(type)?.problemOf({ type, actions: [name], identifier: 'a/b' }),
  );
  expect(new Set(problems)).toEqual(new Set([null]));
});

interface Catalogue {
  readonly operations: readonly { readonly name: string; readonly authorization_details?: { readonly type: string } }[];
}

describe('RFC 9396 §5: a type of one own, by its JSON Schema', () => {
  it('takes what the schema allows, and refuses everything else', () => {
    const read = (value: unknown) => readDetails(JSON.stringify([value]), types()).ok;
    expect(read(item({ rows: 5, schema_path: 'a/b', options: { x: 1 } }))).toBe(true);
    for (const wrong of [
      { type: 'cloud_api', actions: ['a'], identifier: 'p' },
      item({ unknown: 1 }),
      item({ actions: ['drop'] }),
      item({ actions: [] }),
      item({ database: 'Orders' }),
      item({ rows: '5' }),
      item({ rows: -1 }),
      { type: 'database', actions: ['select'] },
    ])
      expect(read(wrong)).toBe(false);
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>, boolean]>([
    ['fewer actions', { actions: ['select', 'insert'] }, { actions: ['insert'] }, true],
    ['one action more', {}, { actions: ['select', 'insert'] }, false],
    ['another database', {}, { database: 'users' }, false],
    ['below the path', { schema_path: 'a' }, { schema_path: 'a/b' }, true],
    ['beside the path', { schema_path: 'a' }, { schema_path: 'ab' }, false],
    ['no path where there is one', { schema_path: 'a' }, {}, false],
    ['a path where there is none', {}, { schema_path: 'a' }, true],
    ['fewer rows', { rows: 10 }, { rows: 10 }, true],
    ['more rows', { rows: 10 }, { rows: 11 }, false],
    ['any number of rows', { rows: 10 }, {}, false],
    ['the same options in another order', { options: { a: 1, b: [2] } }, { options: { b: [2], a: 1 } }, true],
    ['options with one more', { options: { a: 1 } }, { options: { a: 1, b: 2 } }, false],
  ])('covers: %s', (_what, ceiling, asked, covered) => {
    expect(grantDetails(types(), [item(ceiling)], [item(asked)])).toHaveLength(covered ? 1 : 0);
  });

  it('an item covers itself, whatever it is', () => {
    const loaded = types();
    const any = fc.record(
      {
        actions: fc.uniqueArray(fc.constantFrom('select', 'insert'), { minLength: 1 }),
        database: fc.stringMatching(/^[a-z]+$/),
        schema_path: fc.string({ minLength: 1 }),
        rows: fc.nat(),
        options: fc.dictionary(fc.string(), fc.jsonValue()),
      },
      { requiredKeys: ['actions', 'database'] },
    );
    fc.assert(
      fc.property(any, (members) => {
        const one = item(JSON.parse(JSON.stringify(members)) as Record<string, unknown>);
        expect(grantDetails(loaded, [one], [one])).toHaveLength(1);
      }),
    );
  });
});

describe('types that come with the product', () => {
  it.each([
    ['cloud_api', { actions: ['builds.create'], identifier: 'projects/p1' }],
    ['object_store', { actions: ['objects.get'], bucket: 'artefacts', key_path: 'a/b', max_object_bytes: 5 }],
    ['kubernetes', { actions: ['get'], resources: ['deployments.apps'], namespaces: ['web'] }],
  ])('%s', (type, members) => {
    const loaded = loadDetailTypes([{ type }]);
    expect(readDetails(JSON.stringify([{ type, ...members }]), loaded).ok).toBe(true);
    expect(readDetails(JSON.stringify([{ type, ...members, more: 1 }]), loaded).ok).toBe(false);
  });
});

describe('schemas that cannot be used', () => {
  it.each<[string, unknown, string]>([
    ['no JSON', '{', 'expected a JSON Schema'],
    ['no schema', { ...DATABASE, required: 'type' }, 'is not a JSON Schema'],
    ['unknown fields let through', { ...DATABASE, additionalProperties: true }, 'additionalProperties: false'],
    ['nothing said of unknown fields', { ...DATABASE, additionalProperties: undefined }, 'additionalProperties: false'],
    ['of another type', { ...DATABASE, properties: { type: { const: 'x' } } }, 'properties.type.const: database'],
    [
      'an unknown way to cover',
      { ...DATABASE, properties: { ...DATABASE.properties, rows: { type: 'integer', 'x-covers': 'less' } } },
      'is not a JSON Schema',
    ],
    ['an unknown keyword', { ...DATABASE, requird: [] }, 'is not a JSON Schema'],
  ])('%s: an error that names the file', (what, schema, words) => {
    const file = write(`${what.replaceAll(' ', '-')}.json`, schema);
    const load = () => loadDetailTypes([{ type: 'database', schema_file: file }]);
    expect(load).toThrow(words);
    expect(load).toThrow(file);
  });

  it('a type that has none, and a file that is not there', () => {
    expect(() => loadDetailTypes([{ type: 'payment' }])).toThrow('name one with schema_file');
    expect(() => loadDetailTypes([{ type: 'payment', schema_file: join(folder, 'none.json') }])).toThrow(
      'cannot be read',
    );
  });
});

describe('a server with types of its own', () => {
  it('names them in its metadata, grants them, and checks what clients may have', async () => {
    const server = {
      authorization_details_types: [
        { type: 'cloud_api' },
        { type: 'database', schema_file: write('d.json', DATABASE) },
      ],
    };
    const ceiling = [item({ rows: 10 })];
    const own = await startTestServer({ authorization_details: ceiling }, { server });
    const metadata = await (await fetch(`${own.address}/.well-known/oauth-authorization-server`)).json();
    const asked = [item({ rows: 5 })];
    const answer = await requestToken(own, { parameters: { authorization_details: JSON.stringify(asked) } });
    await own.close();
    expect(metadata).toMatchObject({ authorization_details_types_supported: ['cloud_api', 'database'] });
    expect(answer.body['authorization_details']).toEqual(asked);
    const wrong = { authorization_details: [item({ database: 'X' })] };
    await expect(startTestServer(wrong, { server })).rejects.toThrow('clients[0].authorization_details[0]');
  });
});
