import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readChallenges } from '../support/challenges.ts';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { makeKey } from '../support/issuer.ts';
import { ORIGIN, type Outcome, PATH, RESOURCE, Wire } from '../support/wire.ts';

/** RFC 9728: what the gateway says of itself, that it is true, and that no upstream can say it in its place. */

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/** A resource below the origin, one elsewhere, and a route that covers every path. */
let wire: Wire;
beforeAll(async () => {
  const upstream = { url: 'http://127.0.0.1:9' };
  const routes = [
    { name: 'projects', path_prefix: '/v1', resource: RESOURCE, bindings: ['dpop', 'mtls'] },
    { name: 'elsewhere', path_prefix: '/v2', resource: 'https://storage.example.com/', bindings: ['dpop', 'bearer'] },
    { name: 'all', path_prefix: '/', resource: ORIGIN, bindings: ['bearer'] },
  ];
  const catalogue = new URL('../../catalogs/demo_cloud.yaml', import.meta.url).pathname;
  wire = await Wire.start({
    config: { routes: routes.map((route) => ({ ...route, upstream, operations: catalogue })) },
  });
});
afterAll(() => wire.close());

const metadataAt = async (target: string) => {
  const outcome = await wire.send({ target, lines: [] });
  expect(outcome.answer.status).toBe(200);
  return JSON.parse(outcome.answer.body) as Record<string, unknown>;
};
const namedBy = ({ answer }: Outcome) =>
  readChallenges(answer.headers['www-authenticate'] ?? []).map(({ parameters }) => parameters['resource_metadata']);

describe('RFC 9728 §3: where it is', () => {
  it('RFC 9728 §3.1: the well-known path stands before the path of the resource', async () => {
    expect((await metadataAt(`${WELL_KNOWN}/v1`))['resource']).toBe(RESOURCE);
    expect((await metadataAt(WELL_KNOWN))['resource']).toBe(ORIGIN);
  });

  it('RFC 9728 §3.1: a resource of another origin has its metadata under the name of its route', async () => {
    expect((await metadataAt(`${WELL_KNOWN}/elsewhere`))['resource']).toBe('https://storage.example.com/');
  });

  it('RFC 9728 §3.2: JSON, in one answer of its own, by GET and HEAD, to anybody', async () => {
    const target = `${WELL_KNOWN}/v1`;
    const get = await wire.send({ target, lines: [] });
    expect(get.answer.headers).toMatchObject({
      'content-type': ['application/json'],
      'content-length': [String(Buffer.byteLength(get.answer.body))],
      'cache-control': ['max-age=300'],
    });
    expect(get.upstream).toEqual([]);
    expect(get.summary).toMatchObject({ outcome: 'answered', status: 200 });
    const head = await wire.send({ method: 'HEAD', target, lines: [] });
    expect([head.answer.status, head.answer.body]).toEqual([200, '']);
    expect(head.answer.headers['content-length']).toEqual(get.answer.headers['content-length']);
  });

  it('RFC 9728 §3: it is the same whatever Host and forwarding headers say', async () => {
    const usual = await metadataAt(`${WELL_KNOWN}/v1`);
    const lines = ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: http', 'X-Original-URL: /evil'];
    const { answer } = await wire.send({ target: `${WELL_KNOWN}/v1`, lines });
    expect(JSON.parse(answer.body)).toEqual(usual);
  });
});

describe('RFC 9728 §3: no upstream speaks there', () => {
  const token = () => wire.token({ claims: { aud: ORIGIN, cnf: undefined } });

  it('RFC 9728 §3: the route that covers every path is live', async () => {
    const outcome = await wire.send({ target: '/other', lines: [`Authorization: Bearer ${token()}`] });
    expect(outcome.summary).toMatchObject({ route: 'all', reason: 'policy.denied' });
  });

  it.each([
    ['GET', `${WELL_KNOWN}/unknown`],
    ['GET', `${WELL_KNOWN}/v1/`],
    ['GET', `${WELL_KNOWN}/v1?x=1`],
    ['GET', `${WELL_KNOWN}?`],
    ['GET', '/.well-known/oauth%2Dprotected-resource/v1'],
    ['GET', '/%2ewell-known/oauth-protected-resource'],
    ['POST', `${WELL_KNOWN}/v1`],
    ['PUT', WELL_KNOWN],
    ['DELETE', `${WELL_KNOWN}/v1`],
  ])('RFC 9728 §3: %s %s is answered here, with good credentials, too', async (method, target) => {
    const outcome = await wire.send({ method, target, lines: [`Authorization: Bearer ${token()}`] });
    expect([outcome.answer.status, outcome.summary['reason']]).toEqual([404, 'request.route_unknown']);
    expect(outcome.upstream).toEqual([]);
  });
});

