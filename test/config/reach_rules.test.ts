import { describe, expect, it } from 'vitest';
import { parseGatewayConfig } from '../../src/config/load.ts';

/** Start-up refuses what can never work. */

const route = (changes: Record<string, unknown> = {}) => ({
  name: 'projects',
  path_prefix: '/v1',
  resource: 'https://cloud.example.com/v1',
  upstream: { url: 'http://127.0.0.1:9000' },
  ...changes,
});

function problemOf(config: Record<string, unknown>): string {
  const whole = {
    version: 1,
    issuers: [{ issuer: 'https://as.example.com' }],
    policy: { path: 'p' },
    routes: [route()],
  };
  try {
    parseGatewayConfig({ ...whole, ...config });
    return 'none';
  } catch (error) {
    return (error as { issues: { path: unknown[]; message: string }[] }).issues
      .map(({ path, message }) => `${path.join('.')}: ${message}`)
      .join('\n');
  }
}

const routes = (...changes: Record<string, unknown>[]) => ({ routes: changes.map(route) });

describe('what can never work', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'a public origin that is not set, beyond loopback',
      { listen: { address: '0.0.0.0', allow_plaintext: true } },
      /^public_origin: set the origin/,
    ],
    [
      'plain HTTP beyond loopback',
      { listen: { address: '0.0.0.0' }, public_origin: 'https://a.example' },
      /^listen.address: plain HTTP/,
    ],
    [
      'the admin port on the port of the gateway',
      { listen: { port: 8080 }, admin: { port: 8080 } },
      /^admin.port: listen has 127.0.0.1:8080/,
    ],
    ['two routes for the same path', routes({}, { name: 'b' }), /^routes.1.path_prefix: route projects has the same/],
    [
      'the same but for a slash',
      routes({}, { name: 'b', path_prefix: '/v1/' }),
      /^routes.1.path_prefix: route projects/,
    ],
    [
      'a host that an earlier route has',
      routes({ hosts: ['a.example', 'b.example'] }, { name: 'b', hosts: ['b.example'] }),
      /^routes.1.path_prefix/,
    ],
    [
      'a path that the gateway answers itself',
      routes({ path_prefix: '/.well-known/sallyport/x' }),
      /^routes.0.path_prefix: the gateway answers/,
    ],
    ['the path of metadata', routes({ path_prefix: '/.well-known/oauth-protected-resource' }), /^routes.0.path_prefix/],
    [
      'a prefix with dot segments',
      routes({ path_prefix: '/v1/../admin' }),
      /^routes.0.path_prefix: paths with dot segments/,
    ],
    ['WebSocket without GET', routes({ websocket: true, methods: ['POST'] }), /^routes.0.websocket: .*GET/],
    [
      'an upstream that is the public origin',
      { public_origin: 'https://cloud.example.com', ...routes({ upstream: { url: 'https://cloud.example.com/x' } }) },
      /^routes.0.upstream.url: this is the gateway/,
    ],
    [
      'an upstream that is the listener',
      { listen: { port: 8080 }, ...routes({ upstream: { url: 'http://localhost:8080' } }) },
      /^routes.0.upstream.url/,
    ],
    ['a certificate alone where none can be shown', routes({ bindings: ['mtls'] }), /^routes.0.bindings/],
    ['several processes with the memory store', { processes: 2 }, /^processes: more than one process/],
  ])('%s is refused, with its key and what to do', (_, config, message) => {
    expect(problemOf(config)).toMatch(message);
  });

  it.each<[string, Record<string, unknown>]>([
    ['the same path on other hosts', routes({ hosts: ['a.example'] }, { name: 'b', hosts: ['b.example'] })],
    ['a longer path', routes({}, { name: 'b', path_prefix: '/v1/projects' })],
    [
      'a host beside one that is there',
      routes({ hosts: ['a.example'] }, { name: 'b', hosts: ['a.example', 'b.example'] }),
    ],
    [
      'another port of the same machine',
      { listen: { port: 8080 }, ...routes({ upstream: { url: 'http://127.0.0.1:8081' } }) },
    ],
    ['well-known paths of others', routes({ path_prefix: '/.well-known/acme' })],
  ])('%s is not', (_, config) => {
    expect(problemOf(config)).toBe('none');
  });
});
