import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startAuthServer } from '../../src/authserver/authserver.ts';
import { openStore, type Store } from '../../src/authserver/store.ts';
import { parseAuthServerConfig } from '../../src/config/load_authserver.ts';
import type { SigningKey } from '../../src/oauth/signing_key.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { askAbout } from './ask_fixture.ts';
import { assertionFor, proofFor, RESOURCE, recordingLog, requestToken, type TestServer } from './fixture.ts';
import { CEILING, clientKey } from './registration_fixture.ts';

/**
 * Fail-overs between real servers of Redis: a replica that had not the last writes takes over, behind an address that leads to whoever is the
 * master. What was used or taken back with those writes must not be good again.
 */

const ISSUER = 'http://127.0.0.1:9';
let folder: string;
let master: RedisServer;
let replica: RedisServer;
let front: Server;
let target: number;
let key: SigningKey;
let gatewayKey: SigningKey;
const open = new Set<Socket>();
const running: TestServer[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-as-failover-'));
  [key, gatewayKey] = await Promise.all([clientKey(), clientKey()]);
  master = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] });
  replica = await startRedis({
    args: ['--replicaof', '127.0.0.1', String(master.port), '--repl-diskless-sync-delay', '0'],
  });
  await inStep();
  target = master.port;
  front = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    for (const socket of [client, server]) {
      open.add(socket);
      socket
        .on('error', () => undefined)
        .on('close', () => {
          open.delete(socket);
          client.destroy();
          server.destroy();
        });
    }
    client.pipe(server).pipe(client);
  });
  await new Promise<void>((done) => front.listen(0, '127.0.0.1', done));
});
afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
  front.close();
  for (const socket of open) socket.destroy();
  await Promise.all([master.stop(), replica.stop()]);
  rmSync(folder, { recursive: true });
});

const inStep = () =>
  eventually('the replica has everything', async () => {
    const infos = await Promise.all(
      [master, replica].map(async (one) => String(await one.call('INFO', 'replication'))),
    );
    const [mine, theirs] = infos.map((info) => /(?:master|slave)_repl_offset:(\d+)/.exec(info)?.[1]);
    return infos[1]?.includes('master_link_status:up') === true && mine !== undefined && mine === theirs;
  });
/** From here on the replica gets nothing more. */
const fallBehind = () => replica.call('REPLICAOF', 'NO', 'ONE');
/** The master dies, and the replica, a master by now, is where the address leads. */
async function failOver(): Promise<void> {
  target = replica.port;
  await master.kill();
  for (const socket of open) socket.destroy();
}

const redis = () => ({ url: `redis://127.0.0.1:${(front.address() as AddressInfo).port}`, command_timeout_ms: 1000 });

function openRedis(url: string): Promise<Store> {
  const clients = [{ client_id: 'a', jwks_file: 'x', resources: [RESOURCE] }];
  const storage = { redis: { url, command_timeout_ms: 1000 } };
  const config = parseAuthServerConfig({ version: 1, signing_keys_file: 'x.json', storage, clients }, folder).storage;
  return openStore({ config, databaseFile: '', clock: Date.now, onProblem: () => undefined });
}

async function start(name: string): Promise<TestServer> {
  const config = parseAuthServerConfig(
    {
      version: 1,
      issuer: ISSUER,
      listen: { port: 0 },
      signing_keys_file: `${name}.keys.json`,
      storage: { redis: redis() },
      clients: [{ client_id: 'ci', jwks: { keys: [key.publicJwk] }, ...CEILING }],
      resource_servers: [{ client_id: 'gateway', jwks: { keys: [gatewayKey.publicJwk] }, resources: [RESOURCE] }],
    },
    folder,
  );
  const { log, lines } = recordingLog();
  const server = await startAuthServer({ config, log });
  const test = { ...server, clientKey: key, jobKey: await clientKey(), lines, directory: folder };
  running.push(test);
  return test;
}

const tokenOf = async (server: TestServer) => String((await requestToken(server)).body['access_token']);
const ask = (server: TestServer, token: string) =>
  askAbout(server, 'introspect', { clientId: 'gateway', key: gatewayKey }, { token });