describe('RFC 9728 §2: what it says', () => {
  it('RFC 9728 §2: all that a client needs to ask for a token', async () => {
    expect(await metadataAt(`${WELL_KNOWN}/v1`)).toEqual({
      resource: RESOURCE,
      authorization_servers: ['https://as.example.com'],
      scopes_supported: [
        'projects:read',
        'projects:admin',
        'builds:read',
        'builds:write',
        'deployments:read',
        'deployments:write',
        'secrets:read',
        'secrets:write',
      ],
      bearer_methods_supported: ['header'],
      authorization_details_types_supported: ['cloud_api'],
      dpop_signing_alg_values_supported: ['ES256', 'PS256', 'EdDSA'],
      dpop_bound_access_tokens_required: true,
      tls_client_certificate_bound_access_tokens: false,
    });
  });

  it('RFC 9728 §2: resources that take bearer tokens say so', async () => {
    const elsewhere = await metadataAt(`${WELL_KNOWN}/elsewhere`);
    expect(elsewhere['dpop_bound_access_tokens_required']).toBe(false);
    const all = await metadataAt(WELL_KNOWN);
    expect(all['dpop_bound_access_tokens_required']).toBe(false);
    expect(all).not.toHaveProperty('dpop_signing_alg_values_supported');
  });

  it('RFC 9728 §2 dpop_signing_alg_values_supported: those pass and others do not', async () => {
    const { dpop_signing_alg_values_supported: algorithms } = await metadataAt(`${WELL_KNOWN}/v1`);
    for (const alg of ['ES256', 'PS256', 'EdDSA', 'ES384', 'RS256']) {
      const key = await makeKey(alg);
      const token = wire.token({ claims: { cnf: { jkt: key.thumbprint } } });
      const { summary } = await wire.send({ lines: wire.lines(token, wire.proof(token, { key })) });
      // The upstream of these routes is not there: what comes so far was let through.
      const passes = summary['reason'] === 'forward.upstream_unreachable';
      expect([alg, passes]).toEqual([alg, (algorithms as string[]).includes(alg)]);
    }
  });

  it('RFC 9728 §2 bearer_methods_supported: the header and nothing else', async () => {
    const target = `${PATH}?access_token=${wire.token()}`;
    expectRefused(await wire.send({ target, lines: [] }), 'request.credentials_in_query');
  });

  it('RFC 9728 §2 dpop_bound_access_tokens_required: an unbound token is refused', async () => {
    const lines = [`Authorization: Bearer ${wire.token({ claims: { cnf: undefined } })}`];
    expectRefused(await wire.send({ lines }), 'proof.unbound_token');
  });
});

describe('RFC 9728 §5.1: resource_metadata in every challenge', () => {
  it.each<[string, string, () => readonly string[], string]>([
    ['no credentials', PATH, () => [], `${WELL_KNOWN}/v1`],
    ['a malformed request', PATH, () => ['Authorization: DPoP'], `${WELL_KNOWN}/v1`],
    ['an invalid token', PATH, () => ['Authorization: DPoP x'], `${WELL_KNOWN}/v1`],
    ['no proof', PATH, () => [`Authorization: DPoP ${wire.token()}`], `${WELL_KNOWN}/v1`],
    ['an insufficient scope', PATH, () => wire.lines(wire.token({ claims: { scope: 'x' } })), `${WELL_KNOWN}/v1`],
    ['a route elsewhere', '/v2', () => [], `${WELL_KNOWN}/elsewhere`],
    ['a route that covers every path', '/x', () => [], WELL_KNOWN],
  ])('RFC 9728 §5.1: %s', async (_, target, lines, path) => {
    const named = namedBy(await wire.send({ target, lines: lines() }));
    expect(named.length).toBeGreaterThan(0);
    expect([...new Set(named)]).toEqual([ORIGIN + path]);
    await metadataAt(path);
  });

  it('RFC 9728 §5: a client finds the way from a refusal to a token that is taken', async () => {
    const own = await Wire.start();
    const refused = await own.send({ lines: [] });
    const [address = ''] = namedBy(refused);
    const { answer } = await own.send({ target: address?.slice(ORIGIN.length) ?? '', lines: [] });
    const metadata = JSON.parse(answer.body) as { resource: string; authorization_servers: string[] };
    expect(metadata.authorization_servers).toEqual([own.gateway.issuer.issuer]);
    expectAllowed(await own.call({ token: own.token({ claims: { aud: metadata.resource } }) }));
    await own.close();
  });
});
