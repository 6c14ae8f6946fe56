import { generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeClientAssertion } from '../../src/oauth/client_assertion.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import {
  assertionFor,
  claimsOf,
  requestToken,
  signAssertion,
  startTestServer,
  type TestServer,
} from '../authserver/fixture.ts';

let server: TestServer;
beforeAll(async () => {
  const other = await importSigningKey(await generatePrivateJwk());
  const rights = { jwks: { keys: [other.publicJwk] }, resources: ['https://cloud.example.com/v1'] };
  server = await startTestServer({}, { clients: [{ client_id: 'other', ...rights }] });
});
afterAll(() => server.close());

const now = () => Math.floor(Date.now() / 1000);

async function refusal(assertion: string, parameters: Record<string, string | null> = {}): Promise<[number, unknown]> {
  const answer = await requestToken(server, { assertion, parameters });
  expect(answer.body['access_token']).toBeUndefined();
  return [answer.status, answer.body['error']];
}

const INVALID = [401, 'invalid_client'];

describe('RFC 7523 §2.2, §3: the assertion of a client', () => {
  it.each([
    ['ours', () => assertionFor(server)],
    ['without typ and kid', () => signAssertion(server, {})],
    ['typ JWT', () => signAssertion(server, {}, { typ: 'JWT' })],
    ['audience as an array of one', () => signAssertion(server, { aud: [server.issuer] })],
    ['naming its key by thumbprint', () => signAssertion(server, {}, { kid: server.clientKey.thumbprint })],
    ['with nbf a few seconds ahead', () => signAssertion(server, { nbf: now() + 5 })],
    ['with a claim nobody knows', () => signAssertion(server, { extra: 1 })],
  ])('accepted: %s', async (_what, make) => {
    expect((await requestToken(server, { assertion: await make() })).status).toBe(200);
  });

  it('§3 item 1: iss is the client', async () => {
    expect(await refusal(await signAssertion(server, { iss: 'other' }))).toEqual(INVALID);
    expect(await refusal(await signAssertion(server, { iss: undefined }))).toEqual(INVALID);
  });

  it('§3 item 2: sub is the client, and its key signs', async () => {
    expect(await refusal(await signAssertion(server, { sub: undefined }))).toEqual(INVALID);
    expect(await refusal(await signAssertion(server, { sub: 'nobody', iss: 'nobody' }))).toEqual(INVALID);
    expect(await refusal(await signAssertion(server, { sub: 'other', iss: 'other' }))).toEqual(INVALID);
    expect(await refusal(await signAssertion(server, { sub: ['ci'] }))).toEqual(INVALID);
  });

  it('§2.2: client_id, where it is sent, is the same', async () => {
    expect(await refusal(await assertionFor(server), { client_id: 'other' })).toEqual([400, 'invalid_request']);
    const same = await requestToken(server, { parameters: { client_id: 'ci' } });
    expect(same.status).toBe(200);
  });

  it.each([
    ['the token endpoint', () => `${server.issuer}/token`],
    ['another server', () => 'https://as.example.com'],
    ['the issuer and another', () => [server.issuer, 'https://as.example.com']],
    ['the issuer twice', () => [server.issuer, server.issuer]],
    ['the issuer with a slash', () => `${server.issuer}/`],
    ['nothing', () => undefined],
    ['an empty list', () => []],
    ['an object', () => ({ issuer: server.issuer })],
  ])('§3 item 3: aud is the issuer alone, not %s', async (_what, audience) => {
    expect(await refusal(await signAssertion(server, { aud: audience() }))).toEqual(INVALID);
  });

  it.each([
    ['missing', undefined],
    ['past', -30],
    ['more than five minutes ahead', 400],
    ['no number', 'soon'],
  ])('§3 item 4: exp %s', async (_what, offset) => {
    const exp = typeof offset === 'number' ? now() + offset : offset;
    expect(await refusal(await signAssertion(server, { exp }))).toEqual(INVALID);
  });

  it('§3 item 5: nbf ahead', async () => {
    expect(await refusal(await signAssertion(server, { nbf: now() + 60 }))).toEqual(INVALID);
  });

  it('§3 item 7: jti is there, a text, not too long', async () => {
    for (const jti of [undefined, '', 7, ['a'], 'x'.repeat(257)]) {
      expect(await refusal(await signAssertion(server, { jti }))).toEqual(INVALID);
    }
    expect(
      (await requestToken(server, { assertion: await signAssertion(server, { jti: 'x'.repeat(256) }) })).status,
    ).toBe(200);
  });

  it('§3 item 7: used once', async () => {
    const assertion = await assertionFor(server);
    expect((await requestToken(server, { assertion })).status).toBe(200);
    expect(await refusal(assertion)).toEqual(INVALID);
  });

  it('§3 item 7: of many copies at once exactly one counts', async () => {
    const assertion = await assertionFor(server);
    const answers = await Promise.all(Array.from({ length: 20 }, () => requestToken(server, { assertion })));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.body['error'] === 'invalid_client')).toHaveLength(19);
  });

  it('§3 item 9: signed with a registered key', async () => {
    const stranger = await importSigningKey(await generatePrivateJwk());
    const forged = await makeClientAssertion({ clientId: 'ci', issuer: server.issuer, key: stranger, clock: Date.now });
    expect(await refusal(forged)).toEqual(INVALID);
    const good = await assertionFor(server);
    const [header, , signature] = good.split('.');
    const changed = Buffer.from(JSON.stringify({ ...claimsOf(good), jti: 'other' })).toString('base64url');
    expect(await refusal(`${header}.${changed}.${signature}`)).toEqual(INVALID);
  });

  it('§3 item 9: never with HS256 or none', async () => {
    const good = await assertionFor(server);
    const [, payload] = good.split('.');
    for (const alg of ['none', 'None', 'HS256']) {
      const header = Buffer.from(JSON.stringify({ alg })).toString('base64url');
      expect(await refusal(`${header}.${payload}.`)).toEqual(INVALID);
      expect(await refusal(`${header}.${payload}.AAAA`)).toEqual(INVALID);
    }
  });

  it('RFC 8725 §3.11: a token or a proof signed with the same key is no assertion', async () => {
    for (const typ of ['at+jwt', 'dpop+jwt', 'jwt+other', '']) {
      expect(await refusal(await signAssertion(server, {}, { typ }))).toEqual(INVALID);
    }
  });

  it('RFC 7515 §2: one text for one meaning', async () => {
    const good = await assertionFor(server);
    expect(await refusal(`${good}=`)).toEqual(INVALID);
    const repeated = Buffer.from(`{"iss":"x",${JSON.stringify(claimsOf(good)).slice(1)}`).toString('base64url');
    const [header, , signature] = good.split('.');
    expect(await refusal(`${header}.${repeated}.${signature}`)).toEqual(INVALID);
  });

  it('§2.2: client_assertion_type is jwt-bearer', async () => {
    const type = 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer';
    expect(await refusal(await assertionFor(server), { client_assertion_type: type })).toEqual([
      400,
      'invalid_request',
    ]);
    expect(await refusal(await assertionFor(server), { client_assertion_type: null })).toEqual([
      400,
      'invalid_request',
    ]);
  });

  it.each(['', 'x', 'a.b', 'a.b.c', '..', `${'a'.repeat(40_000)}.b.c`])('malformed: %.20s', async (text) => {
    const [status, error] = await refusal(text);
    expect([400, 401]).toContain(status);
    expect(['invalid_request', 'invalid_client']).toContain(error);
  });
});

describe('keys of other kinds', () => {
  it.each([
    ['Ed25519', 'EdDSA', {}],
    ['RSA of 2048 bits', 'PS256', { modulusLength: 2048 }],
  ])('%s signs assertions', async (_what, alg, options) => {
    const pair = await generateKeyPair(alg, { extractable: true, ...options });
    const { exportJWK } = await import('jose');
    const key = await importSigningKey(await exportJWK(pair.privateKey));
    const own = await startTestServer({ jwks: { keys: [key.publicJwk] } });
    const assertion = await makeClientAssertion({ clientId: 'ci', issuer: own.issuer, key, clock: Date.now });
    const answer = await requestToken(own, { assertion });
    await own.close();
    expect(answer.status).toBe(200);
  });
});
