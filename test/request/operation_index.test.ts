import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCatalogue } from '../../src/config/catalogue.ts';
import { createOperationIndex } from '../../src/request/operation_index.ts';

interface Entry {
  name?: string;
  request: string;
  resource?: string;
}

function indexOf(...entries: Entry[]) {
  const operations = entries.map((entry, index) => ({ name: `op${index}`, resource: 'r', access: 'read', ...entry }));
  return createOperationIndex(parseCatalogue({ service: 'cloud', operations }));
}

const segmentsOf = (path: string) => path.slice(1).split('/');

describe('the operation of a request', () => {
  const index = createOperationIndex(
    parseCatalogue({
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
        {
          name: 'builds.get',
          request: 'GET /v1/projects/{project}/builds/{build}',
          resource: 'projects/{project}/builds/{build}',
          access: 'read',
        },
        { name: 'projects.list', request: 'GET /v1/projects', resource: 'projects', access: 'read' },
        { name: 'root.get', request: 'GET /', resource: 'root', access: 'read' },
        { name: 'things.list', request: 'GET /v1/things/', resource: 'things', access: 'read' },
      ],
    }),
  );

  it('carries everything the policy sees', () => {
    expect(index.find('POST', ['v1', 'projects', 'p1', 'builds'])).toEqual({
      service: 'projects',
      name: 'builds.create',
      resource: 'projects/p1/builds',
      params: { project: 'p1' },
      access: 'write',
      scopes: ['builds:write'],
      authorizationDetailsType: 'cloud_api',
    });
    expect(index.find('GET', ['v1', 'projects'])).toEqual({
      service: 'projects',
      name: 'projects.list',
      resource: 'projects',
      params: {},
      access: 'read',
      scopes: [],
      authorizationDetailsType: null,
    });
  });

  it.each<[string, string, string | null]>([
    ['GET', '/v1/projects/p1/builds/b1', 'builds.get'],
    ['GET', '/', 'root.get'],
    ['GET', '/v1/things/', 'things.list'],
    ['GET', '/v1/things', null],
    ['GET', '/v1/projects/', null],
    ['GET', '/v1/projects/p1/builds', null],
    ['GET', '/v1/projects/p1/builds/', null],
    ['GET', '/v1/projects//builds/b1', null],
    ['GET', '/v1/projects/p1/builds/b1/x', null],
    ['GET', '/v1/Projects', null],
    ['POST', '/v1/projects', null],
    ['DELETE', '/v1/projects', null],
    ['get', '/v1/projects', null],
    ['', '/v1/projects', null],
    ['__proto__', '/v1/projects', null],
    ['GET', '/__proto__', null],
  ])('%s %s: %s', (method, path, name) => {
    expect(index.find(method, segmentsOf(path))?.name ?? null).toBe(name);
  });

  it('RFC 9110 §9.3.2: HEAD means what GET means, unless it is listed itself', () => {
    expect(index.find('HEAD', ['v1', 'projects'])?.name).toBe('projects.list');
    expect(index.find('HEAD', ['v1', 'projects', 'p1', 'builds'])).toBeNull();
    const listed = indexOf({ name: 'get', request: 'GET /a' }, { name: 'head', request: 'HEAD /a' });
    expect(listed.find('HEAD', ['a'])?.name).toBe('head');
    const ambiguous = indexOf({ request: 'GET /a' }, { request: 'HEAD /{x}' }, { request: 'HEAD /a' });
    expect(ambiguous.find('HEAD', ['a'])).toBeNull();
  });

  it('is null when two entries match: a literal does not win over a param', () => {
    const both = indexOf(
      { name: 'get', request: 'GET /v1/builds/{build}' },
      { name: 'latest', request: 'GET /v1/builds/latest' },
      { name: 'a', request: 'GET /v2/{x}/y' },
      { name: 'b', request: 'GET /v2/x/{y}' },
    );
    expect(both.find('GET', segmentsOf('/v1/builds/latest'))).toBeNull();
    expect(both.find('GET', segmentsOf('/v1/builds/b1'))?.name).toBe('get');
    expect(both.find('GET', segmentsOf('/v2/x/y'))).toBeNull();
    expect(both.find('GET', segmentsOf('/v2/x/z'))?.name).toBe('b');
    expect(both.find('GET', segmentsOf('/v2/w/y'))?.name).toBe('a');
  });

  it('a literal branch that leads nowhere does not hide the param', () => {
    const index = indexOf({ name: 'deep', request: 'GET /a/b/c' }, { name: 'param', request: 'GET /a/{x}/d' });
    expect(index.find('GET', ['a', 'b', 'd'])).toMatchObject({ name: 'param', params: { x: 'b' } });
  });
});

