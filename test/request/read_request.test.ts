import { describe, expect, it } from 'vitest';
import { parseCatalogue } from '../../src/config/catalogue.ts';
import type { Route } from '../../src/kernel/context.ts';
import { createOperationIndex } from '../../src/request/operation_index.ts';
import { createRequestReader, type RawRequest } from '../../src/request/read_request.ts';
import { createRouteTable } from '../../src/request/route_table.ts';
import { makeEvidence, makeRoute, outcomeOf, PLAIN_PEER, valueOfPassed } from './fixtures.ts';

const operations = createOperationIndex(
  parseCatalogue({
    service: 'projects',
    operations: [
      { name: 'projects.get', request: 'GET /v1/projects/{project}', resource: 'projects/{project}', access: 'read' },
    ],
  }),
);
const CREDENTIALS = ['Authorization', 'DPoP token', 'DPoP', 'proof'];
const LIMITS = { headers: 20, header_bytes: 16_384, body_bytes: 1000 };

interface Changes {
  method?: string;
  url?: string;
  httpVersion?: string;
  host?: string;
  fields?: readonly string[];
  credentials?: readonly string[];
}

function requestOf(changes: Changes = {}): RawRequest {
  const { method = 'GET', url = '/v1/projects/p1', httpVersion = '1.1', host = 'cloud.example.com' } = changes;
  const { fields = [], credentials = CREDENTIALS } = changes;
  return { method, url, httpVersion, rawHeaders: ['Host', host, ...credentials, ...fields] };
}

function readerOf(...routes: Partial<Route>[]) {
  const entries = routes.map((changes) => ({ route: makeRoute(changes), operations }));
  return createRequestReader({ routes: createRouteTable(entries), limits: LIMITS });
}

const reader = readerOf({});

function outcome(changes: Changes, ...routes: Partial<Route>[]): string {
  const chosen = routes.length === 0 ? reader : readerOf(...routes);
  return outcomeOf(chosen.read(requestOf(changes), makeEvidence(), PLAIN_PEER));
}

describe('stage 1', () => {
  it('reads a request', () => {
    const message = requestOf({ url: '/v1/projects/p%201?dry_run=true', host: 'Cloud.Example.com:443' });
    const certificate = { x5tS256: 'thumbprint', notBefore: 0, notAfter: 1, untrusted: null };
    const context = valueOfPassed(reader.read(message, makeEvidence(), { ...PLAIN_PEER, certificate }));
    expect(context).toMatchObject({
      id: 'decision-1',
      receivedAt: 1_795_376_000_000,
      method: 'GET',
      route: { name: 'projects' },
      host: 'cloud.example.com',
      target: {
        path: '/v1/projects/p%201',
        segments: ['v1', 'projects', 'p 1'],
        query: 'dry_run=true',
        queryParameters: { dry_run: ['true'] },
      },
      operation: { name: 'projects.get', resource: 'projects/p 1', params: { project: 'p 1' } },
      credentials: { scheme: 'dpop', token: 'token' },
      proof: 'proof',
      certificate,
      peerAddress: '192.0.2.7',
      body: { state: 'absent', head: [], complete: true },
      upgrade: false,
    });
    expect(context.rawHeaders).toBe(message.rawHeaders);
  });

  it('sets the route in the evidence as soon as it is known', () => {
    const routeSeen = (changes: Changes) => {
      const evidence = makeEvidence();
      reader.read(requestOf(changes), evidence, PLAIN_PEER);
      return evidence.route?.name;
    };
    expect(routeSeen({ credentials: [] })).toBe('projects');
    expect(routeSeen({ method: 'OPTIONS' })).toBe('projects');
    expect(routeSeen({ url: '/v2' })).toBeUndefined();
    expect(routeSeen({ url: '/v1/projects/..' })).toBeUndefined();
  });

  it('without a catalogue the operation is unknown', () => {
    const routes = createRouteTable([{ route: makeRoute(), operations: null }]);
    const context = valueOfPassed(
      createRequestReader({ routes, limits: LIMITS }).read(requestOf(), makeEvidence(), PLAIN_PEER),
    );
    expect(context.operation).toBeNull();
  });

  it.each<[string[], string, boolean]>([
    [[], 'absent', true],
    [['Content-Length', '0'], 'absent', true],
    [['Content-Length', '5'], 'not_requested', false],
    [['Transfer-Encoding', 'chunked'], 'not_requested', false],
  ])('the body before it is read, %j: %s', (fields, state, complete) => {
    const context = valueOfPassed(reader.read(requestOf({ method: 'POST', fields }), makeEvidence(), PLAIN_PEER));
    expect(context.body).toEqual({ state, head: [], complete });
  });

  it('no DPoP header is no proof; an empty one is one', () => {
    const proofOf = (...credentials: string[]) =>
      valueOfPassed(reader.read(requestOf({ credentials }), makeEvidence(), PLAIN_PEER)).proof;
    expect(proofOf('Authorization', 'Bearer token')).toBeNull();
    expect(proofOf('Authorization', 'DPoP token', 'DPoP', '')).toBe('');
  });
});

