import { describe, expect, it } from 'vitest';
import { ZodError } from 'zod';
import { parseGatewayConfig } from '../../src/config/load.ts';
import { parseNetwork } from '../../src/config/network.ts';

const TLS = { certificate_file: 'a.crt', key_file: 'a.key' };
const WITH_CA = { ...TLS, client_certificates: 'optional', client_ca_file: 'ca.crt' };

/** Where and what of the problems of a configuration with these front proxies. */
function problemsOf(frontProxies: unknown, tls?: object, bindings?: string[]): string[] {
  try {
    parseGatewayConfig({
      version: 1,
      listen: { front_proxies: frontProxies, ...(tls && { tls }) },
      issuers: [{ issuer: 'https://as.example.com' }],
      policy: { path: 'policies' },
      routes: [
        {
          name: 'projects',
          path_prefix: '/v1',
          resource: 'https://cloud.example.com/v1',
          upstream: { url: 'http://127.0.0.1:9000' },
          ...(bindings && { bindings }),
        },
      ],
    });
    return [];
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
}

describe('listen.front_proxies', () => {
  it.each([
    [[{ addresses: ['10.0.0.0/8', '::1', 'fd00::/8'], client_certificate: 'client_cert' }]],
    [[{ addresses: ['127.0.0.1'] }]],
    [[{ addresses: ['127.0.0.1'], client_certificate: 'nginx', header: 'X-SSL-Client-Cert' }]],
    [[{ addresses: ['127.0.0.1'], client_certificate: 'nginx', header: 'X-Amzn-Mtls-Clientcert-Leaf' }]],
    [[{ addresses: ['127.0.0.1'], client_certificate: 'haproxy', header: 'X-Client-Cert' }]],
    [[{ addresses: ['127.0.0.1'], client_certificate: 'haproxy', header: 'SSL-Client-Cert' }]],
  ])('is taken: %j', (proxies) => {
    expect(problemsOf(proxies)).toEqual([]);
  });

  it('is taken: names, where their certificates are verified', () => {
    const named = [{ certificate_names: ['edge.internal', 'spiffe://cluster/edge'], client_certificate: 'envoy' }];
    expect(problemsOf(named, WITH_CA)).toEqual([]);
    const everywhere = [{ ...named[0], addresses: ['0.0.0.0/0', '::/0'] }];
    expect(problemsOf(everywhere, WITH_CA)).toEqual([]);
  });

  it.each([
    [[{ client_certificate: 'envoy' }], /^listen\.front_proxies\.0: say how the proxies are known/],
    [[{ addresses: ['0.0.0.0/0'] }], /^listen\.front_proxies\.0\.addresses\.0: that is every address/],
    [[{ addresses: ['10.0.0.1', '::/0'] }], /^listen\.front_proxies\.0\.addresses\.1: that is every address/],
    [[{ addresses: ['10.0.0.0/33'] }], /addresses\.0: expected an address or a network/],
    [[{ addresses: ['10.0.0'] }], /addresses\.0: expected an address or a network/],
    [[{ addresses: ['proxy.internal'] }], /addresses\.0: expected an address or a network/],
    [[{ addresses: [] }], /^listen\.front_proxies\.0\.addresses: /],
    [[{ certificate_names: ['edge.internal'] }], /certificate_names: needs listen\.tls .*client_ca_file/],
    [[{ addresses: ['10.0.0.1'], header: 'Client-Cert' }], /header: has no meaning/],
    ...[
      'X-Cert',
      'Authorization',
      'DPoP',
      'Cookie',
      'Host',
      'X_SSL_Client_Cert',
      'X-Forwarded-For',
      'Client-Cert-Chain',
      '',
    ].map((header): [unknown, RegExp] => [
      [{ addresses: ['10.0.0.1'], client_certificate: 'nginx', header }],
      /header: expected Client-Cert, X-Client-Cert, or a name/,
    ]),
  ])('is refused, with what to do: %j', (proxies, message) => {
    expect(problemsOf(proxies).join('\n')).toMatch(message);
  });

  it('names without a CA, or where no certificate is asked for, are refused', () => {
    const named = [{ certificate_names: ['edge.internal'] }];
    for (const tls of [TLS, { ...TLS, client_certificates: 'optional' }, { ...WITH_CA, client_certificates: 'none' }]) {
      expect(problemsOf(named, tls).join('\n')).toMatch(/certificate_names: needs listen\.tls/);
    }
  });
});

describe('a route that takes certificates only', () => {
  it('needs somewhere that they come from', () => {
    const expected = /^routes\.0\.bindings: no client certificate can ever reach the gateway/;
    expect(problemsOf([], undefined, ['mtls']).join('\n')).toMatch(expected);
    expect(problemsOf([], TLS, ['mtls']).join('\n')).toMatch(expected);
    expect(problemsOf([{ addresses: ['10.0.0.1'] }], undefined, ['mtls']).join('\n')).toMatch(expected);
    expect(problemsOf([], { ...TLS, client_certificates: 'optional' }, ['mtls'])).toEqual([]);
    expect(problemsOf([{ addresses: ['10.0.0.1'], client_certificate: 'traefik' }], undefined, ['mtls'])).toEqual([]);
    expect(problemsOf([], undefined, ['mtls', 'dpop'])).toEqual([]);
  });
});

describe('networks', () => {
  it.each([
    ['10.0.0.1', { address: '10.0.0.1', prefix: 32, family: 'ipv4' }],
    ['10.0.0.0/8', { address: '10.0.0.0', prefix: 8, family: 'ipv4' }],
    ['::1', { address: '::1', prefix: 128, family: 'ipv6' }],
    ['2001:db8::/32', { address: '2001:db8::', prefix: 32, family: 'ipv6' }],
    ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0, family: 'ipv4' }],
  ])('%s', (text, network) => {
    expect(parseNetwork(text)).toEqual(network);
  });

  it.each([
    '',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.256',
    '::1/129',
    ' 10.0.0.1',
    '10.0.0.1 ',
    '[::1]',
    'fe80::1%eth0',
  ])('not one: %j', (text) => {
    expect(parseNetwork(text)).toBeNull();
  });
});
