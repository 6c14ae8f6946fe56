import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUILDS, claimsOf, RESOURCE, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('RFC 8707 §2: the resource of a token', () => {
  it.each([RESOURCE, 'https://other.example.com/'])('is the sole audience of the token: %s', async (resource) => {
    const answer = await requestToken(server, { parameters: { resource } });
    expect(answer.status).toBe(200);
    expect(claimsOf(answer.body['access_token'])['aud']).toBe(resource);
  });

  const details = JSON.stringify([BUILDS]);
  it.each([
    ['none, with a scope', { resource: null }],
    ['none, with authorization_details', { resource: null, scope: null, authorization_details: details }],
    ['none, with nothing else', { resource: null, scope: null }],
    ['an empty one', { resource: '' }],
    ['one that this client may not have', { resource: 'https://unknown.example.com/' }],
    ['one that only begins like an allowed one', { resource: `${RESOURCE}/more` }],
    ['one in another spelling', { resource: 'https://CLOUD.example.com/v1' }],
    ['one with a trailing slash', { resource: `${RESOURCE}/` }],
    ['one that is no URI', { resource: 'cloud' }],
    ['one with a fragment', { resource: `${RESOURCE}#x` }],
    ['two', { resource: [RESOURCE, 'https://other.example.com/'] }],
    ['an allowed and an unknown one', { resource: [RESOURCE, 'https://unknown.example.com/'] }],
  ])('invalid_target: %s', async (_what, parameters) => {
    const answer = await requestToken(server, { parameters });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
    expect(answer.body['access_token']).toBeUndefined();
  });
});
