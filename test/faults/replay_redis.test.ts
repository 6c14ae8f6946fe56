import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { RedisReplayStore } from '../../src/proof/replay_redis.ts';
import { claimNow, dated, redisStore } from '../proof/replay_fixture.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, type RedisServer, type RedisServerOptions, startRedis } from '../support/redis_server.ts';
import { startProxy, type TcpProxy } from '../support/tcp_proxy.ts';

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function redis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  cleanups.push(() => server.stop());
  return server;
}

async function proxyTo(server: RedisServer): Promise<TcpProxy> {
  const proxy = await startProxy(server.port);
  cleanups.push(() => proxy.close());
  return proxy;
}

type Changes = Parameters<typeof redisStore>[0];

async function started(changes: Changes, clock: () => number = Date.now): Promise<RedisReplayStore> {
  const store = redisStore(changes, clock);
  cleanups.push(() => store.close());
  await store.start();
  return store;
}

/** A store that must not start: its error. */
async function refusedStart(changes: Changes): Promise<string> {
  const store = redisStore(changes);
  const error = await store.start().then(
    () => new Error('it started'),
    (failure: Error) => failure,
  );
  return error.message;
}

const healed = (store: RedisReplayStore) => eventually('healthy', () => store.health().healthy);

describe('Redis that cannot be had at the start', () => {
  it('refused: does not start, says where and why', async () => {
    const port = await freePort();
    const message = await refusedStart({ url: `redis://127.0.0.1:${port}` });
    expect(message).toContain(`replay.redis: Redis at 127.0.0.1:${port} was not ready within 5000 ms`);
    expect(message).toContain('ECONNREFUSED');
  });

  it('silent: does not start, within the stated bound', async () => {
    const silent = createServer(() => {});
    const sockets = listenOn(silent);
    const port = await sockets.port;
    cleanups.push(sockets.close);
    expect(await refusedStart({ url: `redis://127.0.0.1:${port}` })).toContain('was not ready within 5000 ms');
  });

  it('wrong password: does not start, and the message carries no password', async () => {
    const server = await redis({ args: ['--requirepass', 'right-one'] });
    const message = await refusedStart({ url: `redis://:wrong-one@127.0.0.1:${server.port}` });
    expect(message).toContain('WRONGPASS');
    expect(message).not.toContain('wrong-one');
  });

  it('LOADING: does not start while the data is being read', async () => {
    const loading = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', () => socket.write('-LOADING Redis is loading the dataset in memory\r\n'));
    });
    const sockets = listenOn(loading);
    const port = await sockets.port;
    cleanups.push(sockets.close);
    expect(await refusedStart({ url: `redis://127.0.0.1:${port}` })).toContain('was not ready within 5000 ms');
  });

  it.each(['allkeys-lru', 'volatile-lru', 'volatile-ttl'])(
    'may evict (%s): does not start, says what to do',
    async (policy) => {
      const server = await redis({ args: ['--maxmemory-policy', policy] });
      const message = await refusedStart({ url: server.url });
      expect(message).toContain(`its maxmemory-policy is ${policy}, expected noeviction`);
      expect(message).toContain('CONFIG SET maxmemory-policy noeviction');
      expect(message).toContain('allow_eviction');
    },
  );

  it('may evict, and allowed: starts', async () => {
    const server = await redis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    const store = await started({ url: server.url, allow_eviction: true });
    expect(await claimNow(store)).toBe('first');
  });

  it('a replica: does not start, says to connect to the master', async () => {
    const master = await redis();
    const replica = await redis({ args: ['--replicaof', '127.0.0.1', String(master.port)] });
    expect(await refusedStart({ url: replica.url })).toContain('its role is slave, expected master');
  });
});