const revoke = (server: TestServer, token: string) => askAbout(server, 'revoke', { clientId: 'ci', key }, { token });
describe('a fail-over that loses the last writes', { timeout: 40_000 }, () => {
  it('RFC 7009: a token that was taken back is never active again: 503 until it has expired', async () => {
    const server = await start('a');
    const [kept, revoked] = [await tokenOf(server), await tokenOf(server)];
    await inStep();
    await fallBehind();
    expect((await revoke(server, revoked)).status).toBe(200);
    expect(JSON.parse((await ask(server, revoked)).text)).toEqual({ active: false });
    await failOver();
    const seen: string[] = [];
    await eventually(
      'tokens that are issued now are good',
      async () => {
        seen.push((await ask(server, revoked)).text);
        const { body } = await requestToken(server);
        return (await ask(server, String(body['access_token']))).text.includes('"active":true');
      },
      25,
    );
    seen.push((await ask(server, revoked)).text);
    expect(seen.join()).not.toContain('"active":true');
    // Who asks is known by now; what cannot be told is whether these two were taken back.
    for (const token of [kept, revoked]) {
      const about = await ask(server, token);
      expect([about.status, about.headers.get('retry-after')]).toEqual([503, '5']);
    }
    expect((await revoke(server, kept)).status).toBe(200);
    expect(JSON.parse((await ask(server, kept)).text)).toEqual({ active: false });
    expect(server.lines.map(({ message }) => message).join()).toContain('the storage may have lost its last writes');
  });

  it('RFC 9449 §11.1, RFC 7523 §3: an assertion and a proof that were used are not good again', async () => {
    const server = await start('b');
    await inStep();
    await fallBehind();
    const [assertion, proof] = [await assertionFor(server), await proofFor(server)];
    expect((await requestToken(server, { assertion, proof })).status).toBe(200);
    await failOver();
    const statuses: number[] = [];
    await eventually(
      'new ones are good',
      async () => {
        statuses.push((await requestToken(server, { assertion, proof })).status);
        return (await requestToken(server)).status === 200;
      },
      25,
    );
    expect(statuses).not.toContain(200);
  });

  it('is noticed by a server that starts afterwards, when none ran in between', async () => {
    const before = await start('c');
    const revoked = await tokenOf(before);
    await inStep();
    await fallBehind();
    await revoke(before, revoked);
    await before.close();
    running.length = 0;
    await failOver();
    const after = await start('c');
    expect((await ask(after, revoked)).status).toBe(503);
    expect(after.lines.map(({ message }) => message).join()).toContain('the storage may have lost');
  });

  it('counts for each server from when it came over itself: until then its writes went to the old master', async () => {
    const seconds = () => Math.floor(Date.now() / 1000);
    const lagging = await openRedis(redis().url);
    await inStep();
    await fallBehind();
    const ahead = await openRedis(replica.url);
    const noticed = await ahead.lostAt();
    await new Promise((done) => setTimeout(done, 2100));
    expect(await lagging.lostAt()).toBeLessThan(noticed);
    const cameOver = seconds();
    await failOver();
    await eventually('it came over', async () => (await lagging.lostAt().catch(() => 0)) >= cameOver);
    expect(cameOver).toBeGreaterThan(noticed);
    // The other learns it too.
    expect(await ahead.lostAt()).toBeGreaterThanOrEqual(cameOver);
    await Promise.all([lagging.close(), ahead.close()]);
  });
});

describe('who takes over', { timeout: 40_000 }, () => {
  it('and may throw entries away is not used: 503, and the reason in the refusal', async () => {
    const server = await start('i');
    expect((await requestToken(server)).status).toBe(200);
    await inStep();
    await replica.call('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    await fallBehind();
    await failOver();
    const details = () => server.lines.map(({ fields }) => String(fields['error_detail'])).join();
    await eventually('it says why', async () => {
      expect((await requestToken(server)).status).toBe(503);
      return details().includes('expected noeviction');
    });
    await replica.call('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await eventually('it is used', async () => (await requestToken(server)).status === 200, 25);
  });
});

describe('what is no loss', () => {
  it('a broken connection to the same master changes nothing', async () => {
    const server = await start('f');
    const token = await tokenOf(server);
    for (const socket of open) socket.destroy();
    await eventually('Redis answers again', async () => (await ask(server, token)).status === 200);
    expect(JSON.parse((await ask(server, token)).text)).toMatchObject({ active: true });
    expect(server.lines.some(({ message }) => message.startsWith('the storage may have lost'))).toBe(false);
  });

  it('a second server on the same Redis changes nothing', async () => {
    const [one, two] = [await start('g'), await start('h')];
    const token = await tokenOf(one);
    expect(JSON.parse((await ask(two, token)).text)).toMatchObject({ active: true });
    await revoke(two, token);
    expect(JSON.parse((await ask(one, token)).text)).toEqual({ active: false });
  });
});
