import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUILDS, claimsOf, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const ask = (details: unknown, more: Record<string, string | null> = {}) =>
  requestToken(server, { parameters: { authorization_details: JSON.stringify(details), ...more } });

const LIST = { type: 'cloud_api', actions: ['builds.list'], identifier: 'projects/p1' };
const OVER = { type: 'cloud_api', actions: ['projects.delete'], identifier: 'projects/p1' };
const MORE = { type: 'cloud_api', actions: ['builds.create', 'projects.delete'], identifier: 'projects/p1' };
const BESIDE = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p2' };

describe('RFC 9396 §6, §7: what is granted', () => {
  it('§7: stands in the answer and in the token (§9.1), item by item as asked', async () => {
    const below = { ...BUILDS, identifier: 'projects/p1/builds/7', locations: ['https://cloud.example.com/v1'] };
    const answer = await ask([below, LIST]);
    expect(answer.status).toBe(200);
    expect(answer.body['authorization_details']).toEqual([below, LIST]);
    expect(claimsOf(answer.body['access_token'])['authorization_details']).toEqual([below, LIST]);
  });

  it('§6.1: items above the ceiling are left out, whole', async () => {
    const answer = await ask([OVER, BUILDS, MORE, BESIDE]);
    expect(answer.body['authorization_details']).toEqual([BUILDS]);
    expect(claimsOf(answer.body['access_token'])['authorization_details']).toEqual([BUILDS]);
  });

  it('without the parameter there are none', async () => {
    const answer = await requestToken(server);
    expect(answer.body['authorization_details']).toBeUndefined();
    expect(claimsOf(answer.body['access_token'])['authorization_details']).toBeUndefined();
  });

  it('RFC 6749 §3.2: the parameter without a value is as if left out', async () => {
    const answer = await requestToken(server, { parameters: { authorization_details: '' } });
    expect(answer.status).toBe(200);
    expect(answer.body['authorization_details']).toBeUndefined();
  });

  it('an empty list asks for none', async () => {
    expect((await ask([])).body['authorization_details']).toBeUndefined();
    expect(await ask([], { scope: null })).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
  });
});

describe('RFC 9396 §5: invalid_authorization_details', () => {
  it.each([
    ['an unknown type', [{ type: 'payment_initiation' }]],
    ['a good item and one of an unknown type', [BUILDS, { type: 'payment_initiation' }]],
    ['an unknown field', [{ ...BUILDS, limit: 5 }]],
    ['a field of RFC 9396 §2.2 that the type does not have', [{ ...BUILDS, privileges: ['admin'] }]],
    ['a field of another type', [{ ...BUILDS, actions: 'builds.create' }]],
    ['an invalid value', [{ ...BUILDS, identifier: '../p1' }]],
    ['a missing field', [{ type: 'cloud_api', actions: ['builds.create'] }]],
    ['no type', [{ actions: ['builds.create'], identifier: 'projects/p1' }]],
    ['an item that is no object', ['cloud_api']],
    ['no array', BUILDS],
    ['too many items', Array.from({ length: 51 }, () => BUILDS)],
    ['items all of them above the ceiling', [OVER, MORE, BESIDE]],
  ])('%s', async (_what, details) => {
    const answer = await ask(details);
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
    expect(answer.body['access_token']).toBeUndefined();
  });

  it.each(['{', 'null', '[{"type":"cloud_api","type":"cloud_api","actions":["a"],"identifier":"p"}]'])(
    'text that is not what it must be: %s',
    async (text) => {
      const answer = await requestToken(server, { parameters: { authorization_details: text } });
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
    },
  );

  it('a client without a ceiling gets none', async () => {
    const own = await startTestServer({ authorization_details: [] });
    const parameters = { authorization_details: JSON.stringify([BUILDS]) };
    const answer = await requestToken(own, { parameters });
    await own.close();
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_authorization_details' } });
  });
});
