import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadGatewayConfig } from '../../src/config/load.ts';
import { ConfigError, nearest } from '../../src/config/problems.ts';

const MINIMAL = {
  version: 1,
  issuers: [{ issuer: 'https://as.example.com' }],
  policy: { path: 'policies' },
  routes: [
    {
      name: 'projects',
      path_prefix: '/v1',
      resource: 'https://cloud.example.com/v1',
      upstream: { url: 'http://127.0.0.1:9000' },
    },
  ],
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(text: string | object, environment: Record<string, string> = {}) {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(file, typeof text === 'string' ? text : stringify(text));
  return loadGatewayConfig(file, environment);
}

function problemsOf(text: string | object, environment: Record<string, string> = {}): string {
  try {
    load(text, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'no problem';
}

describe('the configuration of the gateway', () => {
  it('fills in the defaults of docs/reference/configuration.md', () => {
    const config = load(MINIMAL);
    expect(config.listen).toEqual({ address: '127.0.0.1', port: 8080, allow_plaintext: false, front_proxies: [] });
    expect(config.dpop).toEqual({
      algorithms: ['ES256', 'PS256', 'EdDSA'],
      max_age_seconds: 60,
      leeway_seconds: 10,
      nonce: 'off',
      nonce_lifetime_seconds: 300,
    });
    expect(config.replay.store).toBe('memory');
    expect(config.routes[0]?.bindings).toEqual(['dpop', 'mtls']);
    expect(config.audit).toEqual({ sinks: [{ type: 'stdout' }], on_failure: 'block' });
  });

  it('several processes do without Redis where each proof is for the one that gave its nonce', () => {
    const route = { ...MINIMAL.routes[0], replay: 'node_nonce' };
    const config = load({ ...MINIMAL, processes: 2, dpop: { nonce: 'required' }, routes: [route] });
    expect(config.routes[0]?.replay).toBe('node_nonce');
  });

  it('the secrets of nonces are files like any other', () => {
    const config = load({ ...MINIMAL, dpop: { nonce: 'required', nonce_secret_files: ['now', '/run/before'] } });
    expect(config.dpop.nonce_secret_files).toEqual([join(folder, 'now'), '/run/before']);
  });

  it('makes relative paths absolute, from the folder of the file', () => {
    const config = load({ ...MINIMAL, audit: { sinks: [{ type: 'file', path: 'records.jsonl' }] } });
    expect(config.policy.path).toBe(join(folder, 'policies'));
    expect(config.audit.sinks).toEqual([{ type: 'file', path: join(folder, 'records.jsonl') }]);
  });

  it('names file, line and the nearest known key for an unknown one', () => {
    expect(problemsOf({ ...MINIMAL, listen: { adress: 'x' } })).toMatch(
      /gateway\.yaml:\d+:3: listen\.adress: is not a known key; did you mean address\?$/,
    );
  });

  it('names the known keys when none is near', () => {
    expect(problemsOf({ ...MINIMAL, admin: { zzzzzzzz: 1 } })).toContain('expected one of address, port');
  });

  it('reports every problem at once', () => {
    const problems = problemsOf({ ...MINIMAL, version: 2, processes: 0, routes: [] }).split('\n');
    expect(problems).toHaveLength(3);
  });

  it('says that a key is missing, and where', () => {
    expect(problemsOf('version: 1\n')).toContain('issuers: is missing; expected array');
  });

  it('puts environment variables in place, as text or as the type that is expected', () => {
    const config = load(
      { ...MINIMAL, listen: { port: '${PORT}' }, public_origin: 'https://${HOST}' },
      { PORT: '0', HOST: 'c.example' },
    );
    expect(config.listen.port).toBe(0);
    expect(config.public_origin).toBe('https://c.example');
  });

  it('does not let an environment variable add structure', () => {
    expect(problemsOf({ ...MINIMAL, listen: { address: '${A}' } }, { A: '{ port: 1 }' })).toContain(
      'listen.address: plain HTTP is allowed on loopback only',
    );
  });

  it('refuses a variable that is not set, with its name and place', () => {
    expect(problemsOf({ ...MINIMAL, listen: { address: '${NOPE}' } })).toMatch(
      /:\d+:\d+: listen\.address: the environment variable "NOPE" is not set/,
    );
  });

  it('leaves $${ alone', () => {
    expect(
      load({ ...MINIMAL, replay: { store: 'redis', redis: { url: 'redis://h', key_prefix: '$${x}' } } }).replay.redis
        ?.key_prefix,
    ).toBe('${x}');
  });

  it.each([
    ['two keys of one name', 'version: 1\nversion: 1\n', 'Map keys must be unique'],
    ['broken YAML', 'version: [1\n', 'is not valid YAML'],
    ['a list at the top', '- 1\n', 'expected object'],
    ['nothing', '', 'expected object'],
  ])('refuses %s', (_, text, message) => {
    expect(problemsOf(text)).toContain(message);
  });

  it('a file that is not there', () => {
    expect(() => loadGatewayConfig(join(folder, 'none.yaml'), {})).toThrow(
      'none.yaml: cannot be read: there is no such file',
    );
  });

  it.each([
    ['memory with several processes', { processes: 2 }, 'more than one process needs replay.store: redis'],
    [
      'memory on one route with several processes',
      {
        processes: 2,
        routes: [{ ...MINIMAL.routes[0], replay: 'memory' }],
      },
      'more than one process needs replay.store: redis, or replay: node_nonce',
    ],
    [
      'node_nonce without nonces',
      { routes: [{ ...MINIMAL.routes[0], replay: 'node_nonce' }] },
      'routes[0].replay: node_nonce needs dpop_nonce: required',
    ],
    [
      'node_nonce on a route that waives nonces',
      { dpop: { nonce: 'required' }, routes: [{ ...MINIMAL.routes[0], replay: 'node_nonce', dpop_nonce: 'off' }] },
      'node_nonce needs dpop_nonce: required',
    ],
    ['a store that is not there', { routes: [{ ...MINIMAL.routes[0], replay: 'redis' }] }, 'replay.store is memory'],
    [
      'two ways of single use for what one proof may name',
      {
        routes: [
          { ...MINIMAL.routes[0], hosts: ['a.example'] },
          { ...MINIMAL.routes[0], name: 'other', hosts: ['b.example'], replay: 'window_only' },
        ],
      },
      'routes[1].replay: give it the same replay as route',
    ],
    ['nonces that live too short', { dpop: { nonce_lifetime_seconds: 9 } }, 'dpop.nonce_lifetime_seconds'],
    [
      'an issuer that waives nonces',
      { issuers: [{ issuer: 'https://a.example', dpop_nonce: 'off' }] },
      'issuers[0].dpop_nonce',
    ],
    ['redis without saying where', { replay: { store: 'redis' } }, 'replay.store is redis: say where it is'],
    [
      'two kinds of Redis',
      { replay: { store: 'redis', redis: { url: 'redis://h', cluster: [{ host: 'h' }] } } },
      'exactly one of url, sentinels and cluster',
    ],
    [
      'sentinels without a name',
      { replay: { store: 'redis', redis: { sentinels: [{ host: 'h' }] } } },
      'sentinels need the name',
    ],
    [
      'plain HTTP beyond loopback',
      { listen: { address: '0.0.0.0' }, public_origin: 'https://a.example' },
      'plain HTTP is allowed on loopback only',
    ],
    [
      'no origin beyond loopback',
      { listen: { address: '0.0.0.0', allow_plaintext: true } },
      'public_origin: set the origin',
    ],
    ['an origin with a path', { public_origin: 'https://a.example/x' }, 'expected an origin'],
    ['an origin with its default port', { public_origin: 'https://a.example:443' }, 'expected an origin'],
    ['keys over http', { issuers: [{ issuer: 'http://as.example' }] }, 'must come over https'],
    [
      'an issuer twice',
      { issuers: [{ issuer: 'https://as.example' }, { issuer: 'https://as.example' }] },
      'listed twice',
    ],
    [
      'two ways to the keys',
      { issuers: [{ issuer: 'https://as.example', jwks_uri: 'https://as.example/k', jwks_file: 'k' }] },
      'not both',
    ],
    ['HS256', { dpop: { algorithms: ['HS256'] } }, 'dpop.algorithms[0]'],
    ['none', { dpop: { algorithms: ['none'] } }, 'dpop.algorithms[0]'],
    ['CONNECT', { routes: [{ ...MINIMAL.routes[0], methods: ['CONNECT'] }] }, 'CONNECT is never forwarded'],
    ['lower-case methods', { routes: [{ ...MINIMAL.routes[0], methods: ['get'] }] }, 'upper-case'],
    ['routes of one name', { routes: [MINIMAL.routes[0], MINIMAL.routes[0]] }, 'used twice'],
    [
      'an upstream with a query',
      { routes: [{ ...MINIMAL.routes[0], upstream: { url: 'http://h/?x' } }] },
      'without user information, query or fragment',
    ],
    [
      'an upstream with a password',
      { routes: [{ ...MINIMAL.routes[0], upstream: { url: 'http://u:p@h/' } }] },
      'without user information',
    ],
  ])('refuses %s', (_, change, message) => {
    expect(problemsOf({ ...MINIMAL, ...change })).toContain(message);
  });

  it('property: any text gives a configuration or a ConfigError that names the file', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json().map(String)), (text) => {
        try {
          load(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
          expect((error as Error).message).toContain('gateway.yaml');
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('nearest', () => {
  it('finds the word that was meant', () => {
    expect(nearest('algoritms', ['algorithms', 'issuer'])).toBe('algorithms');
    expect(nearest('xyzzy', ['algorithms', 'issuer'])).toBeNull();
  });
});