describe('the Host header', () => {
  it.each([
    ['cloud.example.com', 'passed'],
    ['CLOUD.example.com', 'passed'],
    ['cloud.example.com:443', 'passed'],
    ['cloud.example.com:8443', 'request.host_unknown'],
    ['cloud.example.com:80', 'request.host_unknown'],
    ['evil.example.com', 'request.host_unknown'],
    ['localhost', 'request.host_unknown'],
    ['127.0.0.1', 'request.host_unknown'],
    ['', 'request.host_malformed'],
    ['cloud.example.com, cloud.example.com', 'request.host_malformed'],
    ['cloud.example.com,evil.example.com', 'request.host_malformed'],
    ['cloud.example.com evil.example.com', 'request.host_malformed'],
    ['user@cloud.example.com', 'request.host_malformed'],
    ['cloud.example.com/v1', 'request.host_malformed'],
    ['cloud.example.com?', 'request.host_malformed'],
    ['cloud.example.com#', 'request.host_malformed'],
    ['cloud.example.com:', 'request.host_malformed'],
    ['cloud.example.com:443:443', 'request.host_malformed'],
    ['cloud.example.com:abc', 'request.host_malformed'],
    ['cloud.example.com.', 'request.host_malformed'],
    ['https://cloud.example.com', 'request.host_malformed'],
    ['cloud%2eexample.com', 'request.host_malformed'],
    ['cloud.example.com\\', 'request.host_malformed'],
    ['[::1', 'request.host_malformed'],
  ])('%j: %s', (host, expected) => {
    expect(outcome({ host })).toBe(expected);
  });

  it('missing, with HTTP/1.1 and with HTTP/1.0', () => {
    for (const httpVersion of ['1.1', '1.0']) {
      const message = { ...requestOf(), httpVersion, rawHeaders: CREDENTIALS };
      expect(outcomeOf(reader.read(message, makeEvidence(), PLAIN_PEER))).toBe('request.host_malformed');
    }
  });

  it('X-Forwarded-Host and its kin have no effect', () => {
    const fields = ['X-Forwarded-Host', 'evil.example.com', 'Forwarded', 'host=evil.example.com', 'X-Host', 'evil'];
    expect(outcome({ fields })).toBe('passed');
    expect(outcome({ host: 'evil.example.com', fields: ['X-Forwarded-Host', 'cloud.example.com'] })).toBe(
      'request.host_unknown',
    );
  });
});

describe('RFC 9110 §7.4: the name that a TLS connection was opened for (SNI)', () => {
  it.each([
    [null, 'cloud.example.com', 'passed'],
    ['cloud.example.com', 'cloud.example.com', 'passed'],
    ['cloud.example.com', 'CLOUD.example.com:8443', 'request.host_unknown'],
    ['cloud.example.com', 'Cloud.Example.com:443', 'passed'],
    ['other.example.com', 'cloud.example.com', 'request.host_of_another_connection'],
    ['example.com', 'cloud.example.com', 'request.host_of_another_connection'],
    ['cloud.example.com', 'other.example.com', 'request.host_of_another_connection'],
    ['cloud.example.com', 'evil.example.com', 'request.host_unknown'],
  ])('SNI %s, Host %s: %s', (serverName, host, expected) => {
    const both = readerOf({}, { name: 'other', hosts: ['other.example.com'] });
    const evidence = makeEvidence();
    expect(outcomeOf(both.read(requestOf({ host }), evidence, { ...PLAIN_PEER, serverName }))).toBe(expected);
  });
});

