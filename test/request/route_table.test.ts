import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Route } from '../../src/kernel/context.ts';
import { createRouteTable, isAuthority } from '../../src/request/route_table.ts';
import { makeRoute } from './fixtures.ts';

const tableOf = (...routes: Partial<Route>[]) =>
  createRouteTable(routes.map((changes) => ({ route: makeRoute(changes), operations: null })));

/** Name of the route for an authority and a path. */
function nameOf(table: ReturnType<typeof tableOf>, authority: string, path: string): string | null | undefined {
  const hostRoutes = table.find(authority);
  if (hostRoutes === undefined) return undefined;
  return hostRoutes.match(path.slice(1).split('/'))?.route.name ?? null;
}

describe('the longest prefix, by whole segments', () => {
  const table = tableOf(
    { name: 'v1', pathPrefix: '/v1' },
    { name: 'projects', pathPrefix: '/v1/projects' },
    { name: 'secrets', pathPrefix: '/v1/projects/p1/secrets' },
    { name: 'slash', pathPrefix: '/v2/' },
  );
  it.each([
    ['/v1', 'v1'],
    ['/v1/', 'v1'],
    ['/v1/x', 'v1'],
    ['/v1/project', 'v1'],
    ['/v1/projectsx', 'v1'],
    ['/v1/projects', 'projects'],
    ['/v1/projects/', 'projects'],
    ['/v1/projects/p1', 'projects'],
    ['/v1/projects/p1/secret', 'projects'],
    ['/v1/projects/p1/secrets', 'secrets'],
    ['/v1/projects/p1/secrets/s/t', 'secrets'],
    ['/v1/projects/p2/secrets', 'projects'],
    ['/v1/Projects', 'v1'],
    ['/v2', 'slash'],
    ['/v2/x', 'slash'],
    ['/v11', null],
    ['/v', null],
    ['/', null],
    ['/V1', null],
    ['/x/v1', null],
    ['/__proto__', null],
  ])('%s: %s', (path, name) => {
    expect(nameOf(table, 'cloud.example.com', path)).toBe(name);
  });

  it('the prefix / takes what nothing else takes', () => {
    const withRoot = tableOf({ name: 'root', pathPrefix: '/' }, { name: 'v1', pathPrefix: '/v1' });
    expect(nameOf(withRoot, 'cloud.example.com', '/')).toBe('root');
    expect(nameOf(withRoot, 'cloud.example.com', '/v11')).toBe('root');
    expect(nameOf(withRoot, 'cloud.example.com', '/v1/x')).toBe('v1');
  });

  it('equals a search through all routes', () => {
    const segment = fc.constantFrom('a', 'b', 'ab', '');
    const prefix = fc.array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 });
    fc.assert(
      fc.property(
        fc.uniqueArray(prefix, { maxLength: 8, selector: (parts) => parts.join('/') }),
        fc.array(segment, { minLength: 1, maxLength: 5 }),
        (prefixes, segments) => {
          const routes = prefixes.map((parts, index) => ({ name: `r${index}`, pathPrefix: `/${parts.join('/')}` }));
          const naive = prefixes
            .map((parts, index) => ({ parts, name: `r${index}` }))
            .filter(({ parts }) => parts.every((part, index) => segments[index] === part))
            .sort((left, right) => right.parts.length - left.parts.length)[0];
          const table = tableOf(...routes, { name: 'other', hosts: ['other.example.com'] });
          const found = nameOf(table, 'cloud.example.com', `/${segments.join('/')}`);
          expect(found ?? null).toBe(naive?.name ?? null);
        },
      ),
    );
  });
});