describe('the resource of an operation', () => {
  const index = indexOf({
    request: 'GET /v1/projects/{project}/secrets/{secret}',
    resource: 'projects/{project}/secrets/{secret}',
  });
  const resourceOf = (project: string, secret: string) =>
    index.find('GET', ['v1', 'projects', project, 'secrets', secret])?.resource;

  it.each([
    ['p1', 's1', 'projects/p1/secrets/s1'],
    ['p1/secrets/s1', 'x', 'projects/p1%2Fsecrets%2Fs1/secrets/x'],
    ['p1%2Fx', 'x', 'projects/p1%252Fx/secrets/x'],
    ['a b', 'é€', 'projects/a b/secrets/é€'],
    ['..', '.', 'projects/../secrets/.'],
    ['{secret}', '$&', 'projects/{secret}/secrets/$&'],
  ])('project %s, secret %s: %s', (project, secret, resource) => {
    expect(resourceOf(project, secret)).toBe(resource);
  });

  it('params are as decoded', () => {
    expect(index.find('GET', ['v1', 'projects', 'a/b', 'secrets', '%'])?.params).toEqual({
      project: 'a/b',
      secret: '%',
    });
  });

  it('no value adds or removes a segment, and no two requests have one resource', () => {
    const value = fc.string({
      unit: fc.constantFrom('a', '/', '%', '2F', '2f', '%2F', '.', 'é'),
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(value, value, value, value, (p1, s1, p2, s2) => {
        const first = resourceOf(p1, s1);
        const second = resourceOf(p2, s2);
        expect(first?.split('/')).toHaveLength(4);
        expect(first === second).toBe(p1 === p2 && s1 === s2);
      }),
      { numRuns: 2000 },
    );
  });

  it('a param with the name of an object member is an ordinary one', () => {
    const odd = indexOf({ request: 'GET /{constructor}/{to_string}', resource: '{constructor}' });
    const found = odd.find('GET', ['x', 'y']);
    expect('toString' in (found?.params ?? {})).toBe(false);
    expect('__proto__' in (found?.params ?? {})).toBe(false);
    expect(found?.resource).toBe('x');
  });
});

/** What the index must equal: every template compared, one by one. */
function naive(templates: readonly string[][], segments: readonly string[]): number | null {
  const matches = templates.flatMap((template, index) => {
    const same = template.length === segments.length;
    const all = template.every((part, at) => (part.startsWith('{') ? segments[at] !== '' : part === segments[at]));
    return same && all ? [index] : [];
  });
  return matches.length === 1 ? (matches[0] as number) : null;
}

describe('the index', () => {
  it('equals a search through all templates', () => {
    const part = fc.constantFrom('a', 'b', 'c', '{}');
    const template = fc
      .array(part, { minLength: 1, maxLength: 4 })
      .map((parts) => parts.map((text, at) => (text === '{}' ? `{p${at}}` : text)));
    const templates = fc.uniqueArray(template, { minLength: 1, maxLength: 12, selector: (parts) => parts.join('/') });
    const segments = fc.array(fc.constantFrom('a', 'b', 'c', 'd', ''), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(templates, fc.array(segments, { minLength: 1, maxLength: 10 }), (chosen, paths) => {
        const index = indexOf(...chosen.map((parts) => ({ request: `GET /${parts.join('/')}` })));
        for (const path of paths) {
          const expected = naive(chosen, path);
          expect(index.find('GET', path)?.name ?? null).toBe(expected === null ? null : `op${expected}`);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('finds each of 10,000 operations', () => {
    const entries = Array.from({ length: 10_000 }, (_, at) => ({
      name: `op${at}`,
      request: `GET /v1/s${at % 100}/{a}/k${Math.floor(at / 100)}/{b}`,
    }));
    const index = indexOf(...entries);
    for (let at = 0; at < 10_000; at += 37) {
      const path = ['v1', `s${at % 100}`, 'x', `k${Math.floor(at / 100)}`, 'y'];
      expect(index.find('GET', path)?.name).toBe(`op${at}`);
    }
    expect(index.find('GET', ['v1', 's1', 'x', 'k100', 'y'])).toBeNull();
  });

  it('stands a path of 4,000 segments', () => {
    expect(
      indexOf({ request: 'GET /{a}/{b}' }).find(
        'GET',
        Array.from({ length: 4000 }, () => 'a'),
      ),
    ).toBeNull();
  });
});
