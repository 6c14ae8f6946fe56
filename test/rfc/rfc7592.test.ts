import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsOf } from '../authserver/fixture.ts';
import {
  CEILING,
  clientKey,
  INITIAL_TOKEN,
  type RegistrationServer,
  register,
  send,
  startRegistrationServer,
  tokenAs,
} from '../authserver/registration_fixture.ts';

let server: RegistrationServer;
beforeAll(async () => {
  server = await startRegistrationServer();
});
afterAll(() => server.close());

async function registered() {
  const key = await clientKey();
  const { body } = await register(server, { client_name: 'deploy', jwks: { keys: [key.publicJwk] } });
  return {
    key,
    clientId: String(body['client_id']),
    url: String(body['registration_client_uri']),
    token: String(body['registration_access_token']),
    body,
  };
}

describe('RFC 7592 §2.1: a client reads its registration', () => {
  it('RFC 7592 §2.1: it is what was answered when it was registered', async () => {
    const client = await registered();
    const answer = await send(client.url, { method: 'GET', token: client.token });
    expect([answer.status, answer.headers.get('cache-control'), answer.body]).toEqual([200, 'no-store', client.body]);
  });

  it('RFC 7592 §2.1: 401 with the token of another client, an initial token, or none', async () => {
    const [one, other] = [await registered(), await registered()];
    for (const method of ['GET', 'PUT', 'DELETE']) {
      for (const token of [other.token, INITIAL_TOKEN, 'x', null]) {
        const answer = await send(one.url, { method, token, ...(method === 'PUT' ? { body: {} } : {}) });
        expect([method, answer.status, answer.body['error']]).toEqual([method, 401, 'invalid_token']);
      }
    }
    expect((await send(one.url, { method: 'GET', token: one.token })).status).toBe(200);
  });

  it('RFC 7592 §2.1: 401 for a client that does not exist or is configured, 404 for what is no identifier', async () => {
    const { token } = await registered();
    for (const path of ['dc_none', 'ci'])
      expect((await send(`${server.address}/register/${path}`, { method: 'GET', token })).status).toBe(401);
    for (const path of ['', 'a/b', 'a%2Fb', '../register'])
      expect((await fetch(`${server.address}/register/${path}`, { method: 'GET' })).status).toBeGreaterThanOrEqual(404);
  });
});

