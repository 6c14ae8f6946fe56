import { afterEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis_server.ts';
import { askAbout } from './ask_fixture.ts';
import {
  assertionFor,
  proofFor,
  RESOURCE,
  requestToken,
  signAssertion,
  startTestServer,
  type TestServer,
} from './fixture.ts';

let server: TestServer;
afterEach(() => server.close());

async function start(more: Record<string, unknown> = {}): Promise<void> {
  server = await startTestServer({}, { server: { admin: { port: 0 }, ...more } });
}
const page = async (path: string, init: RequestInit = {}) => {
  const response = await fetch(server.adminOrigin + path, init);
  return { status: response.status, text: await response.text() };
};
/** The values of a metric, by its labels as they are written. */
async function metric(name: string): Promise<Record<string, number>> {
  const { text } = await page('/metrics');
  const rows = [...text.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\d+)$`, 'gm'))];
  return Object.fromEntries(rows.map(([, labels = '', value]) => [labels, Number(value)]));
}

describe('the admin port of an authorization server', () => {
  it('is not there unless it is asked for, and never on the port of clients', async () => {
    server = await startTestServer();
    expect(server.adminOrigin).toBeNull();
    for (const path of ['/metrics', '/readyz', '/livez']) expect((await fetch(server.address + path)).status).toBe(404);
  });

  it('counts requests, tokens and refusals, by names that nobody can make up', async () => {
    const key = await importSigningKey(await generatePrivateJwk());
    await start({
      resource_servers: [{ client_id: 'gateway', jwks: { keys: [key.publicJwk] }, resources: [RESOURCE] }],
    });
    const token = String((await requestToken(server)).body['access_token']);
    await requestToken(server, { proof: null });
    await requestToken(server, { parameters: { scope: 'made-up' } });
    await requestToken(server, { assertion: await signAssertion(server, { aud: 'https://made-up.example' }) });
    await requestToken(server, { parameters: { grant_type: 'made-up-grant' } });
    await askAbout(server, 'introspect', { clientId: 'gateway', key }, { token });
    await askAbout(server, 'revoke', { clientId: 'ci', key: server.clientKey }, { token });
    for (const path of ['/made-up', '/token/made-up', '/made-up?x=1']) await fetch(server.address + path);
    await fetch(`${server.address}/token`);
    expect(await metric('sallyport_authserver_tokens_issued_total')).toEqual({
      'grant_type="client_credentials",binding="dpop",format="jwt"': 1,
    });
    expect(await metric('sallyport_authserver_requests_total')).toEqual({
      'endpoint="token",status="200"': 1,
      'endpoint="token",status="400"': 3,
      'endpoint="token",status="401"': 1,
      'endpoint="token",status="405"': 1,
      'endpoint="introspection",status="200"': 1,
      'endpoint="revocation",status="200"': 1,
      'endpoint="unknown",status="404"': 3,
    });
    expect(await metric('sallyport_authserver_refusals_total')).toEqual({
      'endpoint="token",error="invalid_dpop_proof"': 1,
      'endpoint="token",error="invalid_scope"': 1,
      'endpoint="token",error="invalid_client"': 1,
      'endpoint="token",error="unsupported_grant_type"': 1,
    });
    const { text } = await page('/metrics');
    expect(text).not.toMatch(/made-up|eyJ/);
    expect(text).toMatch(/^process_resident_memory_bytes /m);
    expect(text).toMatch(/^sallyport_build_info\{/m);
  });

  it('is ready while the storage answers, and says so; nothing can be changed there', async () => {
    await start();
    expect(await page('/livez')).toEqual({ status: 200, text: 'live\n' });
    const { status, text } = await page('/readyz');
    expect([status, JSON.parse(text)]).toMatchObject([
      200,
      { ready: true, origin: server.issuer, listening: server.address },
    ]);
    expect(JSON.parse(text).checks.map(({ name }: { name: string }) => name)).toEqual([
      'storage',
      'workload_issuers',
      'running',
    ]);
    expect((await page('/readyz', { method: 'POST' })).status).toBe(405);
    expect((await page('/token', { method: 'POST' })).status).toBe(404);
    expect(await metric('sallyport_authserver_storage_up')).toEqual({ '': 1 });
  });

  it('Redis away: not ready but live, and ready again; its loss is counted', { timeout: 30_000 }, async () => {
    const redis = await startRedis();
    await start({ storage: { redis: { url: redis.url, command_timeout_ms: 300 } } });
    expect((await page('/readyz')).status).toBe(200);
    await redis.kill();
    await eventually('not ready', async () => (await page('/readyz')).status === 503);
    expect([(await page('/livez')).status, await metric('sallyport_authserver_storage_up')]).toEqual([200, { '': 0 }]);
    expect(
      (await requestToken(server, { assertion: await assertionFor(server), proof: await proofFor(server) })).status,
    ).toBe(503);
    expect(await metric('sallyport_authserver_refusals_total')).toEqual({
      'endpoint="token",error="temporarily_unavailable"': 1,
    });
    const again = await startRedis({ port: redis.port });
    await eventually('ready', async () => (await page('/readyz')).status === 200);
    expect(await metric('sallyport_authserver_storage_losses_total')).toEqual({ '': 1 });
    await again.stop();
    await redis.stop();
  });
});
