import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readClientMetadata } from '../../src/config/client_metadata.ts';
import { claimsOf, RESOURCE } from '../authserver/fixture.ts';
import {
  CEILING,
  clientKey,
  INITIAL_TOKEN,
  type RegistrationServer,
  register,
  startRegistrationServer,
  tokenAs,
} from '../authserver/registration_fixture.ts';
import { byExchange } from '../authserver/workload_fixture.ts';
import { TestIssuer } from '../support/issuer.ts';

let server: RegistrationServer;
beforeAll(async () => {
  server = await startRegistrationServer();
});
afterAll(() => server.close());

const goodMetadata = async () => ({ jwks: { keys: [(await clientKey()).publicJwk] } });

describe('RFC 7591 §3: an engine registers a client for each workflow', () => {
  it('RFC 7591 §3.2.1: 201 with what was registered and how to manage it, and no secret', async () => {
    const key = await clientKey();
    const answer = await register(server, {
      client_name: 'deploy',
      token_endpoint_auth_method: 'private_key_jwt',
      grant_types: ['client_credentials'],
      jwks: { keys: [key.publicJwk] },
      scope: 'builds:write admin',
      resources: [RESOURCE, 'https://elsewhere.example.com/'],
      authorization_details: [
        { type: 'cloud_api', actions: ['builds.list'], identifier: 'projects/p1/builds' },
        { type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects/p1' },
      ],
      unknown_member: 7,
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const { client_id: clientId, ...body } = answer.body;
    expect(body).toEqual({
      client_name: 'deploy',
      token_endpoint_auth_method: 'private_key_jwt',
      grant_types: ['client_credentials'],
      response_types: [],
      jwks: { keys: [expect.objectContaining({ kty: 'EC', kid: key.thumbprint })] },
      scope: 'builds:write',
      resources: [RESOURCE],
      authorization_details: [{ type: 'cloud_api', actions: ['builds.list'], identifier: 'projects/p1/builds' }],
      authorization_details_types: ['cloud_api'],
      dpop_bound_access_tokens: true,
      tls_client_certificate_bound_access_tokens: false,
      client_id_issued_at: expect.any(Number),
      client_expires_at: expect.any(Number),
      registration_access_token: expect.stringMatching(/^sprt_[\w-]{43}$/),
      registration_client_uri: `${server.issuer}/register/${String(clientId)}`,
    });
  });

  it('RFC 7591 §2: what is left out is what the initial access token allows', async () => {
    const { body } = await register(server, await goodMetadata());
    expect(body).toMatchObject({
      scope: CEILING.scopes.join(' '),
      resources: CEILING.resources,
      authorization_details: CEILING.authorization_details,
      token_endpoint_auth_method: 'private_key_jwt',
    });
  });

  it('the client gets tokens at once, within what was registered, with the job that its engine states', async () => {
    const key = await clientKey();
    const { body } = await register(server, { jwks: { keys: [key.publicJwk] }, scope: 'builds:write' });
    const job = { run_id: '17', ref: 'refs/heads/main' };
    const answer = await tokenAs(server, String(body['client_id']), key, {
      claims: { job },
      parameters: { scope: 'builds:write builds:read' },
    });
    expect(answer).toMatchObject({ status: 200, body: { scope: 'builds:write' } });
    expect(claimsOf(answer.body['access_token'])).toMatchObject({ client_id: body['client_id'], job });
  });

  it('two registrations are two clients', async () => {
    const metadata = await goodMetadata();
    const [one, other] = await Promise.all([register(server, metadata), register(server, metadata)]);
    expect(one.body['client_id']).not.toBe(other.body['client_id']);
  });

  it('the log says who came, and holds no token', async () => {
    const { body } = await register(server, await goodMetadata());
    expect(server.lines.at(-1)).toMatchObject({
      message: 'client registered',
      fields: { client_id: body['client_id'], by: 'engine' },
    });
    const text = JSON.stringify(server.lines);
    expect(text).not.toContain(INITIAL_TOKEN);
    expect(text).not.toContain(String(body['registration_access_token']));
  });
});

describe('RFC 7591 §3: who may not', () => {
  it.each([
    ['nobody', null],
    ['another token', 'x'.repeat(40)],
    ['the token with a letter more', `${INITIAL_TOKEN}x`],
    ['an empty token', ''],
    ['a JWT of nobody', 'a.b.c'],
  ])('RFC 6750 §3.1: 401 for %s', async (_what, token) => {
    const answer = await register(server, await goodMetadata(), token);
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="registration"/);
  });

  it('a token that is replaced is good no more, and the new one is', async () => {
    const own = await startRegistrationServer();
    const next = 'another-initial-access-token-0123456789abcdef';
    writeFileSync(own.initialTokenFile, next);
    chmodSync(own.initialTokenFile, 0o600);
    expect((await register(own, await goodMetadata())).status).toBe(401);
    expect((await register(own, await goodMetadata(), next)).status).toBe(201);
    await own.close();
  });

  it('where registration is off there is no endpoint', async () => {
    const { startTestServer } = await import('../authserver/fixture.ts');
    const own = await startTestServer();
    const answer = await fetch(`${own.address}/register`, { method: 'POST' });
    await own.close();
    expect(answer.status).toBe(404);
  });
});

describe('RFC 7591 §3.2.2: metadata that is refused', () => {
  it.each<[string, Record<string, unknown>]>([
    ['client_secret_basic', { token_endpoint_auth_method: 'client_secret_basic' }],
    ['client_secret_post', { token_endpoint_auth_method: 'client_secret_post' }],
    ['client_secret_jwt', { token_endpoint_auth_method: 'client_secret_jwt' }],
    ['none', { token_endpoint_auth_method: 'none' }],
    ['a secret of its own', { client_secret: 'x' }],
    ['client_secret_expires_at', { client_secret_expires_at: 0 }],
    ['no key', { jwks: undefined }],
    ['no key in the set', { jwks: { keys: [] } }],
    ['a symmetric key', { jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }],
    ['keys by reference', { jwks: undefined, jwks_uri: 'https://client.example.com/jwks' }],
    ['keys by value and by reference', { jwks_uri: 'https://client.example.com/jwks' }],
    ['an algorithm with a secret', { token_endpoint_auth_signing_alg: 'HS256' }],
    ['a grant that needs a user', { grant_types: ['authorization_code'] }],
    ['the grant of a workload without one', { grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] }],
    ['a response type', { response_types: ['code'] }],
    ['only scopes and details above the ceiling', { scope: 'admin', authorization_details: [] }],
    ['resources above the ceiling', { resources: ['https://elsewhere.example.com/'] }],
    ['an unknown type of details', { authorization_details: [{ type: 'payment' }] }],
    ['an unknown field of details', { authorization_details: [{ ...CEILING.authorization_details[0], limit: 1 }] }],
    ['scopes parted by a comma and quotes', { scope: '"a","b"' }],
    ['tokens bound to nothing', { dpop_bound_access_tokens: false }],
    ['a certificate where none is asked for', { token_endpoint_auth_method: 'self_signed_tls_client_auth' }],
    ['registration_access_token', { registration_access_token: 'x' }],
    ['client_name that is a number', { client_name: 5 }],
  ])('invalid_client_metadata: %s', async (_what, changes) => {
    const answer = await register(server, { ...(await goodMetadata()), ...changes });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_client_metadata' } });
    expect(answer.body['client_id']).toBeUndefined();
  });

  it('invalid_client_metadata: a private key, and nothing of it is answered', async () => {
    const { generatePrivateJwk } = await import('../../src/oauth/signing_key.ts');
    const jwk = await generatePrivateJwk();
    const answer = await register(server, { jwks: { keys: [jwk] } });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_client_metadata' } });
    expect(JSON.stringify(answer.body)).not.toContain(jwk.d);
  });

  it('invalid_redirect_uri: any, since nobody is redirected', async () => {
    const answer = await register(server, { ...(await goodMetadata()), redirect_uris: ['https://a.example.com/'] });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_redirect_uri' } });
  });

  it.each([
    ['no JSON', 'application/json', '{'],
    ['an array', 'application/json', '[]'],
    ['a member twice', 'application/json', '{"client_name":"a","client_name":"b"}'],
    ['a form', 'application/x-www-form-urlencoded', 'client_name=a'],
    ['too much', 'application/json', `{"client_name":"${'x'.repeat(140_000)}"}`],
  ])('invalid_client_metadata: %s', async (_what, type, body) => {
    const headers = { authorization: `Bearer ${INITIAL_TOKEN}`, 'content-type': type };
    const answer = await fetch(`${server.address}/register`, { method: 'POST', headers, body });
    expect([answer.status, await answer.json()]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_client_metadata' }),
    ]);
  });

  it('whatever the metadata, reading it throws nothing and tells nothing of a value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (metadata) => {
        const read = readClientMetadata(metadata as Record<string, unknown>);
        if ('error' in read) expect(read.description.length).toBeLessThan(300);
      }),
    );
  });
});