describe('RFC 7592 §2.2: a client changes its registration', () => {
  it('RFC 7592 §2.2: everything is said anew; the key before is good no more', async () => {
    const client = await registered();
    const next = await clientKey();
    const body = { client_id: client.clientId, jwks: { keys: [next.publicJwk] }, scope: 'builds:read admin' };
    const answer = await send(client.url, { method: 'PUT', token: client.token, body });
    expect(answer).toMatchObject({
      status: 200,
      body: { client_id: client.clientId, scope: 'builds:read', registration_access_token: client.token },
    });
    expect(answer.body['client_name']).toBeUndefined();
    expect(await tokenAs(server, client.clientId, client.key)).toMatchObject({ status: 401 });
    const parameters = { scope: 'builds:read builds:write' };
    expect(await tokenAs(server, client.clientId, next, { parameters })).toMatchObject({
      status: 200,
      body: { scope: 'builds:read' },
    });
  });

  it('RFC 7592 §2.2: it never gets beyond what its initial access token allows', async () => {
    const client = await registered();
    const more = { type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects' };
    const body = {
      client_id: client.clientId,
      jwks: { keys: [client.key.publicJwk] },
      scope: 'admin builds:write',
      authorization_details: [more, ...CEILING.authorization_details],
    };
    const answer = await send(client.url, { method: 'PUT', token: client.token, body });
    expect(answer.body).toMatchObject({
      scope: 'builds:write',
      authorization_details: CEILING.authorization_details,
    });
  });

  it.each<[string, Record<string, unknown>]>([
    ['without client_id', { client_id: undefined }],
    ['with that of another', { client_id: 'dc_other' }],
    ['with a registration_access_token', { registration_access_token: 'x' }],
    ['with a registration_client_uri', { registration_client_uri: 'https://a.example.com' }],
    ['with client_id_issued_at', { client_id_issued_at: 1 }],
    ['with a secret', { client_secret: 'x' }],
    ['without a key', { jwks: null }],
    ['asking for a secret', { token_endpoint_auth_method: 'client_secret_basic' }],
  ])('RFC 7592 §2.2: 400 %s, and nothing changes', async (_what, changes) => {
    const client = await registered();
    const body = { client_id: client.clientId, jwks: { keys: [client.key.publicJwk] }, ...changes };
    const answer = await send(client.url, { method: 'PUT', token: client.token, body });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_client_metadata' } });
    expect((await send(client.url, { method: 'GET', token: client.token })).body).toEqual(client.body);
  });

  it('a workload stays the workload it is', async () => {
    const key = await clientKey();
    const { body } = await register(server, { jwks: { keys: [key.publicJwk] } }, server.ci.token());
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const change = {
      client_id: body['client_id'],
      jwks: { keys: [key.publicJwk] },
      scope: 'builds:read',
      grant_types: ['client_credentials', exchange],
    };
    const token = String(body['registration_access_token']);
    const answer = await send(String(body['registration_client_uri']), { method: 'PUT', token, body: change });
    expect(answer).toMatchObject({ status: 200, body: { scope: 'builds:read' } });
    const strange = server.ci.token({ claims: { repository_id: '1' } });
    for (const [subject, status] of [
      [server.ci.token(), 200],
      [strange, 400],
    ] as const) {
      const parameters = {
        grant_type: exchange,
        subject_token: subject,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        scope: 'builds:read',
      };
      expect((await tokenAs(server, String(body['client_id']), key, { parameters })).status).toBe(status);
    }
  });
});

describe('RFC 7592 §2.3: a client removes itself', () => {
  it('RFC 7592 §2.3: 204; then neither its key nor its token is good', async () => {
    const client = await registered();
    const issued = await tokenAs(server, client.clientId, client.key);
    expect(claimsOf(issued.body['access_token'])).toMatchObject({ client_id: client.clientId });
    const answer = await send(client.url, { method: 'DELETE', token: client.token });
    expect([answer.status, answer.body]).toEqual([204, {}]);
    expect(await tokenAs(server, client.clientId, client.key)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    });
    expect((await send(client.url, { method: 'GET', token: client.token })).status).toBe(401);
    expect((await send(client.url, { method: 'DELETE', token: client.token })).status).toBe(401);
  });
});

describe('expiry and unused clients', () => {
  it('a client that gets no token leaves; one that does stays, until it must register again', async () => {
    let now = Date.now();
    const own = await startRegistrationServer(
      { unused_seconds: 100, client_lifetime_seconds: 300 },
      { clock: () => now },
    );
    const [used, unused] = [await clientKey(), await clientKey()];
    const ids: (readonly [string, string])[] = [];
    for (const key of [used, unused]) {
      const { body } = await register(own, { jwks: { keys: [key.publicJwk] } });
      ids.push([String(body['client_id']), String(body['registration_access_token'])] as const);
    }
    const isThere = async (index: number) => {
      const [id, token] = ids[index] ?? ['', ''];
      return (await send(`${own.address}/register/${id}`, { method: 'GET', token })).status === 200;
    };
    // oidc-provider reads the system's clock, so that the assertions are made by that one; steps stay within its window.
    now += 50_000;
    expect((await tokenAs(own, ids[0]?.[0] ?? '', used)).status).toBe(200);
    now += 60_000;
    expect([await isThere(0), await isThere(1)]).toEqual([true, false]);
    now += 300_000;
    expect(await isThere(0)).toBe(false);
    await own.close();
  });
});
