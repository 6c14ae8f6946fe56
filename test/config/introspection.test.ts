import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ZodError } from 'zod';
import { parseGatewayConfig } from '../../src/config/load.ts';

const INTROSPECTION = {
  endpoint: 'https://as.example.com/introspect',
  client_id: 'gateway',
  private_key_file: 'introspection.jwk.json',
};

function configOf(issuer: object, route: object = {}, more: object[] = []) {
  return {
    version: 1,
    issuers: [{ issuer: 'https://as.example.com', ...issuer }, ...more],
    policy: { path: 'policies' },
    routes: [
      {
        name: 'projects',
        path_prefix: '/v1',
        resource: 'https://cloud.example.com/v1',
        upstream: { url: 'http://127.0.0.1:9000' },
        ...route,
      },
    ],
  };
}

/** Keys and words of the problems; empty when there are none. */
function problemsOf(...parts: Parameters<typeof configOf>): string[] {
  try {
    parseGatewayConfig(configOf(...parts));
    return [];
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
}

describe('issuers[].introspection', () => {
  it('fills in the defaults, and makes the path of the key absolute', () => {
    const config = parseGatewayConfig(configOf({ introspection: INTROSPECTION }), '/etc/sallyport');
    expect(config.issuers[0]?.introspection).toEqual({
      ...INTROSPECTION,
      private_key_file: resolve('/etc/sallyport/introspection.jwk.json'),
      when: 'opaque',
      response: 'json',
      algorithms: ['ES256', 'PS256', 'EdDSA'],
      timeout_ms: 1000,
      cache_seconds: 30,
      connections: 32,
      new_tokens_per_second: 250,
    });
  });

  it.each([
    [{ endpoint: undefined }, 'endpoint'],
    [{ endpoint: 'https://as.example.com/introspect#x' }, 'endpoint'],
    [{ endpoint: 'https://user@as.example.com/introspect' }, 'endpoint'],
    [{ endpoint: 'http://as.example.com/introspect' }, 'over https only'],
    [{ client_id: '' }, 'client_id'],
    [{ client_id: 'a\nb' }, 'client_id'],
    [{ private_key_file: undefined }, 'private_key_file'],
    [{ when: 'never' }, 'when'],
    [{ response: 'xml' }, 'response'],
    [{ algorithms: ['HS256'] }, 'algorithms'],
    [{ timeout_ms: 60_000 }, 'timeout_ms'],
    [{ cache_seconds: 601 }, 'cache_seconds'],
    [{ cache_seconds: -1 }, 'cache_seconds'],
    [{ connections: 0 }, 'connections'],
    [{ client_secret: 'x' }, 'client_secret'],
  ])('refuses %j', (changes, problem) => {
    const problems = problemsOf({ introspection: { ...INTROSPECTION, ...changes } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });

  it('http is for loopback, also where the issuer may be insecure', () => {
    const loopback = { ...INTROSPECTION, endpoint: 'http://127.0.0.1:4000/introspect' };
    expect(problemsOf({ introspection: loopback })).toEqual([]);
    const other = { ...INTROSPECTION, endpoint: 'http://as:4000/introspect' };
    expect(problemsOf({ introspection: other, allow_insecure: true })).toHaveLength(1);
  });
});

describe('routes[].opaque_issuer', () => {
  const second = (when: string) => ({
    issuer: 'https://second.example.com',
    introspection: { ...INTROSPECTION, endpoint: 'https://second.example.com/introspect', when },
  });
  const first = { introspection: INTROSPECTION };

  it('one issuer of opaque tokens needs no name', () => {
    expect(problemsOf(first)).toEqual([]);
    expect(problemsOf(first, {}, [second('jwt')])).toEqual([]);
  });

  it('several issuers of opaque tokens: the route must name one', () => {
    for (const when of ['opaque', 'always']) {
      const problems = problemsOf(first, {}, [second(when)]);
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(
        /^routes\.0\.opaque_issuer: several issuers .*as\.example\.com, .*second\.example\.com/,
      );
      for (const name of ['https://as.example.com', 'https://second.example.com']) {
        expect(problemsOf(first, { opaque_issuer: name }, [second(when)])).toEqual([]);
      }
    }
  });

  it.each(['https://third.example.com', 'https://second.example.com', 'https://as.example.com/'])(
    'refuses %s, which takes no opaque tokens',
    (name) => {
      const problems = problemsOf(first, { opaque_issuer: name }, [second('jwt')]);
      expect(problems).toEqual([expect.stringContaining('routes.0.opaque_issuer: expected an issuer of this file')]);
    },
  );
});

describe('issuers[].status_list', () => {
  it('fills in the defaults', () => {
    expect(parseGatewayConfig(configOf({ status_list: {} })).issuers[0]?.status_list).toEqual({
      mode: 'check',
      required: false,
      timeout_ms: 1000,
      max_age_seconds: 300,
    });
  });

  it.each([
    [{ mode: 'off' }, 'mode'],
    [{ uri_prefixes: [] }, 'uri_prefixes'],
    [{ uri_prefixes: ['https://lists.example.com'] }, 'ends in /'],
    [{ uri_prefixes: ['ftp://lists.example.com/'] }, 'uri_prefixes'],
    [{ uri_prefixes: ['https://lists.example.com/?a=/'] }, 'uri_prefixes'],
    [{ max_age_seconds: 1 }, 'max_age_seconds'],
    [{ timeout_ms: 0 }, 'timeout_ms'],
    [{ uri: 'x' }, 'uri'],
  ])('refuses %j', (changes, problem) => {
    const problems = problemsOf({ status_list: changes });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });
});
