import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proofFor, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({}, { server: { dpop: { nonce: 'required' } } });
});
afterAll(() => server.close());

async function nonceOf(own = server): Promise<string> {
  const { headers } = await requestToken(own);
  return headers.get('dpop-nonce') ?? '';
}

describe('RFC 9449 §8: nonces of the authorization server', () => {
  it('RFC 9449 §8: use_dpop_nonce and one DPoP-Nonce, where a proof has none', async () => {
    const answer = await requestToken(server);
    expect(answer).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
    expect(answer.headers.get('dpop-nonce')).toMatch(/^[\w-]{20,}$/);
    expect(answer.body['access_token']).toBeUndefined();
  });

  it('RFC 9449 §8: a proof with it is good, with a new assertion and a new proof', async () => {
    const nonce = await nonceOf();
    expect((await requestToken(server, { proof: await proofFor(server, { nonce }) })).status).toBe(200);
  });

  it.each([
    ['another text', () => 'x'.repeat(43)],
    ['one letter changed', async () => (await nonceOf()).replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))],
    ['empty', () => ''],
    ['very long', () => 'y'.repeat(5000)],
  ])('RFC 9449 §8: use_dpop_nonce: %s', async (_what, make) => {
    const proof = await proofFor(server, { nonce: await make() });
    const answer = await requestToken(server, { proof });
    expect(answer).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
    expect(answer.headers.get('dpop-nonce')).not.toBeNull();
  });

  it('RFC 9449 §8: a nonce makes no old proof good', async () => {
    const nonce = await nonceOf();
    const proof = await proofFor(server, { nonce, clock: () => Date.now() - 120_000 });
    expect(await requestToken(server, { proof })).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } });
  });

  it('RFC 9449 §8: one that another server made is none', async () => {
    const other = await startTestServer({}, { server: { dpop: { nonce: 'required' } } });
    const nonce = await nonceOf(other);
    await other.close();
    const answer = await requestToken(server, { proof: await proofFor(server, { nonce }) });
    expect(answer).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } });
  });

  it('where none is demanded, none is sent', async () => {
    const own = await startTestServer();
    const answer = await requestToken(own);
    await own.close();
    expect([answer.status, answer.headers.get('dpop-nonce')]).toEqual([200, null]);
  });

  it('RFC 9449 §11.1: of 100 copies of one proof at once at most one gets a token', async () => {
    const own = await startTestServer();
    const proof = await proofFor(own);
    const answers = await Promise.all(Array.from({ length: 100 }, () => requestToken(own, { proof })));
    await own.close();
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ body }) => body['error'] === 'invalid_dpop_proof')).toHaveLength(99);
  });
});
