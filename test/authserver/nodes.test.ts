import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningAuthServer, startAuthServer } from '../../src/authserver/authserver.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { askAbout } from './ask_fixture.ts';
import { assertionFor, claimsOf, proofFor, RESOURCE, recordingLog, requestToken, type TestServer } from './fixture.ts';
import {
  CEILING,
  clientKey,
  INITIAL_TOKEN,
  type RegistrationServer,
  register,
  send,
  tokenAs,
} from './registration_fixture.ts';

/** Several servers of one issuer behind one address, as a balancer would have them. */
const ISSUER = 'http://127.0.0.1:9';
let folder: string;
let redis: RedisServer;
let key: SigningKey;
let jobKey: SigningKey;
let gatewayKey: SigningKey;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-nodes-'));
  redis = await startRedis();
  [key, jobKey, gatewayKey] = await Promise.all([clientKey(), clientKey(), clientKey()]);
  const { writeFileSync } = await import('node:fs');
  writeFileSync(join(folder, 'initial'), INITIAL_TOKEN, { mode: 0o600 });
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});

/** One server; `name` names its own keys, and the storage is shared unless it is its own. */
async function start(
  name: string,
  storage: Record<string, unknown>,
  registrar: Record<string, unknown> | null = CEILING,
): Promise<RegistrationServer> {
  const config = parseAuthServerConfig(
    {
      version: 1,
      issuer: ISSUER,
      listen: { port: 0 },
      signing_keys_file: `${name}.keys.json`,
      storage,
      dpop: { nonce: 'required' },
      clients: [{ client_id: 'ci', jwks: { keys: [key.publicJwk] }, ...CEILING }],
      resource_servers: [
        { client_id: 'gateway', jwks: { keys: [gatewayKey.publicJwk] }, resources: [RESOURCE], token_format: 'auto' },
      ],
      registration: {
        initial_access_tokens: [
          { name: registrar === null ? 'another' : 'engine', token_file: 'initial', ...(registrar ?? CEILING) },
        ],
      },
    },
    folder,
  );
  const { log, lines } = recordingLog();
  const running: RunningAuthServer = await startAuthServer({ config, log });
  return { ...running, clientKey: key, jobKey, lines, directory: folder } as unknown as RegistrationServer;
}

async function proof(server: TestServer): Promise<string> {
  const { headers } = await requestToken(server);
  return proofFor(server, { nonce: headers.get('dpop-nonce') ?? '' });
}

async function isActive(server: TestServer, token: string): Promise<boolean> {
  const { text } = await askAbout(server, 'introspect', { clientId: 'gateway', key: gatewayKey }, { token });
  return (JSON.parse(text) as { active: boolean }).active;
}

async function keyIds(server: TestServer): Promise<string[]> {
  const { keys } = (await (await fetch(`${server.address}/jwks`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid).sort();
}

describe('several servers with Redis', () => {
  let nodes: RegistrationServer[];
  const one = () => nodes[0] as RegistrationServer;
  const other = () => nodes[1] as RegistrationServer;
  beforeAll(async () => {
    const storage = { redis: { url: redis.url, command_timeout_ms: 2000 } };
    nodes = [await start('node-a', storage), await start('node-b', storage)];
  });
  afterAll(() => Promise.all(nodes.map((node) => node.close())));

  it('of 100 copies of one assertion and one proof at both at once at most one gets a token', async () => {
    const assertion = await assertionFor(one());
    const good = await proof(one());
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        requestToken(nodes[index % 2] as TestServer, { assertion, proof: good }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const proofs = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const node = nodes[index % 2] as TestServer;
        return requestToken(node, { assertion: await assertionFor(node), proof: good });
      }),
    );
    expect(proofs.filter(({ status }) => status === 200)).toHaveLength(0);
  });

  it('each knows the nonces of the other', async () => {
    expect((await requestToken(other(), { proof: await proof(one()) })).status).toBe(200);
  });

  it('each has its own key, and publishes those of all', async () => {
    const tokens = await Promise.all(
      nodes.map(async (node) => String((await requestToken(node, { proof: await proof(node) })).body['access_token'])),
    );
    const kids = tokens.map((token) => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid);
    expect(new Set(kids).size).toBe(2);
    // The keys of the other are remembered for some seconds; the one that started last knows both.
    expect(await keyIds(other())).toEqual([...kids].sort());
    for (const token of tokens) expect(await isActive(other(), token)).toBe(true);
  });

  it('a client that is registered at one signs in at the other, and is removed there', async () => {
    const own = await clientKey();
    const { body } = await register(one(), { jwks: { keys: [own.publicJwk] } });
    const clientId = String(body['client_id']);
    expect((await tokenAs(other(), clientId, own)).body['error']).toBe('use_dpop_nonce');
    const url = `${other().address}/register/${clientId}`;
    expect((await send(url, { method: 'DELETE', token: String(body['registration_access_token']) })).status).toBe(204);
    expect((await tokenAs(one(), clientId, own)).body['error']).toBe('invalid_client');
  });

  it('a token that is taken back at one is not active at the other', async () => {
    const { body } = await requestToken(one(), { proof: await proof(one()) });
    const token = String(body['access_token']);
    await askAbout(one(), 'revoke', { clientId: 'ci', key }, { token });
    expect(await isActive(other(), token)).toBe(false);
  });
});

