import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { askAbout } from '../authserver/ask_fixture.ts';
import { BUILDS, claimsOf, RESOURCE, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

const OTHER = 'https://other.example.com/';
let gatewayKey: SigningKey;
let otherKey: SigningKey;
let server: TestServer;

async function start(format: string, more: Record<string, unknown> = {}): Promise<TestServer> {
  return startTestServer(
    {},
    {
      server: {
        resource_servers: [
          {
            client_id: 'gateway',
            jwks: { keys: [gatewayKey.publicJwk] },
            resources: [RESOURCE],
            token_format: format,
            ...more,
          },
          { client_id: 'other', jwks: { keys: [otherKey.publicJwk] }, resources: [OTHER] },
        ],
      },
    },
  );
}

beforeAll(async () => {
  gatewayKey = await importSigningKey(await generatePrivateJwk());
  otherKey = await importSigningKey(await generatePrivateJwk());
  server = await start('auto');
});
afterAll(() => server.close());

const gateway = () => ({ clientId: 'gateway', key: gatewayKey });

async function introspect(token: string, who = gateway(), own = server): Promise<Record<string, unknown>> {
  const { status, text } = await askAbout(own, 'introspect', who, { token });
  expect(status).toBe(200);
  return JSON.parse(text) as Record<string, unknown>;
}

const details = JSON.stringify([BUILDS]);

describe.each(['jwt', 'opaque'])('RFC 7662 §2.2: what is answered about a token (%s)', (format) => {
  let own: TestServer;
  beforeAll(async () => {
    own = await start(format);
  });
  afterAll(() => own.close());

  it('RFC 7662 §2.2: all that the token says, to the resource server that it is for', async () => {
    const { body } = await requestToken(own, { parameters: { authorization_details: details } });
    const token = String(body['access_token']);
    expect(token.includes('.')).toBe(format === 'jwt');
    const answer = await introspect(token, gateway(), own);
    expect(answer).toEqual({
      active: true,
      iss: own.issuer,
      aud: RESOURCE,
      sub: 'ci',
      client_id: 'ci',
      jti: expect.any(String),
      iat: expect.any(Number),
      exp: expect.any(Number),
      scope: 'builds:write',
      authorization_details: [BUILDS],
      cnf: { jkt: own.jobKey.thumbprint },
      token_type: 'DPoP',
    });
    if (format === 'jwt') expect(claimsOf(token)).toMatchObject({ jti: answer['jti'], exp: answer['exp'] });
  });

  it('RFC 7662 §4: another resource server learns nothing but that it is not active', async () => {
    const { body } = await requestToken(own);
    const token = String(body['access_token']);
    expect(await introspect(token, { clientId: 'other', key: otherKey }, own)).toEqual({ active: false });
    expect(await introspect(token, gateway(), own)).toMatchObject({ active: true });
  });

  it('RFC 7662 §2.2: whatever is no token of this server is not active', async () => {
    const { body } = await requestToken(own);
    const token = String(body['access_token']);
    const wrong = [`${token}x`, token.slice(0, -2), 'x', 'a.b.c', `spat_${'A'.repeat(43)}`, 'x'.repeat(50_000)];
    for (const text of wrong) expect(await introspect(text, gateway(), own)).toEqual({ active: false });
  });

  it('RFC 9396 §9.2: items for other places are left out', async () => {
    const here = { ...BUILDS, locations: [RESOURCE] };
    const elsewhere = { ...BUILDS, locations: ['https://elsewhere.example.com/v1'] };
    const like = { ...BUILDS, locations: [`${RESOURCE}0`] };
    const parameters = { authorization_details: JSON.stringify([here, elsewhere, like, BUILDS]) };
    const { body } = await requestToken(own, { parameters });
    const answer = await introspect(String(body['access_token']), gateway(), own);
    expect(answer['authorization_details']).toEqual([here, BUILDS]);
  });
});

describe('RFC 7662 §2.1: who may ask', () => {
  it.each<[string, Record<string, string | null>, [number, string]]>([
    ['nobody', { client_assertion: null, client_assertion_type: null }, [400, 'invalid_request']],
    [
      'by name only',
      { client_assertion: null, client_assertion_type: null, client_id: 'gateway' },
      [401, 'invalid_client'],
    ],
    ['a forged assertion', { client_assertion: 'a.b.c' }, [400, 'invalid_request']],
    ['without a token', { token: null }, [400, 'invalid_request']],
    ['with an empty token', { token: '' }, [400, 'invalid_request']],
  ])('%s: refused', async (_what, parameters, expected) => {
    const answer = await askAbout(server, 'introspect', gateway(), { token: 'x', ...parameters });
    expect([answer.status, (JSON.parse(answer.text) as { error: string }).error]).toEqual(expected);
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  it('unauthorized_client: a client that gets tokens is no resource server', async () => {
    const answer = await askAbout(server, 'introspect', { clientId: 'ci', key: server.clientKey }, { token: 'x' });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      400,
      expect.objectContaining({ error: 'unauthorized_client' }),
    ]);
  });

  it('a resource server gets no token', async () => {
    const { makeClientAssertion } = await import('../../src/oauth/client_assertion.ts');
    const assertion = await makeClientAssertion({
      clientId: 'gateway',
      issuer: server.issuer,
      key: gatewayKey,
      clock: Date.now,
    });
    const answer = await requestToken(server, { assertion });
    expect(answer.status).toBe(400);
    expect(answer.body['access_token']).toBeUndefined();
  });

  it('RFC 7523 §3 item 7: an assertion is good once here too', async () => {
    const { makeClientAssertion } = await import('../../src/oauth/client_assertion.ts');
    const assertion = await makeClientAssertion({
      clientId: 'gateway',
      issuer: server.issuer,
      key: gatewayKey,
      clock: Date.now,
    });
    const ask = () => askAbout(server, 'introspect', gateway(), { token: 'x', client_assertion: assertion });
    const answers = await Promise.all(Array.from({ length: 50 }, ask));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(49);
  });

  it('the names of inner grants mean nothing at the token endpoint', async () => {
    for (const grant of ['urn:sallyport:endpoint:introspection', 'urn:sallyport:endpoint:revocation']) {
      const answer = await requestToken(server, { parameters: { grant_type: grant, token: 'x' } });
      expect(answer).toMatchObject({ status: 400, body: { error: 'unsupported_grant_type' } });
    }
  });
});

describe('RFC 9701: signed answers', () => {
  it('RFC 9701 §5: signed, typed, for the resource server that asks', async () => {
    const { body } = await requestToken(server);
    const headers = { accept: 'application/token-introspection+jwt' };
    const answer = await askAbout(server, 'introspect', gateway(), { token: String(body['access_token']) }, headers);
    expect(answer.headers.get('content-type')).toMatch(/^application\/token-introspection\+jwt/);
    const keys = (await (await fetch(`${server.issuer}/jwks`)).json()) as JSONWebKeySet;
    const { payload } = await jwtVerify(answer.text, createLocalJWKSet(keys), {
      typ: 'token-introspection+jwt',
      issuer: server.issuer,
      audience: 'gateway',
    });
    expect(payload['token_introspection']).toMatchObject({ active: true, aud: RESOURCE });
    for (const claim of ['sub', 'exp', 'scope']) expect(payload[claim]).toBeUndefined();
  });

  it('RFC 9701 §5: such an answer is no access token', async () => {
    const headers = { accept: 'application/token-introspection+jwt' };
    const { text } = await askAbout(server, 'introspect', gateway(), { token: 'x' }, headers);
    expect(await introspect(text)).toEqual({ active: false });
  });
});

describe('large authorization_details', () => {
  const many = Array.from({ length: 50 }, (_, index) => ({
    ...BUILDS,
    identifier: `projects/p1/${'b'.repeat(150)}${index}`,
  }));

  it('the token becomes opaque, and introspection tells all of them', async () => {
    const { body } = await requestToken(server, { parameters: { authorization_details: JSON.stringify(many) } });
    const token = String(body['access_token']);
    expect(token).toMatch(/^spat_[\w-]{43}$/);
    expect(body['authorization_details']).toEqual(many);
    expect((await introspect(token))['authorization_details']).toEqual(many);
  });

  it('invalid_authorization_details: where nobody could ask, too many for a JWT are refused', async () => {
    const own = await startTestServer();
    const huge = many.map((item) => ({ ...item, identifier: `projects/p1/${'c'.repeat(400)}` }));
    const answer = await requestToken(own, { parameters: { authorization_details: JSON.stringify(huge) } });
    await own.close();
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
  });
});