describe('RFC 9112 §3.2.2: absolute-form', () => {
  it.each([
    ['https://cloud.example.com/v1/projects/p1', 'cloud.example.com', 'passed'],
    ['HTTPS://CLOUD.example.com/v1/projects/p1', 'cloud.EXAMPLE.com', 'passed'],
    ['https://cloud.example.com:443/v1/projects/p1', 'cloud.example.com:443', 'passed'],
    ['http://cloud.example.com/v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https://evil.example.com/v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https://cloud.example.com/v1/projects/p1', 'evil.example.com', 'request.target_ambiguous'],
    ['https://evil.example.com/v1/projects/p1', 'evil.example.com', 'request.target_ambiguous'],
    ['https://cloud.example.com:443/v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https://cloud.example.com:8443/v1/projects/p1', 'cloud.example.com:8443', 'request.target_ambiguous'],
    ['https://user@cloud.example.com/v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https://cloud.example.com@evil/v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https:///v1/projects/p1', 'cloud.example.com', 'request.target_ambiguous'],
    ['https://cloud.example.com/v1/../projects', 'cloud.example.com', 'request.target_ambiguous'],
  ])('%s with Host %s: %s', (url, host, expected) => {
    expect(outcome({ url, host })).toBe(expected);
  });

  it('is judged and sent as origin-form', () => {
    const message = requestOf({ url: 'https://cloud.example.com/v1/projects/p1?a=b' });
    const { target } = valueOfPassed(reader.read(message, makeEvidence(), PLAIN_PEER));
    expect(target).toMatchObject({ path: '/v1/projects/p1', query: 'a=b' });
  });
});

describe('routes', () => {
  it.each([
    ['/v1/projects', 'passed'],
    ['/v1/%70rojects/p1', 'passed'],
    ['/v1/projectsx', 'request.route_unknown'],
    ['/v1', 'request.route_unknown'],
    ['/', 'request.route_unknown'],
    ['/V1/projects', 'request.route_unknown'],
    ['/v1%2Fprojects', 'request.target_ambiguous'],
  ])('%s: %s', (url, expected) => {
    expect(outcome({ url })).toBe(expected);
  });

  it('an encoded letter does not lead past a route to a shorter prefix', () => {
    const routes = [
      { name: 'all', pathPrefix: '/' },
      { name: 'secrets', pathPrefix: '/v1/secrets' },
    ];
    const context = valueOfPassed(
      readerOf(...routes).read(requestOf({ url: '/v1/%73ecrets/x' }), makeEvidence(), PLAIN_PEER),
    );
    expect(context.route.name).toBe('secrets');
  });
});