describe('RFC 9110 §7.2: the authority', () => {
  it.each<[string, string[], string, boolean]>([
    ['https://cloud.example.com', ['cloud.example.com'], 'cloud.example.com', true],
    ['https://cloud.example.com', ['cloud.example.com'], 'cloud.example.com:443', true],
    ['https://cloud.example.com', ['cloud.example.com'], 'cloud.example.com:80', false],
    ['https://cloud.example.com', ['cloud.example.com'], 'cloud.example.com:8443', false],
    ['http://cloud.example.com', ['cloud.example.com'], 'cloud.example.com:80', true],
    ['http://127.0.0.1:8080', ['127.0.0.1'], '127.0.0.1:8080', true],
    ['http://127.0.0.1:8080', ['127.0.0.1'], '127.0.0.1', true],
    ['http://127.0.0.1:8080', ['127.0.0.1'], '127.0.0.1:80', false],
    ['http://127.0.0.1:8080', ['127.0.0.1', 'localhost'], 'localhost:8080', true],
    ['http://[::1]:8080', ['[::1]'], '[::1]:8080', true],
    ['http://[::1]:8080', ['[::1]'], '[::1]', true],
    ['https://cloud.example.com', ['Cloud.Example.COM'], 'cloud.example.com', true],
    ['https://cloud.example.com', ['api.example.com:9443'], 'api.example.com:9443', true],
    ['https://cloud.example.com', ['api.example.com:9443'], 'api.example.com', false],
    ['https://cloud.example.com', ['api.example.com:9443'], 'api.example.com:443', false],
    ['https://cloud.example.com', ['api.example.com:443'], 'api.example.com', true],
    ['https://cloud.example.com', ['cloud.example.com'], 'evil.example.com', false],
    ['https://cloud.example.com', ['cloud.example.com'], 'xcloud.example.com', false],
    ['https://cloud.example.com', ['cloud.example.com'], 'cloud.example.com.evil', false],
    ['https://cloud.example.com', ['cloud.example.com'], '', false],
    ['https://cloud.example.com', ['cloud.example.com'], '__proto__', false],
  ])('origin %s, hosts %j: %s is ours: %s', (origin, hosts, authority, ours) => {
    expect(tableOf({ origin, hosts }).find(authority) !== undefined).toBe(ours);
  });

  it('takes any port of a host that is listed with :*', () => {
    const table = tableOf({ hosts: ['gateway.internal:*'] });
    for (const authority of ['gateway.internal', 'gateway.internal:8080', 'gateway.internal:443']) {
      expect(table.find(authority)?.host).toBe('gateway.internal');
    }
    expect(table.find('other.internal:8080')).toBeUndefined();
    expect(table.find('gateway.internal:*')).toBeUndefined();
    expect(table.find('gateway.internal:x')).toBeUndefined();
  });

  it('routes of any port stand beside those of one port', () => {
    const table = tableOf(
      { name: 'any', hosts: ['a.example.com:*'], pathPrefix: '/v1' },
      { name: 'one', hosts: ['a.example.com:9443'], pathPrefix: '/v2' },
    );
    expect(nameOf(table, 'a.example.com:9443', '/v1')).toBe('any');
    expect(nameOf(table, 'a.example.com:9443', '/v2')).toBe('one');
    expect(nameOf(table, 'a.example.com:1', '/v1')).toBe('any');
    expect(nameOf(table, 'a.example.com:1', '/v2')).toBeNull();
  });

  it('gives the host without port, and the scheme of the origin', () => {
    const table = tableOf({ origin: 'http://127.0.0.1:8080', hosts: ['127.0.0.1', '[::1]'] });
    expect(table.find('127.0.0.1:8080')).toMatchObject({ host: '127.0.0.1', scheme: 'http' });
    expect(table.find('[::1]:8080')).toMatchObject({ host: '[::1]', scheme: 'http' });
  });

  it('keeps the routes of two hosts apart', () => {
    const table = tableOf(
      { name: 'a', hosts: ['a.example.com'], pathPrefix: '/v1' },
      { name: 'b', hosts: ['b.example.com'], pathPrefix: '/v1' },
      { name: 'both', hosts: ['a.example.com', 'b.example.com'], pathPrefix: '/v2' },
    );
    expect(nameOf(table, 'a.example.com', '/v1')).toBe('a');
    expect(nameOf(table, 'b.example.com', '/v1')).toBe('b');
    expect(nameOf(table, 'a.example.com', '/v2')).toBe('both');
    expect(nameOf(table, 'b.example.com', '/v2')).toBe('both');
  });

  it.each([
    ['a', true],
    ['a.b-c_d.e', true],
    ['a:1', true],
    ['a:65535', true],
    ['127.0.0.1', true],
    ['[::1]', true],
    ['[2001:db8::1]:8080', true],
    ['', false],
    [' ', false],
    ['a b', false],
    ['a,b', false],
    ['a, a', false],
    ['a:', false],
    ['a:x', false],
    ['a:1:2', false],
    ['a:123456', false],
    ['a:-1', false],
    [':80', false],
    ['a/b', false],
    ['a?b', false],
    ['a#b', false],
    ['a@b', false],
    ['user:pw@a', false],
    ['a\\b', false],
    ['a.', false],
    ['.a', false],
    ['-a', false],
    ['*', false],
    ['%61', false],
    ['a\u00e9', false],
    ['::1', false],
    ['[::1', false],
    ['[::1]x', false],
    ['[fe80::1%25eth0]', false],
    ['http://a', false],
  ])('a Host of %j is well-formed: %s', (text, expected) => {
    expect(isAuthority(text)).toBe(expected);
  });
});

describe('configuration errors', () => {
  it.each<[string, Partial<Route>[], RegExp]>([
    ['two routes at one place', [{ name: 'a' }, { name: 'b' }], /routes a and b have the same path_prefix/],
    [
      'a trailing slash is the same place',
      [{ name: 'a' }, { name: 'b', pathPrefix: '/v1/projects/' }],
      /same path_prefix/,
    ],
    ['a host with a path', [{ name: 'a', hosts: ['a.example.com/x'] }], /route a: "a\.example\.com\/x" is not a host/],
    [
      'two routes at one place, one of them on any port',
      [{ name: 'a' }, { name: 'b', hosts: ['cloud.example.com:*'] }],
      /same path_prefix/,
    ],
    ['a port and any port', [{ name: 'a', hosts: ['a.example.com:1:*'] }], /not a host name/],
    ['a wildcard', [{ name: 'a', hosts: ['*.example.com'] }], /not a host name/],
    ['an encoded prefix', [{ name: 'a', pathPrefix: '/v1/%70' }], /route a: path_prefix .* once decoded/],
    ['a dot segment', [{ name: 'a', pathPrefix: '/v1/../x' }], /once decoded/],
  ])('%s', (_, routes, message) => {
    expect(() => tableOf(...routes)).toThrow(message);
  });

  it('one route may name a host twice', () => {
    const table = tableOf({ hosts: ['a.example.com', 'A.example.com:443', 'a.example.com:*'] });
    expect(nameOf(table, 'a.example.com', '/v1/projects')).toBe('projects');
  });
});