describe('RFC 7591 §2.3: software statements', () => {
  let own: RegistrationServer;
  let publisher: TestIssuer;
  beforeAll(async () => {
    publisher = await TestIssuer.create('https://publisher.example.com');
    const file = join(server.directory, 'publisher.json');
    publisher.writeJwks(file);
    own = await startRegistrationServer({
      software_statements: { issuers: [{ issuer: publisher.issuer, jwks_file: file }] },
    });
  });
  afterAll(() => own.close());

  const statement = (claims: Record<string, unknown>, issuer = 'https://publisher.example.com') =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: publisher.kid })
      .setIssuer(issuer)
      .setIssuedAt()
      .sign(publisher.key.privateKey);

  it('what it says goes before what stands beside it', async () => {
    const software = await statement({ client_name: 'stated', scope: 'builds:read', software_id: 's1' });
    const metadata = { ...(await goodMetadata()), client_name: 'said', scope: 'builds:write' };
    const { status, body } = await register(own, { ...metadata, software_statement: software });
    expect([status, body['client_name'], body['scope'], body['software_id']]).toEqual([
      201,
      'stated',
      'builds:read',
      's1',
    ]);
  });

  it('unapproved_software_statement: of another issuer', async () => {
    const software = await statement({}, 'https://other.example.com');
    const answer = await register(own, { ...(await goodMetadata()), software_statement: software });
    expect(answer).toMatchObject({ status: 400, body: { error: 'unapproved_software_statement' } });
  });

  it.each([
    ['no JWT', () => Promise.resolve('x')],
    ['expired', () => statement({ exp: 1 })],
    ['ahead', () => statement({ nbf: 4_000_000_000 })],
    [
      'changed',
      async () =>
        (await statement({ a: 1 })).replace(
          /\.[^.]*\./,
          `.${Buffer.from('{"iss":"https://publisher.example.com"}').toString('base64url')}.`,
        ),
    ],
  ])('invalid_software_statement: %s', async (_what, make) => {
    const answer = await register(own, { ...(await goodMetadata()), software_statement: await make() });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_software_statement' } });
  });

  it('unapproved_software_statement: where no issuer is trusted', async () => {
    const answer = await register(server, { ...(await goodMetadata()), software_statement: await statement({}) });
    expect(answer).toMatchObject({ status: 400, body: { error: 'unapproved_software_statement' } });
  });
});