describe('deviations from the rule for targets, by name', () => {
  const none = { encodedSlash: false, emptySegments: false, dotSegmentsInKeys: false };
  it.each<[string, Partial<typeof none>, string]>([
    ['/v1/projects/a%2Fb', {}, 'request.target_ambiguous'],
    ['/v1/projects/a%2Fb', { encodedSlash: true }, 'passed'],
    ['/v1/projects/a%252Fb', { encodedSlash: true }, 'passed'],
    ['/v1/projects/a%2F..%2Fb', { encodedSlash: true }, 'request.target_ambiguous'],
    ['/v1/projects/a%2F..%2Fb', { encodedSlash: true, dotSegmentsInKeys: true }, 'passed'],
    ['/v1/projects/a%2F%2Fb', { encodedSlash: true }, 'request.target_ambiguous'],
    [
      '/v1/projects/a%5Cb',
      { encodedSlash: true, emptySegments: true, dotSegmentsInKeys: true },
      'request.target_ambiguous',
    ],
    ['/v1/projects//b', {}, 'request.target_ambiguous'],
    ['/v1/projects//b', { emptySegments: true }, 'passed'],
    ['/v1/projects//b', { encodedSlash: true, dotSegmentsInKeys: true }, 'request.target_ambiguous'],
    ['//v1/projects/b', { emptySegments: true }, 'request.target_ambiguous'],
    ['/v1//projects/b', { emptySegments: true }, 'request.target_ambiguous'],
    ['/v1/projects/../b', {}, 'request.target_ambiguous'],
    ['/v1/projects/../b', { dotSegmentsInKeys: true }, 'passed'],
    ['/v1/projects/%2e%2e/b', { dotSegmentsInKeys: true }, 'passed'],
    ['/v1/../v1/projects/b', { dotSegmentsInKeys: true }, 'request.target_ambiguous'],
    ['/v1/./projects/b', { dotSegmentsInKeys: true }, 'request.target_ambiguous'],
    [
      '/v1/projects/%00',
      { encodedSlash: true, emptySegments: true, dotSegmentsInKeys: true },
      'request.target_ambiguous',
    ],
  ])('%s with %j: %s', (url, rules, expected) => {
    expect(outcome({ url }, { targetRules: { ...none, ...rules } })).toBe(expected);
  });

  it('belong to the route that matches, not to its neighbour', () => {
    const routes = [
      { name: 'store', pathPrefix: '/store', targetRules: { ...none, dotSegmentsInKeys: true } },
      { name: 'admin', pathPrefix: '/admin' },
    ];
    expect(outcome({ url: '/store/x/../y' }, ...routes)).toBe('passed');
    expect(outcome({ url: '/admin/x/../y' }, ...routes)).toBe('request.target_ambiguous');
    const context = valueOfPassed(
      readerOf(...routes).read(requestOf({ url: '/store/../admin/x' }), makeEvidence(), PLAIN_PEER),
    );
    expect(context).toMatchObject({ route: { name: 'store' }, target: { path: '/store/../admin/x' } });
  });

  it('a deviation on an unknown host or path is 400, before routing', () => {
    expect(outcome({ url: '/nowhere/../x' })).toBe('request.target_ambiguous');
    expect(outcome({ url: '/v1/projects/a%2Fb', host: 'evil.example.com' })).toBe('request.target_ambiguous');
  });

  it('the segments the policy sees are those that are sent, and the resource keeps its shape', () => {
    const store = readerOf({ targetRules: { ...none, encodedSlash: true } });
    const { target, operation } = valueOfPassed(
      store.read(requestOf({ url: '/v1/projects/a%2Fb' }), makeEvidence(), PLAIN_PEER),
    );
    expect(target).toMatchObject({ path: '/v1/projects/a%2Fb', segments: ['v1', 'projects', 'a/b'] });
    expect(operation).toMatchObject({ resource: 'projects/a%2Fb', params: { project: 'a/b' } });
  });
});

describe('RFC 9110 §9.1: methods', () => {
  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])('%s passes', (method) => {
    expect(outcome({ method })).toBe('passed');
  });

  it.each([
    ['OPTIONS', '/v1/projects'],
    ['OPTIONS', '*'],
    ['TRACE', '/v1/projects'],
    ['TRACE', '*'],
    ['TRACE', '/nowhere'],
    ['CONNECT', 'cloud.example.com:443'],
    ['CONNECT', '/v1/projects'],
    ['get', '/v1/projects'],
    ['Get', '/v1/projects'],
    ['PROPFIND', '/v1/projects'],
    ['FOO', '/v1/projects'],
    ['', '/v1/projects'],
    ['__proto__', '/v1/projects'],
  ])('request.method_not_allowed: %s %s', (method, url) => {
    expect(outcome({ method, url })).toBe('request.method_not_allowed');
  });

  it('request.target_ambiguous: * with another method', () => {
    expect(outcome({ method: 'GET', url: '*' })).toBe('request.target_ambiguous');
  });

  it('those of the route count', () => {
    expect(outcome({ method: 'OPTIONS' }, { methods: ['OPTIONS'] })).toBe('passed');
    expect(outcome({ method: 'GET' }, { methods: ['OPTIONS'] })).toBe('request.method_not_allowed');
    expect(outcome({ method: 'TRACE' }, { methods: ['TRACE'] })).toBe('request.method_not_allowed');
  });
});

