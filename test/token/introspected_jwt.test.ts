import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sendJson } from '../support/key_server.ts';
import { contextOf, JKT, NOW } from './fixture.ts';
import { IntrospectionBench } from './introspection_fixture.ts';

let bench: IntrospectionBench;

beforeEach(async () => {
  bench = await IntrospectionBench.start({ introspection: { when: 'always' } });
});

afterEach(async () => {
  await bench.stop();
});

const ACTIVE = { active: true };

describe('JWTs that must also be asked about', () => {
  it('token.inactive: a JWT whose signature is good, and which the issuer took back', async () => {
    expect(await bench.reasonOf(bench.jwt({}, ACTIVE))).toBeNull();
    expect(await bench.reasonOf(bench.jwt({}, { active: false }))).toBe('token.inactive');
    expect(await bench.reasonOf(bench.jwt())).toBe('token.inactive');
  });

  it('token.introspection_unavailable: never taken on its signature alone', async () => {
    const token = bench.jwt({}, ACTIVE);
    bench.onQuestion((_, response) => sendJson(response, {}, 500));
    expect(await bench.reasonOf(token)).toBe('token.introspection_unavailable');
  });

  it.each([
    ['token.signature', () => `${bench.jwt({}, ACTIVE).slice(0, -6)}AAAAAA`],
    ['token.audience', () => bench.jwt({ aud: 'https://other.example.com' }, ACTIVE)],
    ['token.expired', () => bench.jwt({ exp: NOW }, ACTIVE)],
    ['token.claims', () => bench.jwt({ sub: undefined }, ACTIVE)],
    ['token.confirmation', () => bench.jwt({ cnf: {} }, ACTIVE)],
    ['token.status', () => bench.jwt({ status: { status_list: { idx: 0, uri: 'https://x.example.com' } } }, ACTIVE)],
  ] as const)('%s: a JWT that fails its own checks is not asked about', async (reason, make) => {
    const token = make();
    bench.known.set(token, ACTIVE);
    expect(await bench.reasonOf(token)).toBe(reason);
    expect(bench.questions).toEqual([]);
  });

  it('opaque tokens are asked about too with always, and not with jwt', async () => {
    expect(await bench.reasonOf(bench.token())).toBeNull();
    const verifier = bench.another({ issuers: [bench.config({ introspection: { when: 'jwt' } })] });
    await verifier.settled();
    expect(await verifier.verify(contextOf(bench.token()))).toMatchObject({ denial: { reason: 'token.malformed' } });
    expect(await verifier.verify(contextOf(bench.jwt()))).toMatchObject({ denial: { reason: 'token.inactive' } });
    expect(await verifier.verify(contextOf(bench.jwt({}, ACTIVE)))).toMatchObject({ ok: true });
  });

  it('RFC 9396 §9.2: what the issuer says now stands over what the token says', async () => {
    const details = [{ type: 'cloud_api', actions: ['builds.create'] }];
    const token = bench.jwt(
      { scope: 'projects:read', team: 'infra' },
      { ...ACTIVE, scope: 'builds:write', authorization_details: details, exp: NOW + 100, token_type: 'DPoP' },
    );
    expect(await bench.factsOf(token)).toMatchObject({
      kind: 'jwt',
      scopes: ['builds:write'],
      authorizationDetails: details,
      expiresAt: NOW + 100,
      claims: { team: 'infra' },
      confirmation: { jkt: JKT },
    });
  });

  it('the token ends when the first of both says so', async () => {
    const facts = await bench.factsOf(bench.jwt({ exp: NOW + 50 }, { ...ACTIVE, exp: NOW + 3600 }));
    expect(facts.expiresAt).toBe(NOW + 50);
    expect(await bench.reasonOf(bench.jwt({}, { ...ACTIVE, exp: NOW }))).toBe('token.expired');
  });

  it.each([
    ['iss', { iss: 'https://other.example.com' }],
    ['sub', { sub: 'somebody-else' }],
    ['client_id', { client_id: 'somebody-else' }],
    ['jti', { jti: 'another' }],
    ['cnf', { cnf: { jkt: JKT, 'x5t#S256': JKT } }],
    ['cnf', { cnf: { jkt: `${JKT.slice(0, -1)}A` } }],
    ['cnf', { cnf: null }],
    ['cnf', { cnf: {} }],
  ])('token.introspection_unavailable: the answer is about another token: %s', async (_, members) => {
    expect(await bench.reasonOf(bench.jwt({}, { ...ACTIVE, ...members }))).toBe('token.introspection_unavailable');
  });

  it.each([
    ['token.audience', { aud: 'https://other.example.com' }],
    ['token.type', { token_type: 'N_A' }],
    ['token.introspection_unavailable', { scope: 1 }],
    ['token.introspection_unavailable', { exp: 'soon' }],
    ['token.introspection_unavailable', { authorization_details: {} }],
  ] as const)('%s: the answer says %j', async (reason, members) => {
    expect(await bench.reasonOf(bench.jwt({}, { ...ACTIVE, ...members }))).toBe(reason);
  });

  it('answers are remembered at once for cache_seconds; then the JWT is verified and asked about anew', async () => {
    const token = bench.jwt({}, ACTIVE);
    expect(await bench.reasonOf(token)).toBeNull();
    bench.now += 29_999;
    expect(bench.verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    expect(bench.questions).toHaveLength(1);
    bench.known.set(token, { active: false });
    bench.now += 1;
    expect(await bench.reasonOf(token)).toBe('token.inactive');
  });

  it('a JWT of an issuer that is not asked is remembered by its signature, beside it', async () => {
    const quiet = await IntrospectionBench.start({ introspection: { when: 'opaque' } });
    const verifier = bench.another({ issuers: [bench.config(), quiet.config()] });
    await verifier.settled();
    const token = quiet.jwt();
    expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    bench.now += 60_000;
    expect(verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    expect(bench.questions.length + quiet.questions.length).toBe(0);
    await quiet.stop();
  });
});
