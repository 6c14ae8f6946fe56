import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { TokenClient, TokenRefused } from '../../src/oauth/client_credentials.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';

let clientKey: SigningKey;
let proofKey: SigningKey;
beforeAll(async () => {
  clientKey = await importSigningKey(await generatePrivateJwk());
  proofKey = await importSigningKey(await generatePrivateJwk());
});

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** What a token endpoint received. */
interface Seen {
  readonly form: URLSearchParams;
  readonly proof: string;
}

type Respond = (response: ServerResponse, count: number) => void;

/** A token endpoint that answers as the test says. */
async function endpoint(respond: Respond): Promise<{ client: TokenClient; seen: Seen[]; issuer: string }> {
  const seen: Seen[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    seen.push({ form: new URLSearchParams(body), proof: String(request.headers['dpop']) });
    respond(response, seen.length);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const document = { issuer, token_endpoint: `${issuer}/token` };
  const client = new TokenClient({
    server: { issuer, jwksUri: null, document },
    clientId: 'ci',
    clientKey,
    proofKey,
    timeoutMs: 2000,
    clock: () => 1_700_000_000_000,
  });
  return { client, seen, issuer };
}

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Respond =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };

const TOKEN = { access_token: 'opaque', token_type: 'DPoP', expires_in: 60 };
const REQUEST = { resource: 'https://cloud.example.com/v1', scopes: ['a', 'b'] };

describe('TokenClient', () => {
  it('asks with assertion, proof, resource, scope and authorization_details', async () => {
    const { client, seen, issuer } = await endpoint(json(200, TOKEN));
    const details = [{ type: 'cloud_api', actions: ['x'], identifier: 'p' }];
    const token = await client.request({ ...REQUEST, authorizationDetails: details, job: { run_id: '7' } });
    expect(token).toEqual({
      accessToken: 'opaque',
      expiresAt: 1_700_000_060,
      scopes: ['a', 'b'],
      authorizationDetails: [],
    });
    const [{ form, proof }] = seen as [Seen];
    const { client_assertion: assertion, ...rest } = Object.fromEntries(form);
    expect(rest).toEqual({
      grant_type: 'client_credentials',
      client_id: 'ci',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      resource: REQUEST.resource,
      scope: 'a b',
      authorization_details: JSON.stringify(details),
    });
    expect(decodeJwt(String(assertion))).toMatchObject({
      iss: 'ci',
      aud: issuer,
      job: { run_id: '7' },
      iat: 1_700_000_000,
    });
    expect(decodeProtectedHeader(proof)).toEqual({ typ: 'dpop+jwt', alg: 'ES256', jwk: proofKey.publicJwk });
    expect(decodeJwt(proof)).toMatchObject({ htm: 'POST', htu: `${issuer}/token`, iat: 1_700_000_000 });
  });

  it('returns what was granted, which may be less than was asked for', async () => {
    const details = [{ type: 'cloud_api', actions: ['x'], identifier: 'p' }];
    const { client } = await endpoint(json(200, { ...TOKEN, scope: 'a', authorization_details: details }));
    expect(await client.request(REQUEST)).toMatchObject({ scopes: ['a'], authorizationDetails: details });
  });

  it('RFC 9449 §8: a nonce is used at once, with a new proof and a new assertion, and kept', async () => {
    const { client, seen } = await endpoint((response, count) => {
      if (count === 1) json(400, { error: 'use_dpop_nonce' }, { 'DPoP-Nonce': 'n1' })(response, count);
      else json(200, TOKEN)(response, count);
    });
    await client.request(REQUEST);
    await client.request(REQUEST);
    const proofs = seen.map(({ proof }) => decodeJwt(proof));
    expect(proofs.map((claims) => claims['nonce'])).toEqual([undefined, 'n1', 'n1']);
    expect(new Set(proofs.map((claims) => claims.jti)).size).toBe(3);
    expect(new Set(seen.map(({ form }) => form.get('client_assertion'))).size).toBe(3);
  });

  it('RFC 9449 §8: a nonce is tried once, not for ever', async () => {
    const { client, seen } = await endpoint(json(400, { error: 'use_dpop_nonce' }, { 'DPoP-Nonce': 'n' }));
    await expect(client.request(REQUEST)).rejects.toMatchObject({ name: 'TokenRefused', error: 'use_dpop_nonce' });
    expect(seen).toHaveLength(2);
  });

  it('a refusal is a TokenRefused with its code and description', async () => {
    const { client } = await endpoint(json(400, { error: 'invalid_scope', error_description: 'not yours' }));
    const error = await client.request(REQUEST).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TokenRefused);
    expect(error).toMatchObject({ error: 'invalid_scope', message: 'invalid_scope: not yours' });
  });

  it('a failed authentication with a challenge is invalid_client', async () => {
    const { client } = await endpoint(
      json(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic realm="x"' }),
    );
    await expect(client.request(REQUEST)).rejects.toMatchObject({ name: 'TokenRefused', error: 'invalid_client' });
  });

  it.each<[string, Respond]>([
    ['a bearer token', json(200, { ...TOKEN, token_type: 'Bearer' })],
    ['no token', json(200, { token_type: 'DPoP' })],
    ['no JSON', json(200, 'x')],
    ['a page', json(200, '<html>', { 'content-type': 'text/html' })],
    ['a redirect', json(302, '', { location: 'http://127.0.0.1:9/' })],
    ['a failure', json(500, {})],
    ['2 MB', json(200, { ...TOKEN, padding: 'x'.repeat(2_000_000) })],
  ])('invalid_response: %s', async (_what, respond) => {
    const { client, seen } = await endpoint(respond);
    await expect(client.request(REQUEST)).rejects.toMatchObject({ name: 'TokenRefused', error: 'invalid_response' });
    expect(seen).toHaveLength(1);
  });

  it('nobody there is the error of the connection', async () => {
    const { client } = await endpoint(json(200, TOKEN));
    for (const server of servers) await new Promise((resolve) => server.close(resolve));
    const error = await client.request(REQUEST).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(TokenRefused);
  });

  it('sends nothing over http to another machine', async () => {
    const document = { issuer: 'http://as.example.com', token_endpoint: 'http://as.example.com/token' };
    const server = { issuer: document.issuer, jwksUri: null, document };
    const client = new TokenClient({ server, clientId: 'ci', clientKey, proofKey, timeoutMs: 500, clock: Date.now });
    await expect(client.request(REQUEST)).rejects.toThrow('only requests to HTTPS are allowed');
  });
});

