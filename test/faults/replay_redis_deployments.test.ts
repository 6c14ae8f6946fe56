import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RedisReplayStore } from '../../src/proof/replay_redis.ts';
import { claimNow, dated, redisStore } from '../proof/replay_fixture.ts';
import { makeCertificate } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, type RedisServer, type RedisServerOptions, startRedis } from '../support/redis_server.ts';

const cleanups: (() => unknown)[] = [];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-redis-files-'));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

async function redis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  cleanups.push(() => server.stop());
  return server;
}

async function started(changes: Parameters<typeof redisStore>[0]): Promise<RedisReplayStore> {
  const store = redisStore(changes);
  cleanups.push(() => store.close());
  await store.start();
  return store;
}

async function claimedOnce(store: RedisReplayStore): Promise<void> {
  const jti = randomUUID();
  const claims = await Promise.all(Array.from({ length: 20 }, () => claimNow(store, jti)));
  expect(claims.filter((claim) => claim === 'first')).toHaveLength(1);
  expect(claims.filter((claim) => claim === 'used')).toHaveLength(19);
}

function secretFile(text: string): string {
  const file = join(folder, 'password');
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

describe('a single node', () => {
  it('password and database from the configuration', async () => {
    const server = await redis({ args: ['--requirepass', 'one word'] });
    const url = `redis://127.0.0.1:${server.port}/3`;
    const store = await started({ url, password_file: secretFile('one word\n') });
    await claimedOnce(store);
    expect(await started({ url: `redis://:one%20word@127.0.0.1:${server.port}/3` })).toBeDefined();
  });

  it('the password was changed: unavailable once the connection is cut, back with the new one in the file, without a restart', async () => {
    const server = await redis();
    // A password of the operator's own, so that the test can still ask.
    const change = async (password: string) => {
      await server.call('ACL', 'SETUSER', 'gateway', 'on', 'resetpass', `>${password}`, '~*', '+@all');
      await server.call('CLIENT', 'KILL', 'USER', 'gateway');
    };
    await change('first');
    const file = secretFile('first\n');
    const store = await started({ url: server.url, username: 'gateway', password_file: file });
    await claimedOnce(store);
    await change('second');
    await eventually('it is missed', () => /WRONGPASS/.test(store.health().detail));
    expect(store.health().healthy).toBe(false);
    writeFileSync(file, 'second\n');
    await eventually('healthy', () => store.health().healthy);
    await claimedOnce(store);
  });

  it('an ACL user that may do nothing but what is documented', async () => {
    const server = await redis();
    const rules = [
      'on',
      '>pw',
      'resetkeys',
      '~test:*',
      'resetchannels',
      '-@all',
      '+hello',
      '+info',
      '+eval',
      '+get',
      '+set',
      '+select',
    ];
    await server.call('ACL', 'SETUSER', 'gateway', ...rules);
    await server.call('CONFIG', 'SET', 'requirepass', 'for-others');
    await claimedOnce(await started({ url: server.url, username: 'gateway', password_file: secretFile('pw') }));
  });

  it('an ACL user that may not run scripts: does not start, says which command', async () => {
    const server = await redis();
    await server.call('ACL', 'SETUSER', 'gateway', 'on', '>pw', '~*', '-@all', '+hello', '+info', '+select');
    const store = redisStore({ url: server.url, username: 'gateway', password_file: secretFile('pw') });
    await expect(store.start()).rejects.toThrow(/was not ready within 5000 ms: NOPERM .*eval/);
  });

  it('TLS: the certificate is verified', async () => {
    const { cert, key } = makeCertificate({ name: 'redis', hosts: ['127.0.0.1'], authority: true });
    const certificate = join(folder, 'redis.crt');
    const keyFile = join(folder, 'redis.key');
    writeFileSync(certificate, cert);
    writeFileSync(keyFile, key, { mode: 0o600 });
    const port = await freePort();
    const files = ['--tls-cert-file', certificate, '--tls-key-file', keyFile, '--tls-ca-cert-file', certificate];
    await redis({ args: ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'] });
    const url = `rediss://127.0.0.1:${port}`;
    await claimedOnce(await started({ url, tls: { ca_file: certificate } }));
    await expect(redisStore({ url }).start()).rejects.toThrow(/was not ready within 5000 ms: .*certificate/i);
  });
});

describe('behind sentinels', () => {
  it('failover: follows the new master; no proof passes twice', { timeout: 60_000 }, async () => {
    const master = await redis();
    const replica = await redis({
      args: ['--replicaof', '127.0.0.1', String(master.port), '--repl-diskless-sync-delay', '0'],
    });
    await eventually('replicates', async () => String(await replica.call('INFO')).includes('master_link_status:up'));
    const sentinel = await startSentinel(master.port);
    const store = await started({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'proofs' });
    await claimedOnce(store);
    const jti = randomUUID();
    const proof = dated(10);
    expect(await claimNow(store, jti, proof)).toBe('first');

    await eventually('knows the replica', async () => String(await sentinel.call('INFO')).includes('slaves=1'));
    await eventually('starts the failover', async () => {
      const reply = sentinel.call('SENTINEL', 'FAILOVER', 'proofs').catch(String); // NOGOODSLAVE until it was asked twice.
      return (await reply) === 'OK';
    });
    // The sentinel ends every connection on the way.
    const roleOf = () => replica.call('INFO').then(String, () => '');
    await eventually('promoted', async () => (await roleOf()).includes('role:master'));
    const claims: unknown[] = [];
    await eventually('follows', async () => {
      claims.push(await claimNow(store, jti, proof));
      return store.health().healthy && store.stats().losses > 0;
    });
    claims.push(await claimNow(store, jti, proof));
    expect(claims).not.toContain('first');
  });

  async function startSentinel(masterPort: number): Promise<RedisServer> {
    const config = join(folder, 'sentinel.conf');
    writeFileSync(
      config,
      `sentinel monitor proofs 127.0.0.1 ${masterPort} 1\nsentinel down-after-milliseconds proofs 1000\n`,
    );
    return redis({ sentinelConfig: config });
  }
});

describe('that cannot be had', () => {
  it('sentinels that refuse: does not start, within the stated bound', async () => {
    const store = redisStore({ sentinels: [{ host: '127.0.0.1', port: await freePort() }], name: 'proofs' });
    await expect(store.start()).rejects.toThrow(
      /behind sentinels 127\.0\.0\.1:\d+ was not ready within 5000 ms: All sentinels/,
    );
    expect(store.health()).toEqual({ healthy: false, detail: 'closed' });
  });

  it('a cluster that refuses: does not start, within the stated bound', async () => {
    const store = redisStore({ cluster: [{ host: '127.0.0.1', port: await freePort() }] });
    await expect(store.start()).rejects.toThrow(/Redis Cluster at 127\.0\.0\.1:\d+ was not ready within 5000 ms/);
    expect(store.health()).toEqual({ healthy: false, detail: 'closed' });
  });

  it('a name of a master that the sentinels do not know: does not start', async () => {
    const master = await redis();
    const config = join(folder, 'sentinel.conf');
    writeFileSync(config, `sentinel monitor proofs 127.0.0.1 ${master.port} 1\n`);
    const sentinel = await redis({ sentinelConfig: config });
    const store = redisStore({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'others' });
    await expect(store.start()).rejects.toThrow('was not ready within 5000 ms');
  });
});

describe('a cluster', () => {
  /** Two masters that hold one half of the slots each. */
  async function cluster(): Promise<RedisServer[]> {
    const args = [
      '--cluster-enabled',
      'yes',
      '--cluster-node-timeout',
      '1000',
      '--cluster-require-full-coverage',
      'yes',
    ];
    const nodes = [await redis({ args }), await redis({ args })];
    const [one, two] = nodes as [RedisServer, RedisServer];
    await one.call('CLUSTER', 'ADDSLOTSRANGE', 0, 8191);
    await two.call('CLUSTER', 'ADDSLOTSRANGE', 8192, 16383);
    await one.call('CLUSTER', 'MEET', '127.0.0.1', two.port);
    for (const node of nodes) {
      await eventually('is one cluster', async () =>
        String(await node.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
      );
    }
    return nodes;
  }

  const seeds = (nodes: readonly RedisServer[]) => nodes.map(({ host, port }) => ({ host, port }));

  it('claims go to every node, each proof once', async () => {
    const nodes = await cluster();
    const store = await started({ cluster: seeds(nodes).slice(0, 1) });
    for (let round = 0; round < 10; round++) await claimedOnce(store);
    const sizes = await Promise.all(nodes.map(async (node) => Number(await node.call('DBSIZE'))));
    expect(sizes.every((size) => size > 20)).toBe(true); // About half of the 64 epochs are on each.
  });

  it('an ACL user that may do nothing but what is documented', async () => {
    const nodes = await cluster();
    const commands = ['+hello', '+info', '+eval', '+get', '+set', '+cluster|slots', '+cluster|info'];
    for (const node of nodes)
      await node.call('ACL', 'SETUSER', 'gateway', 'on', '>pw', '~test:*', '-@all', ...commands);
    const user = { username: 'gateway', password_file: secretFile('pw') };
    await claimedOnce(await started({ cluster: seeds(nodes), ...user }));
  });

  it('FLUSHALL on one node: noticed by the next claim there', async () => {
    const nodes = await cluster();
    const store = await started({ cluster: seeds(nodes) });
    const jtis = Array.from({ length: 20 }, () => randomUUID());
    const proof = dated(10);
    expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('unavailable');
    await nodes[1]?.call('FLUSHALL');
    const claims = await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)));
    expect(claims).not.toContain('first');
    expect(claims).toContain('unavailable');
    await eventually('healthy', () => store.health().healthy);
    expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('first');
  });

  it('one node killed: unavailable there, never a second success', async () => {
    const nodes = await cluster();
    const store = await started({ cluster: seeds(nodes) });
    const jtis = Array.from({ length: 20 }, () => randomUUID());
    const proof = dated(10);
    expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('unavailable');
    await nodes[1]?.kill();
    for (let round = 0; round < 5; round++) {
      expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('first');
    }
    await eventually('unhealthy', () => !store.health().healthy);
  });

  it('failover to a replica inside the cluster: never a second success, and recovers', {
    timeout: 60_000,
  }, async () => {
    const nodes = await cluster();
    const [one] = nodes as [RedisServer];
    const replica = await redis({ args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'] });
    await replica.call('CLUSTER', 'MEET', '127.0.0.1', one.port);
    const id = String(await one.call('CLUSTER', 'MYID'));
    await eventually('knows the master', async () => String(await replica.call('CLUSTER', 'NODES')).includes(id));
    await replica.call('CLUSTER', 'REPLICATE', id);
    await eventually('replicates', async () => String(await replica.call('INFO')).includes('master_link_status:up'));

    const store = await started({ cluster: seeds(nodes) });
    const jtis = Array.from({ length: 20 }, () => randomUUID());
    const proof = dated(10);
    expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('unavailable');
    await replica.call('CLUSTER', 'FAILOVER');
    await eventually('promoted', async () => String(await replica.call('INFO')).includes('role:master'));
    await eventually('noticed', async () => {
      const claims = await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)));
      expect(claims).not.toContain('first');
      return store.stats().losses > 0 && store.health().healthy;
    });
    expect(await Promise.all(jtis.map((jti) => claimNow(store, jti, proof)))).not.toContain('first');
  });
});
