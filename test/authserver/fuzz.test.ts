import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPolicyAnswer } from '../../src/authserver/issuance_policy.ts';
import { assertionFor, proofFor, requestToken } from './fixture.ts';
import { INITIAL_TOKEN, type RegistrationServer, startRegistrationServer } from './registration_fixture.ts';

/** Whatever is sent, the answer is one of this server's, and nothing fails inside. */

let server: RegistrationServer;
beforeAll(async () => {
  server = await startRegistrationServer();
});
afterAll(() => server.close());

const NAMES = [
  'grant_type',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'assertion',
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'requested_token_type',
  'audience',
  'resource',
  'scope',
  'authorization_details',
  'token',
  'token_type_hint',
  '__proto__',
  'constructor',
];
const WORDS = [
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:token-exchange',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
  'urn:sallyport:endpoint:revocation',
  'ci',
  'deploy',
  'a.b.c',
  'https://cloud.example.com/v1',
  '[{"type":"cloud_api"}]',
  '[]',
  '{"__proto__":[]}',
];
const value = fc.oneof(fc.constantFrom(...WORDS), fc.string({ unit: 'binary', maxLength: 60 }));
const form = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...NAMES), fc.string()), value), { maxLength: 8 });

function isOrdinary(status: number): boolean {
  return status === 200 || (status >= 400 && status < 500);
}

function failures(): unknown[] {
  return server.lines.filter(({ level }) => level === 'error' || level === 'fatal');
}

describe('any form at any endpoint', () => {
  it.each(['/token', '/revoke', '/introspect'])('%s', async (path) => {
    await fc.assert(
      fc.asyncProperty(form, fc.option(fc.string()), async (pairs, proof) => {
        const body = new URLSearchParams(pairs.map(([name, text]) => [name, text] as [string, string]));
        const headers = proof === null || !/^[\x21-\x7e]+$/.test(proof) ? {} : { dpop: proof };
        const answer = await fetch(`${server.address}${path}`, { method: 'POST', body, headers });
        const text = await answer.text();
        expect([pairs, isOrdinary(answer.status)]).toEqual([pairs, true]);
        if (text !== '') expect(Object.keys(JSON.parse(text) as object)).toContain('error');
      }),
      { numRuns: 150 },
    );
    expect(failures()).toEqual([]);
  });

  it('any authorization_details of a client that is known', async () => {
    const json = fc.oneof(
      fc.json(),
      fc.json().map((text) => `[${text}]`),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(json, async (details) => {
        const parts = { assertion: await assertionFor(server), proof: await proofFor(server) };
        const answer = await requestToken(server, { ...parts, parameters: { authorization_details: details } });
        expect([details, isOrdinary(answer.status)]).toEqual([details, true]);
      }),
      { numRuns: 60 },
    );
    expect(failures()).toEqual([]);
  });
});

it('any JSON at the registration endpoint', async () => {
  const names = [
    'jwks',
    'scope',
    'grant_types',
    'resources',
    'authorization_details',
    'redirect_uris',
    'client_name',
    'x',
  ];
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 3 })), async (metadata) => {
      const answer = await fetch(`${server.address}/register`, {
        method: 'POST',
        headers: { authorization: `Bearer ${INITIAL_TOKEN}`, 'content-type': 'application/json' },
        body: JSON.stringify(metadata),
      });
      expect([metadata, answer.status]).toEqual([metadata, 400]);
    }),
    { numRuns: 150 },
  );
  expect(failures()).toEqual([]);
});

it('any answer of a policy is read without an exception, and only allow: true allows', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue(), { maxLength: 2 }), (values) => {
      const read = readPolicyAnswer(values);
      if (read.ok && read.value.allow) expect((values[0] as { allow: unknown }).allow).toBe(true);
    }),
  );
});