describe('the order of refusals: each one is found although everything after it is wrong too', () => {
  const wrong = {
    credentials: ['Authorization', 'Basic x', 'DPoP', 'a', 'DPoP', 'b'],
    fields: ['Upgrade', 'websocket', 'Connection', 'upgrade'],
  };
  it.each<[string, Changes]>([
    ['request.too_many_headers', { ...wrong, host: '', fields: Array.from({ length: 40 }, () => 'a') }],
    ['request.header_malformed', { ...wrong, host: 'x\0', method: 'FOO', url: '//' }],
    ['request.framing', { ...wrong, host: '?', method: 'FOO', url: '//', fields: ['Content-Length', '+1'] }],
    ['request.target_ambiguous', { ...wrong, host: 'evil.example.com', method: 'FOO', url: '//' }],
    ['request.host_malformed', { ...wrong, host: '?', method: 'FOO', url: '/nowhere' }],
    ['request.host_unknown', { ...wrong, host: 'evil.example.com', method: 'FOO', url: '/nowhere' }],
    ['request.route_unknown', { ...wrong, method: 'FOO', url: '/nowhere' }],
    ['request.method_not_allowed', { ...wrong, method: 'FOO' }],
    ['request.scheme_unsupported', wrong],
    ['request.proof_repeated', { ...wrong, credentials: ['Authorization', 'DPoP t', 'DPoP', 'a', 'DPoP', 'b'] }],
    ['request.upgrade_not_allowed', { ...wrong, credentials: CREDENTIALS }],
  ])('%s', (reason, changes) => {
    expect(outcome(changes)).toBe(reason);
  });

  it.each<[string, Changes]>([
    ['request.body_too_large', { fields: ['Content-Length', '1001'] }],
    ['request.expectation_unsupported', { fields: ['Expect', 'x'] }],
    ['request.malformed', { httpVersion: '2.0' }],
    ['request.header_repeated', { fields: ['Content-Type', 'a/b', 'Content-Type', 'a/b'] }],
    ['request.credentials_missing', { credentials: [] }],
    ['request.credentials_malformed', { credentials: ['Authorization', 'DPoP'] }],
    ['request.credentials_malformed', { credentials: ['Authorization', 'DPoP a\0b'] }],
    ['request.credentials_malformed', { credentials: ['Authorization', 'DPoP a\r\nX: y'] }],
    ['request.credentials_repeated', { credentials: [...CREDENTIALS, 'Authorization', 'DPoP token'] }],
    ['request.credentials_in_query', { url: '/v1/projects?access_token=x' }],
    ['request.proof_repeated', { fields: ['dpop', 'proof'] }],
  ])('%s is passed on', (reason, changes) => {
    expect(outcome(changes)).toBe(reason);
  });
});

describe('protocol upgrades', () => {
  const fields = [
    'Upgrade',
    'websocket',
    'Connection',
    'Upgrade',
    'Sec-WebSocket-Key',
    'x',
    'Sec-WebSocket-Version',
    '13',
  ];

  it('request.upgrade_not_allowed: WebSocket only where the route allows it', () => {
    expect(outcome({ fields })).toBe('request.upgrade_not_allowed');
    const context = valueOfPassed(
      readerOf({ websocket: true }).read(requestOf({ fields }), makeEvidence(), PLAIN_PEER),
    );
    expect(context.upgrade).toBe(true);
  });

  it('h2c is never an upgrade', () => {
    const h2c = [
      'Upgrade',
      'h2c',
      'Connection',
      'Upgrade, HTTP2-Settings',
      'HTTP2-Settings',
      'AAMAAABkAAQAoAAAAAIAAAAA',
    ];
    const context = valueOfPassed(
      readerOf({ websocket: true }).read(requestOf({ fields: h2c }), makeEvidence(), PLAIN_PEER),
    );
    expect(context.upgrade).toBe(false);
  });
});