describe('RFC 7591 §3: a workload registers itself', () => {
  it('its immutable identifiers are its identity: always the same client, another for another workflow', async () => {
    const [one, other] = [await clientKey(), await clientKey()];
    const first = await register(server, { jwks: { keys: [one.publicJwk] } }, server.ci.token());
    expect(first.status).toBe(201);
    const renamed = server.ci.token({ claims: { repository: 'acme/renamed' } });
    const second = await register(server, { jwks: { keys: [other.publicJwk] } }, renamed);
    expect(second.body['client_id']).toBe(first.body['client_id']);
    const elsewhere = server.ci.token({ claims: { repository_id: '1' } });
    const third = await register(server, { jwks: { keys: [other.publicJwk] } }, elsewhere);
    expect(third.body['client_id']).not.toBe(first.body['client_id']);
    // Runs that overlap each have their own key.
    for (const key of [one, other])
      expect((await tokenAs(server, String(first.body['client_id']), key)).status).toBe(200);
  });

  it('may exchange identity tokens of its own, and of nobody else', async () => {
    const key = await clientKey();
    const { body } = await register(
      server,
      {
        jwks: { keys: [key.publicJwk] },
        grant_types: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      },
      server.ci.token(),
    );
    const clientId = String(body['client_id']);
    const exchange = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    };
    const own = await tokenAs(server, clientId, key, {
      parameters: { ...exchange, subject_token: server.ci.token() },
    });
    expect(own.status).toBe(200);
    expect(claimsOf(own.body['access_token'])['act']).toBeUndefined();
    const strange = server.ci.token({ claims: { repository_id: '1' } });
    const other = await tokenAs(server, clientId, key, { parameters: { ...exchange, subject_token: strange } });
    expect(other).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect((await byExchange(server, server.ci.token())).status).toBe(200);
  });

  it.each<[string, Record<string, unknown>]>([
    ['of another owner', { repository_owner_id: '1' }],
    ['without one of the identifiers', { workflow_ref: undefined }],
    ['for another audience', { aud: 'https://elsewhere.example.com' }],
    ['expired', { exp: 1 }],
  ])('401: an identity token %s', async (_what, claims) => {
    const answer = await register(server, await goodMetadata(), server.ci.token({ claims }));
    expect(answer).toMatchObject({ status: 401, body: { error: 'invalid_token' } });
  });

  it('of 100 copies of one identity token at once exactly one registers', async () => {
    const token = server.ci.token({ claims: { repository_id: '77' } });
    const metadata = await goodMetadata();
    const answers = await Promise.all(Array.from({ length: 100 }, () => register(server, metadata, token)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(99);
  });
});

describe('bounds', () => {
  it('503: no more clients than the configuration allows', async () => {
    const own = await startRegistrationServer({ clients: 2 });
    for (const status of [201, 201, 503]) expect((await register(own, await goodMetadata())).status).toBe(status);
    await own.close();
    const raced = await startRegistrationServer({ clients: 3 });
    const metadata = await goodMetadata();
    const answers = await Promise.all(Array.from({ length: 40 }, () => register(raced, metadata)));
    expect(answers.filter(({ status }) => status === 201).length).toBeLessThanOrEqual(3);
    expect(answers.every(({ status }) => status === 201 || status === 503)).toBe(true);
    await raced.close();
  });

  it('a client that leaves makes room', async () => {
    const own = await startRegistrationServer({ clients: 1 });
    const { body } = await register(own, await goodMetadata());
    const url = String(body['registration_client_uri']);
    await fetch(url, { method: 'DELETE', headers: { authorization: `Bearer ${body['registration_access_token']}` } });
    expect((await register(own, await goodMetadata())).status).toBe(201);
    await own.close();
  });
});
