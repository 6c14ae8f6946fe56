import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { askAbout } from '../authserver/ask_fixture.ts';
import { RESOURCE, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

describe.each(['jwt', 'opaque'])('RFC 7009 §2: a client takes its token back (%s)', (format) => {
  let gatewayKey: SigningKey;
  let otherKey: SigningKey;
  let server: TestServer;
  beforeAll(async () => {
    gatewayKey = await importSigningKey(await generatePrivateJwk());
    otherKey = await importSigningKey(await generatePrivateJwk());
    const jwks = { keys: [gatewayKey.publicJwk] };
    server = await startTestServer(
      {},
      {
        server: { resource_servers: [{ client_id: 'gateway', jwks, resources: [RESOURCE], token_format: format }] },
        clients: [{ client_id: 'other', jwks: { keys: [otherKey.publicJwk] }, resources: [RESOURCE] }],
      },
    );
  });
  afterAll(() => server.close());

  const ci = () => ({ clientId: 'ci', key: server.clientKey });

  async function isActive(token: string): Promise<boolean> {
    const { text } = await askAbout(server, 'introspect', { clientId: 'gateway', key: gatewayKey }, { token });
    return (JSON.parse(text) as { active: boolean }).active;
  }

  async function issue(): Promise<string> {
    const token = String((await requestToken(server)).body['access_token']);
    expect(await isActive(token)).toBe(true);
    return token;
  }

  it.each([null, 'access_token', 'refresh_token', 'nonsense'])(
    'RFC 7009 §2.1: 200, and it is not active from then on; the hint %s changes nothing',
    async (hint) => {
      const token = await issue();
      const answer = await askAbout(server, 'revoke', ci(), { token, token_type_hint: hint });
      expect([answer.status, answer.text]).toEqual([200, '']);
      expect(await isActive(token)).toBe(false);
    },
  );

  it('RFC 7009 §2.2: 200 also for what is no token, or is taken back already', async () => {
    const token = await issue();
    for (const text of [token, token, 'x', 'a.b.c', `spat_${'A'.repeat(43)}`]) {
      expect((await askAbout(server, 'revoke', ci(), { token: text })).status).toBe(200);
    }
  });

  it('RFC 7009 §2.1: a token of another client is refused and stays', async () => {
    const token = await issue();
    const answer = await askAbout(server, 'revoke', { clientId: 'other', key: otherKey }, { token });
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      400,
      expect.objectContaining({ error: 'unauthorized_client' }),
    ]);
    expect(await isActive(token)).toBe(true);
  });

  it('RFC 7009 §2.1: nobody takes anything back without authentication', async () => {
    const token = await issue();
    const none = { client_assertion: null, client_assertion_type: null };
    for (const parameters of [none, { ...none, client_id: 'ci' }]) {
      const answer = await askAbout(server, 'revoke', ci(), { token, ...parameters });
      expect(answer.status).toBeGreaterThanOrEqual(400);
    }
    expect(await isActive(token)).toBe(true);
  });

  it('RFC 7009 §2.1: the parameter token is required', async () => {
    const answer = await askAbout(server, 'revoke', ci(), {});
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      400,
      expect.objectContaining({ error: 'invalid_request' }),
    ]);
  });

  it('one token taken back leaves the others', async () => {
    const [one, other] = [await issue(), await issue()];
    await askAbout(server, 'revoke', ci(), { token: one });
    expect(await isActive(other)).toBe(true);
  });
});