describe('makeClientAssertion', () => {
  it('RFC 7523 §3: carries what is required, and further claims cannot replace that', async () => {
    const clock = () => 1_700_000_000_900;
    const claims = { iss: 'x', aud: 'x', exp: 1, job: { ref: 'main' } };
    const text = await makeClientAssertion({
      clientId: 'ci',
      issuer: 'https://as.example.com',
      key: clientKey,
      claims,
      clock,
    });
    const { payload, protectedHeader } = await jwtVerify(text, clientKey.publicKey, { currentDate: new Date(clock()) });
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'client-authentication+jwt' });
    expect(payload).toEqual({
      iss: 'ci',
      sub: 'ci',
      aud: 'https://as.example.com',
      iat: 1_700_000_000,
      nbf: 1_700_000_000,
      exp: 1_700_000_060,
      jti: expect.stringMatching(/^[\w-]{36}$/),
      job: { ref: 'main' },
    });
  });

  it('names its key where the JWK has a name', async () => {
    const key = await importSigningKey({ ...(await generatePrivateJwk()), kid: 'k1' });
    const text = await makeClientAssertion({ clientId: 'ci', issuer: 'https://as.example.com', key, clock: Date.now });
    expect(decodeProtectedHeader(text).kid).toBe('k1');
  });
});

describe('importSigningKey', () => {
  it.each([
    ['ES256', 'ES256'],
    ['EdDSA', 'EdDSA'],
    ['PS256', 'PS256'],
  ])('%s: signs, shows its public part and gives the private one to nobody', async (made, alg) => {
    const { privateKey } = await generateKeyPair(made, { extractable: true });
    const key = await importSigningKey(await exportJWK(privateKey));
    expect(key.alg).toBe(alg);
    expect(key.privateKey.extractable).toBe(false);
    expect(key.publicJwk).not.toHaveProperty('d');
    const text = await makeClientAssertion({ clientId: 'ci', issuer: 'https://as.example.com', key, clock: Date.now });
    await expect(jwtVerify(text, key.publicKey)).resolves.toBeDefined();
  });

  it('refuses what cannot sign', async () => {
    const { d, ...publicPart } = await generatePrivateJwk();
    expect(d).toBeTypeOf('string');
    await expect(importSigningKey(publicPart)).rejects.toThrow('no private part');
    await expect(importSigningKey({ kty: 'oct', k: 'AAAA' })).rejects.toThrow('cannot be used');
    await expect(importSigningKey({ ...publicPart, d: '', crv: 'P-384' })).rejects.toThrow('cannot be used');
  });
});
