import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadCatalogue, parseCatalogue } from '../../src/config/catalogue.ts';
import { ConfigError } from '../../src/config/problems.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-catalogue-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Every problem of a catalogue, as the user reads it, without the folder. */
function problemsOf(text: string): string {
  const file = join(folder, 'catalogue.yaml');
  writeFileSync(file, text);
  try {
    loadCatalogue(file);
    return '';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.replaceAll(`${folder}/`, '');
  }
}

const entry = (lines: string) => `service: projects\noperations:\n  - name: builds.get\n    access: read\n${lines}`;

describe('the operation catalogue', () => {
  it('reads the entry of the documentation', () => {
    const catalogue = parseCatalogue({
      service: 'projects',
      operations: [
        {
          name: 'builds.create',
          request: 'POST /v1/projects/{project}/builds',
          resource: 'projects/{project}/builds',
          access: 'write',
          scopes: ['builds:write'],
          authorization_details: { type: 'cloud_api' },
        },
      ],
    });
    expect(catalogue.operations).toEqual([
      {
        service: 'projects',
        name: 'builds.create',
        method: 'POST',
        path: [{ literal: 'v1' }, { literal: 'projects' }, { param: 'project' }, { literal: 'builds' }],
        condition: null,
        resource: [{ literal: 'projects' }, { param: 'project' }, { literal: 'builds' }],
        access: 'write',
        scopes: ['builds:write'],
        authorizationDetailsType: 'cloud_api',
      },
    ]);
  });

  it('scopes and authorization_details may be left out', () => {
    const operations = [{ name: 'root', request: 'GET /', resource: 'root', access: 'read' }];
    expect(parseCatalogue({ service: 'x', operations }).operations[0]).toMatchObject({
      path: [{ literal: '' }],
      scopes: [],
      authorizationDetailsType: null,
    });
  });

  it('the catalogue of the demo cloud is valid, and every operation in it asks for a scope and for details', () => {
    const { operations } = loadCatalogue(resolve(import.meta.dirname, '../../catalogs/demo_cloud.yaml'));
    expect(operations.length).toBeGreaterThan(10);
    for (const operation of operations) {
      expect(operation.scopes).toHaveLength(1);
      expect(operation.authorizationDetailsType).toBe('cloud_api');
    }
  });

  it.each<[string, string, RegExp]>([
    ['no method', 'request: /v1/x\n    resource: x', /expected a method in upper case/],
    ['lower-case method', 'request: get /v1/x\n    resource: x', /expected a method in upper case/],
    ['two spaces', 'request: GET  /v1/x\n    resource: x', /expected a method in upper case/],
    ['relative path', 'request: GET v1/x\n    resource: x', /expected a method in upper case/],
    ['CONNECT', 'request: CONNECT /x\n    resource: x', /CONNECT is never forwarded/],
    ['TRACE', 'request: TRACE /x\n    resource: x', /TRACE is never forwarded/],
    ['empty segment', 'request: GET /v1//x\n    resource: x', /has an empty segment/],
    ['two trailing slashes', 'request: GET /v1//\n    resource: x', /has an empty segment/],
    ['encoded segment', 'request: GET /v1/%70\n    resource: x', /%70: a segment is written as it reads once decoded/],
    ['query', 'request: GET /v1/x?a=b\n    resource: x', /x\?a=b: a segment is written/],
    ['dot segment', 'request: GET /v1/../x\n    resource: x', /\.\.: a segment is written/],
    [
      'name in a part of a segment',
      'request: "GET /v1/{x}:stop"\n    resource: x',
      /\{x\}:stop: a name in braces is a whole/,
    ],
    ['name in upper case', 'request: "GET /v1/{Project}"\n    resource: x', /\{Project\}: a name in braces/],
    ['open brace', 'request: "GET /v1/{project"\n    resource: x', /a name in braces/],
    ['empty name', 'request: "GET /v1/{}"\n    resource: x', /a name in braces/],
    ['name twice', 'request: "GET /v1/{x}/{x}"\n    resource: x', /\{x\} stands twice/],
    ['too many segments', `request: GET /${'a/'.repeat(65)}b\n    resource: x`, /more than 64 segments/],
  ])('%s', (_, lines, message) => {
    const problems = problemsOf(entry(`    ${lines}\n`));
    expect(problems).toMatch(message);
    expect(problems).toMatch(/^catalogue\.yaml:5:\d+: operations\[0\]\.request: /);
  });

  it.each<[string, string, RegExp]>([
    ['unknown name', '"projects/{p}"', /\{p\} is not in the request/],
    ['leading slash', '/projects', /has an empty segment/],
    ['empty', '""', /has an empty segment/],
    ['trailing slash', 'projects/', /has an empty segment/],
    ['dot segment', 'projects/..', /a segment is written/],
    ['space', 'my projects', /a segment is written/],
  ])('resource: %s', (_, resource, message) => {
    const problems = problemsOf(entry(`    request: "GET /v1/{project}"\n    resource: ${resource}\n`));
    expect(problems).toMatch(message);
    expect(problems).toMatch(/^catalogue\.yaml:6:\d+: operations\[0\]\.resource: /);
  });

  it('two entries with the same method and path are an error that names both, whatever their params are called', () => {
    const first = '    request: "GET /v1/{project}/x"\n    resource: x\n';
    const second = '  - { name: b, access: read, resource: y, request: "GET /v1/{id}/x" }\n';
    const problems = problemsOf(entry(first + second));
    expect(problems).toMatch(
      /^catalogue\.yaml:7:\d+: operations\[1\]\.request: operations\[0\] has the same method, path and conditions/,
    );
    expect(problemsOf(entry(first + second.replace('GET', 'POST')))).toBe('');
    expect(problemsOf(entry(first + second.replace('{id}', 'x')))).toBe('');
    expect(problemsOf(entry(first + second.replace('/x"', '/x/"')))).toBe('');
  });

  it('tells every problem at once', () => {
    const problems = problemsOf(entry('    request: GET\n    resource: x\n    scope: [x]\n')).split('\n');
    expect(problems).toContainEqual(
      expect.stringMatching(/operations\[0\]\.scope: is not a known key; did you mean scopes\?/),
    );
  });

  it.each([
    ['name', 'a b'],
    ['name', 'a\nb'],
    ['name', ''],
    ['name', 'é'],
    ['access', 'root'],
    ['scopes', ['a b']],
    ['scopes', ['a"b']],
    ['scopes', 'a'],
    ['authorization_details', {}],
    ['authorization_details', { type: 'x', actions: [] }],
  ])('refuses %s: %j', (key, value) => {
    const operation = { name: 'a', request: 'GET /', resource: 'r', access: 'read', [key]: value };
    expect(() => parseCatalogue({ service: 'x', operations: [operation] })).toThrow(key);
  });
});
