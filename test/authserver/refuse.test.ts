import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { assertionFor, claimsOf, proofFor, requestToken, startTestServer, type TestServer } from './fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

async function refusal(parts: Parameters<typeof requestToken>[1]): Promise<[number, unknown]> {
  const answer = await requestToken(server, parts);
  expect(answer.body['access_token']).toBeUndefined();
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('content-type')).toContain('application/json');
  return [answer.status, answer.body['error']];
}

const basic = `Basic ${Buffer.from('ci:secret').toString('base64')}`;
const none = { client_assertion: null, client_assertion_type: null };

describe('client authentication other than private_key_jwt', () => {
  it('invalid_client: client_secret_basic', async () => {
    expect(await refusal({ headers: { authorization: basic }, parameters: none })).toEqual([401, 'invalid_client']);
  });

  it('invalid_client: client_secret_post', async () => {
    const parameters = { ...none, client_id: 'ci', client_secret: 'secret' };
    expect(await refusal({ parameters })).toEqual([401, 'invalid_client']);
  });

  it('invalid_client: none', async () => {
    expect(await refusal({ parameters: { ...none, client_id: 'ci' } })).toEqual([401, 'invalid_client']);
  });

  it('invalid_request: nothing at all', async () => {
    expect(await refusal({ parameters: none })).toEqual([400, 'invalid_request']);
  });

  it('RFC 6749 §2.3: an assertion and a secret at once', async () => {
    expect(await refusal({ parameters: { client_secret: 'secret' } })).toEqual([400, 'invalid_request']);
    expect(await refusal({ headers: { authorization: basic } })).toEqual([400, 'invalid_request']);
  });
});

describe('DPoP is always required', () => {
  it('RFC 9449 §5.2: a request without a proof', async () => {
    expect(await refusal({ proof: null })).toEqual([400, 'invalid_dpop_proof']);
  });

  it('RFC 9449 §5: a proof that is used again', async () => {
    const proof = await proofFor(server);
    expect((await requestToken(server, { proof })).status).toBe(200);
    expect(await refusal({ proof })).toEqual([400, 'invalid_dpop_proof']);
  });

  it('RFC 9449 §11.1: of many copies of one proof at once exactly one gets a token', async () => {
    const proof = await proofFor(server);
    const answers = await Promise.all(Array.from({ length: 20 }, () => requestToken(server, { proof })));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.body['error'] === 'invalid_dpop_proof')).toHaveLength(19);
  });

  it('RFC 9449 §11.1: a refused request burns no proof', async () => {
    const proof = await proofFor(server);
    expect(await refusal({ proof, parameters: { scope: 'nothing:here' } })).toEqual([400, 'invalid_scope']);
    expect((await requestToken(server, { proof })).status).toBe(200);
  });

  it('a jti that another key used before is no replay', async () => {
    const other = await importSigningKey(await generatePrivateJwk());
    const proof = await proofFor(server);
    const { SignJWT } = await import('jose');
    const copy = await new SignJWT(claimsOf(proof))
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: other.publicJwk })
      .sign(other.privateKey);
    expect((await requestToken(server, { proof })).status).toBe(200);
    expect((await requestToken(server, { proof: copy })).status).toBe(200);
  });

  it.each([
    ['for another method', () => proofFor(server, { method: 'GET' })],
    ['for another endpoint', () => proofFor(server, { url: `${server.issuer}/jwks` })],
    ['for another origin', () => proofFor(server, { url: 'https://as.example.com/token' })],
    ['61 seconds old', () => proofFor(server, { clock: () => Date.now() - 62_000 })],
    ['dated ahead', () => proofFor(server, { clock: () => Date.now() + 15_000 })],
    [
      'signed with another key',
      async () => {
        const other = await importSigningKey(await generatePrivateJwk());
        return proofFor(server, { privateKey: other.privateKey });
      },
    ],
    ['twice in one header', async () => `${await proofFor(server)}, ${await proofFor(server)}`],
    ['with white space in it', async () => (await proofFor(server)).replace('.', '. ')],
    ['with padding', async () => `${await proofFor(server)}=`],
    ['that is an assertion', () => assertionFor(server)],
    ['that is no JWT', async () => 'x'],
  ])('invalid_dpop_proof: a proof %s', async (_what, make) => {
    expect(await refusal({ proof: await make() })).toEqual([400, 'invalid_dpop_proof']);
  });

  it('RFC 9449 §4.3 check 9: a query in htu does not count, and Host does not make the origin', async () => {
    const proof = await proofFor(server, { url: `${server.issuer}/token` });
    expect((await requestToken(server, { proof, headers: { 'x-forwarded-host': 'evil.example' } })).status).toBe(200);
    const evil = await proofFor(server, { url: 'http://evil.example/token' });
    const headers = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'http' };
    expect(await refusal({ proof: evil, headers })).toEqual([400, 'invalid_dpop_proof']);
  });
});

describe('grant and parameters', () => {
  it.each([
    'authorization_code',
    'refresh_token',
    'password',
    'urn:ietf:params:oauth:grant-type:token-exchange',
    'implicit',
  ])('unsupported_grant_type: %s', async (grant) => {
    expect(await refusal({ parameters: { grant_type: grant } })).toEqual([400, 'unsupported_grant_type']);
  });

  it('invalid_request: a parameter twice', async () => {
    expect(await refusal({ parameters: { scope: ['builds:write', 'builds:read'] } })).toEqual([400, 'invalid_request']);
    expect(await refusal({ parameters: { grant_type: ['client_credentials', 'client_credentials'] } })).toEqual([
      400,
      'invalid_request',
    ]);
  });

  it('invalid_request: parameters in another form than application/x-www-form-urlencoded', async () => {
    expect(await refusal({ headers: { 'content-type': 'application/json' } })).toEqual([400, 'invalid_request']);
  });

  it('invalid_request: a body of more than 56 kB', async () => {
    expect(await refusal({ parameters: { padding: 'x'.repeat(60_000) } })).toEqual([400, 'invalid_request']);
  });

  it('invalid_request: a browser', async () => {
    expect(await refusal({ headers: { origin: 'https://page.example' } })).toEqual([400, 'invalid_request']);
  });

  it('invalid_scope: only scopes above the ceiling', async () => {
    expect(await refusal({ parameters: { scope: 'secrets:read admin' } })).toEqual([400, 'invalid_scope']);
  });

  it('invalid_scope: neither scope nor authorization_details', async () => {
    expect(await refusal({ parameters: { scope: null } })).toEqual([400, 'invalid_scope']);
  });

  it('invalid_scope: characters that RFC 6749 §3.3 does not allow', async () => {
    expect(await refusal({ parameters: { scope: 'builds:write "x"' } })).toEqual([400, 'invalid_scope']);
  });

  it('answers in JSON also where a page is preferred', async () => {
    expect(await refusal({ headers: { accept: 'text/html' }, parameters: { scope: null } })).toEqual([
      400,
      'invalid_scope',
    ]);
  });
});

describe('the log of a refusal', () => {
  it('names client, error and detail, never the assertion or the proof', async () => {
    const assertion = await assertionFor(server);
    const proof = await proofFor(server);
    await requestToken(server, { assertion, proof, parameters: { resource: 'https://nowhere.example/' } });
    expect(server.lines.at(-1)).toMatchObject({
      level: 'warn',
      message: 'token refused',
      fields: { client_id: 'ci', error: 'invalid_target' },
    });
    const text = JSON.stringify(server.lines);
    for (const part of `${assertion}.${proof}`.split('.')) expect(text).not.toContain(part);
  });
});