describe('Redis away', () => {
  it('503 with Retry-After, at every endpoint that needs it, and good again afterwards', {
    timeout: 40_000,
  }, async () => {
    const own = await startRedis();
    const node = await start('node-c', { redis: { url: own.url, command_timeout_ms: 300 } });
    const good = await proof(node);
    const [assertionBefore, usedBefore] = [await assertionFor(node), await proof(node)];
    expect((await requestToken(node, { assertion: assertionBefore, proof: usedBefore })).status).toBe(200);
    await own.kill();
    const token = await requestToken(node, { proof: good });
    expect([token.status, token.body['error'], token.headers.get('retry-after')]).toEqual([
      503,
      'temporarily_unavailable',
      '5',
    ]);
    const registration = await register(node, { jwks: { keys: [(await clientKey()).publicJwk] } });
    expect([registration.status, registration.headers.get('retry-after')]).toEqual([503, '5']);
    const unknown = await tokenAs(node, 'dc_unknown', key);
    expect([unknown.status, unknown.headers.get('retry-after')]).toEqual([503, '5']);
    const about = await askAbout(node, 'introspect', { clientId: 'gateway', key: gatewayKey }, { token: 'x' });
    expect(about.status).toBe(503);
    expect((await fetch(`${node.address}/jwks`)).status).toBe(200);
    const again = await startRedis({ port: own.port });
    // It remembers nothing: what was made before is never good a second time, what is made some seconds later is.
    const statuses: number[] = [];
    await eventually(
      'tokens are issued again',
      async () => {
        const assertion = assertionBefore;
        statuses.push((await requestToken(node, { assertion, proof: usedBefore })).status);
        return (await requestToken(node, { proof: await proof(node) })).status === 200;
      },
      19,
    );
    expect(statuses).not.toContain(200);
    await node.close();
    await again.stop();
    await own.stop();
  });
});

describe('a restart with the embedded store', () => {
  it('keys, clients, opaque tokens, revocations, used identifiers and nonces outlive it', async () => {
    const storage = { database_file: 'restart.db' };
    const before = await start('restart', storage);
    const own = await clientKey();
    const { body } = await register(before, { jwks: { keys: [own.publicJwk] } });
    const good = await proof(before);
    const nonceOnly = await proof(before);
    const assertion = await assertionFor(before);
    const issued = await requestToken(before, { assertion, proof: good });
    const kept = String(issued.body['access_token']);
    const revoked = String((await requestToken(before, { proof: await proof(before) })).body['access_token']);
    await askAbout(before, 'revoke', { clientId: 'ci', key }, { token: revoked });
    const keys = await keyIds(before);
    await before.close();

    const after = await start('restart', storage);
    expect(await keyIds(after)).toEqual(keys);
    expect([await isActive(after, kept), await isActive(after, revoked)]).toEqual([true, false]);
    const replayed = await requestToken(after, { assertion, proof: await proof(after) });
    expect(replayed).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect(await requestToken(after, { proof: good })).toMatchObject({ body: { error: 'invalid_dpop_proof' } });
    expect((await requestToken(after, { proof: nonceOnly })).status).toBe(200);
    const url = `${after.address}/register/${String(body['client_id'])}`;
    const read = await send(url, { method: 'GET', token: String(body['registration_access_token']) });
    expect(read.body['client_id']).toBe(body['client_id']);
    await after.close();
    for (const name of readdirSync(folder).filter((one) => /^restart/.test(one)))
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
  });

  it('a registered client never has more than its initial access token allows now', async () => {
    const storage = { database_file: 'narrowed.db' };
    const before = await start('narrowed', storage);
    const own = await clientKey();
    const { body } = await register(before, { jwks: { keys: [own.publicJwk] } });
    const clientId = String(body['client_id']);
    await before.close();

    const narrower = await start('narrowed', storage, { ...CEILING, scopes: ['builds:read'] });
    const nonce = (await tokenAs(narrower, clientId, own)).headers.get('dpop-nonce') ?? '';
    const { makeClientAssertion } = await import('../../src/oauth/client_assertion.ts');
    const assertion = await makeClientAssertion({ clientId, issuer: ISSUER, key: own, clock: Date.now });
    const answer = await requestToken(narrower, {
      assertion,
      proof: await proofFor(narrower, { nonce }),
      parameters: { scope: 'builds:read builds:write' },
    });
    expect(answer).toMatchObject({ status: 200, body: { scope: 'builds:read' } });
    await narrower.close();

    const without = await start('narrowed', storage, null);
    expect(await tokenAs(without, clientId, own)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    await without.close();
  });

  it('nothing in the database can be used by who reads it', async () => {
    const node = await start('secrets', { database_file: 'secrets.db' });
    const own = await clientKey();
    const { body } = await register(node, { jwks: { keys: [own.publicJwk] } });
    const assertion = await assertionFor(node);
    const { body: issued } = await requestToken(node, { assertion, proof: await proof(node) });
    await node.close();
    const text = readdirSync(folder)
      .filter((name) => name.startsWith('secrets.db'))
      .map((name) => readFileSync(join(folder, name), 'latin1'))
      .join('');
    const { d } = await generatePrivateJwk();
    expect(d).toBeDefined();
    for (const secret of [body['registration_access_token'], issued['access_token'], claimsOf(assertion)['jti']])
      expect(text).not.toContain(String(secret));
    expect(text).not.toContain('"d":');
    expect(await importSigningKey(await generatePrivateJwk())).toBeDefined();
  });
});