describe('proof.replay_store_unavailable: Redis that fails while in use', () => {
  it('killed: unavailable until it is back; then new proofs pass and no proof passes twice', async () => {
    const port = await freePort();
    const before = await redis({ port });
    const store = await started({ url: before.url });
    const proofs = [-50, 0, 10].map((ahead) => ({ jti: randomUUID(), ...dated(ahead) }));
    for (const { jti, iat } of proofs) expect(await claimNow(store, jti, { iat })).toBe('first');

    await before.kill();
    expect(await claimNow(store)).toBe('unavailable');
    await eventually('unhealthy', () => !store.health().healthy);

    await redis({ port });
    await healed(store);
    // The restart lost what was used: everything that may have been used before is refused, also what was dated ahead.
    for (const { jti, iat } of proofs) expect(await claimNow(store, jti, { iat })).toBe('unavailable');
    expect(store.stats().losses).toBeGreaterThan(0);
  });

  it('restarted without its data: new proofs pass again one window later, old ones never', async () => {
    let offset = 0;
    const clock = () => Date.now() + offset;
    const port = await freePort();
    const before = await redis({ port });
    const store = await started({ url: before.url }, clock);
    const jti = randomUUID();
    const proof = { ...dated(10), clock };
    expect(await claimNow(store, jti, proof)).toBe('first');
    await before.kill();
    await redis({ port });
    await healed(store);
    const claims: unknown[] = [];
    for (let second = 1; second <= 70; second++) {
      offset = second * 1000;
      claims.push(await claimNow(store, jti, proof)); // As long as it is acceptable.
    }
    expect(claims).not.toContain('first');
    expect(await claimNow(store, randomUUID(), { clock })).toBe('first');
  });

  it('restarted with all its data (append-only file): a used proof stays used or refused', async () => {
    const port = await freePort();
    const first = await redis({ port, args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const store = await started({ url: first.url });
    const jti = randomUUID();
    const proof = dated();
    expect(await claimNow(store, jti, proof)).toBe('first');
    const directory = String(((await first.call('CONFIG', 'GET', 'dir')) as string[])[1]);
    await first.kill();
    await redis({ port, directory, args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    await healed(store);
    expect(['used', 'unavailable']).toContain(await claimNow(store, jti, proof));
  });

  it('FLUSHALL: the very next claim notices; what was used before never passes again', async () => {
    const server = await redis();
    const store = await started({ url: server.url });
    const jti = randomUUID();
    const proof = dated(10);
    expect(await claimNow(store, jti, proof)).toBe('first');
    await server.call('FLUSHALL');
    expect(await claimNow(store, jti, proof)).toBe('unavailable');
    await healed(store);
    expect(await claimNow(store, jti, proof)).toBe('unavailable');
    expect(store.stats().losses).toBe(1);
  });

  it('FLUSHALL: a gateway that starts into the emptied Redis learns it from one that ran before', async () => {
    const server = await redis();
    const old = await started({ url: server.url });
    const jti = randomUUID();
    const proof = dated(10);
    expect(await claimNow(old, jti, proof)).toBe('first');
    await server.call('FLUSHALL');
    const joined = await started({ url: server.url }); // Sets an epoch, not knowing that there was another.
    await claimNow(old); // Notices, and says so in the epoch.
    await healed(old);
    await claimNow(joined, randomUUID());
    await healed(joined);
    expect(await claimNow(joined, jti, proof)).toBe('unavailable');
    expect(await claimNow(old, jti, proof)).toBe('unavailable');
    const third = await started({ url: server.url });
    expect(await claimNow(third, jti, proof)).toBe('unavailable');
  });

  it('slow past its deadline: unavailable, then used to the same connection again', async () => {
    const server = await redis();
    const store = await started({ url: server.url, command_timeout_ms: 150 });
    const jti = randomUUID();
    await server.call('CLIENT', 'PAUSE', 600, 'ALL');
    expect(await claimNow(store, jti)).toBe('unavailable');
    await eventually('answers again', async () => (await claimNow(store)) === 'first');
    // The claim that came too late was executed all the same.
    await eventually('counts as used', async () => (await claimNow(store, jti)) === 'used');
  });

  it('silent: unavailable within the deadline; the dead connection is replaced', async () => {
    const server = await redis();
    const proxy = await proxyTo(server);
    const store = await started({ url: `redis://127.0.0.1:${proxy.port}`, command_timeout_ms: 150 });
    proxy.stallAnswers();
    expect(await claimNow(store)).toBe('unavailable');
    await eventually('connects anew', () => proxy.accepted() > 2);
    expect(store.health().healthy).toBe(false);
    expect(await claimNow(store)).toBe('unavailable');
    proxy.resumeAnswers();
    await eventually('answers again', async () => (await claimNow(store)) === 'first');
  });

  it('connection cut after the command was executed: unavailable, sent once, and no later success', async () => {
    const server = await redis();
    const proxy = await proxyTo(server);
    const store = await started({ url: `redis://127.0.0.1:${proxy.port}` });
    const jti = randomUUID();
    await server.call('CONFIG', 'SET', 'slowlog-log-slower-than', 0);
    // A claim is answered with an integer; the store's own looks, of which one may come just now, are not.
    proxy.cutAtAnswer((answer) => answer[0] === ':'.charCodeAt(0));
    expect(await claimNow(store, jti)).toBe('unavailable');
    proxy.resumeAnswers();
    await healed(store);
    expect(await claimNow(store, jti)).toBe('used');
    // Of the scripts, only a claim has two keys.
    const executed = (await server.call('SLOWLOG', 'GET', -1)) as [number, number, number, string[]][];
    expect(executed.filter(([, , , [command, , keys]]) => command === 'eval' && keys === '2')).toHaveLength(2);
    expect(store.stats().losses).toBe(0);
  });

  it('connections cut again and again: never a second success', async () => {
    const server = await redis();
    const proxy = await proxyTo(server);
    const store = await started({ url: `redis://127.0.0.1:${proxy.port}` });
    const jti = randomUUID();
    const claims: string[] = [];
    for (let round = 0; round < 10; round++) {
      const batch = Array.from({ length: 20 }, () => claimNow(store, jti));
      if (round % 2 === 0) proxy.cutAll();
      claims.push(...(await Promise.all(batch)));
      await healed(store);
    }
    expect(claims.filter((claim) => claim === 'first').length).toBeLessThanOrEqual(1);
    expect(claims).toContain('used');
  });

  it('READONLY, made a replica: unavailable, and recovers when it is master again', async () => {
    const master = await redis();
    const server = await redis();
    const store = await started({ url: server.url });
    expect(await claimNow(store)).toBe('first');
    await server.call('REPLICAOF', '127.0.0.1', master.port);
    expect(await claimNow(store)).toBe('unavailable');
    await eventually('says why', () => store.health().detail.includes('its role is slave'));
    await server.call('REPLICAOF', 'NO', 'ONE');
    await healed(store);
    // A replica takes over its master's data, so used proofs are gone.
    expect(store.stats().losses).toBeGreaterThan(0);
  });

  it('OOM: unavailable, and old proofs stay used', async () => {
    const server = await redis();
    const store = await started({ url: server.url });
    const jti = randomUUID();
    expect(await claimNow(store, jti)).toBe('first');
    await server.call('CONFIG', 'SET', 'maxmemory', '1');
    expect(await claimNow(store)).toBe('unavailable');
    await server.call('CONFIG', 'SET', 'maxmemory', '0');
    expect(await claimNow(store)).toBe('first');
    expect(await claimNow(store, jti)).toBe('used');
  });

  it('BUSY in a script: unavailable, then available again', async () => {
    const server = await redis({ args: ['--busy-reply-threshold', '50'] });
    const store = await started({ url: server.url, command_timeout_ms: 100 });
    const busy = server.call(
      'EVAL',
      'local t = redis.call("TIME")[1] while redis.call("TIME")[1] - t < 3 do end return 1',
      0,
    );
    await eventually('refuses', async () => (await claimNow(store)) === 'unavailable');
    await busy.catch(() => {});
    await eventually('answers again', async () => (await claimNow(store)) === 'first');
  });

  it('wrong eviction policy after a reconnect, or set while in use: unavailable until it is put right', async () => {
    const server = await redis();
    const store = await started({ url: server.url });
    await server.call('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    await eventually('notices', () => store.health().detail.includes('maxmemory-policy is allkeys-random'));
    expect(await claimNow(store)).toBe('unavailable');
    await server.call('CLIENT', 'KILL', 'TYPE', 'normal');
    await eventually('still says so', () => store.health().detail.includes('maxmemory-policy is allkeys-random'));
    expect(await claimNow(store)).toBe('unavailable');
    await server.call('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await healed(store);
    expect(await claimNow(store)).toBe('first');
  });

  it('scripts removed (SCRIPT FLUSH): no effect', async () => {
    const server = await redis();
    const store = await started({ url: server.url });
    await server.call('SCRIPT', 'FLUSH');
    expect(await claimNow(store)).toBe('first');
  });

  it('the clock of the gateway set back by minutes: what was used before never passes again', async () => {
    let offset = 0;
    const clock = () => Date.now() + offset;
    const server = await redis();
    const store = await started({ url: server.url }, clock);
    const jti = randomUUID();
    const proof = { ...dated(), clock };
    expect(await claimNow(store, jti, proof)).toBe('first');
    offset = 300_000;
    expect(await claimNow(store, randomUUID(), { clock })).toBe('first');
    await server.call(
      'DEL',
      ...((await server.call('KEYS', 'test:*')) as string[]).filter((key) => !key.endsWith('epoch')),
    );
    offset = 0; // The key has expired by now, as far as Redis can tell.
    expect(await claimNow(store, jti, proof)).toBe('unavailable');
    expect(store.stats().losses).toBe(1);
  });
});

/** Listens on any free port; closing also ends the connections. */
function listenOn(server: Server): { port: Promise<number>; close: () => Promise<void> } {
  const open = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    socket.resume();
  });
  const port = new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  const close = () =>
    new Promise<void>((resolve) => {
      for (const socket of open) socket.destroy();
      server.close(() => resolve());
    });
  return { port, close };
}
