import { afterEach, describe, expect, it } from 'vitest';
import type { RedisEndedKeys } from '../../src/ended_jobs/ended_keys_redis.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, type RedisServer, type RedisServerOptions, startRedis } from '../support/redis_server.ts';
import { startProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { endedKey, redisKeys, type StoreChanges, thumbprint } from './fixture.ts';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function redisServer(options?: RedisServerOptions): Promise<RedisServer> {
  const redis = await startRedis(options);
  closing.push(() => redis.stop());
  return redis;
}

async function proxyTo(redis: RedisServer): Promise<TcpProxy> {
  const proxy = await startProxy(redis.port);
  closing.push(() => proxy.close());
  return proxy;
}

async function node(url: string, changes?: StoreChanges): Promise<RedisEndedKeys> {
  const keys = redisKeys(url, changes);
  closing.push(() => keys.close());
  await keys.start();
  return keys;
}

const refuses = (keys: RedisEndedKeys, name: string) => eventually('it is refused', () => keys.peek(name) === 'ended');

describe('the shared list of ended jobs, on a real Redis', () => {
  it('what one node ends, every other refuses, also one that starts later', async () => {
    const redis = await redisServer();
    const [a, b] = [await node(redis.url), await node(redis.url)];
    const key = endedKey();
    expect([a.judge(key.thumbprint), b.judge(key.thumbprint)]).toEqual(['live', 'live']);
    await a.end([key]);
    expect(a.peek(key.thumbprint)).toBe('ended');
    await refuses(b, key.thumbprint);
    expect((await node(redis.url)).peek(key.thumbprint)).toBe('ended');
    expect(b.stats().losses).toBe(0);
  });

  it('is told by Redis, and does not wait for the poll', async () => {
    const redis = await redisServer();
    const slow = { pollMs: 60_000, maxStaleMs: 120_000 };
    const [a, b] = [await node(redis.url, slow), await node(redis.url, slow)];
    await eventually('both are subscribed', async () => {
      const answer = (await redis.call('PUBSUB', 'NUMSUB', 'test:{ended_jobs}')) as unknown[];
      return answer[1] === 2;
    });
    const key = endedKey();
    await a.end([key]);
    await refuses(b, key.thumbprint);
  });

  it('without pub/sub the poll stands in', async () => {
    const redis = await redisServer();
    await redis.call('ACL', 'SETUSER', 'default', 'resetchannels');
    const [a, b] = [await node(redis.url, { pollMs: 50 }), await node(redis.url, { pollMs: 50 })];
    // A WRITE that may not publish is refused as a whole, so the operator learns of it.
    await expect(a.end([endedKey()])).rejects.toThrow();
    await redis.call('ACL', 'SETUSER', 'default', 'allchannels');
    const key = endedKey();
    await a.end([key]);
    await refuses(b, key.thumbprint);
  });

  it('many at once, more than one page, arrive whole and in time for a node that starts', async () => {
    const redis = await redisServer();
    const a = await node(redis.url, { limit: 5000 });
    const b = await node(redis.url, { limit: 5000 });
    const many = Array.from({ length: 3500 }, () => endedKey());
    await a.end(many);
    await eventually('all are known', () => b.list().length === many.length);
    const c = await node(redis.url, { limit: 5000 });
    expect(many.every(({ thumbprint: name }) => c.peek(name) === 'ended')).toBe(true);
  });

  it('is bounded: full is an error for who ends, 503 for what is not known, and has room when keys expire', async () => {
    const redis = await redisServer();
    const a = await node(redis.url, { limit: 3 });
    await a.end([endedKey(), endedKey(), endedKey()]);
    await expect(a.end([endedKey()])).rejects.toThrow('full (3 keys)');
    const small = redisKeys(redis.url, { limit: 2, maxStaleMs: 200 });
    closing.push(() => small.close());
    await expect(small.start()).rejects.toThrow(/full \(2 keys\)/);
  });

  it('a key is forgotten when its last token has expired, in memory and in Redis', async () => {
    const redis = await redisServer();
    let now = Date.now();
    const a = await node(redis.url, { clock: () => now });
    const key = endedKey(10);
    await a.end([key]);
    expect(a.peek(key.thumbprint)).toBe('ended');
    now += 11_000;
    await eventually('forgotten', () => a.list().length === 0);
    now += 61_000;
    await a.end([{ ...endedKey(), expiresAt: now + 60_000 }]);
    expect(await redis.call('ZCARD', 'test:{ended_jobs}expiry')).toBe(1);
    expect(await redis.call('ZCARD', 'test:{ended_jobs}order')).toBe(1);
  });

  it('FLUSHALL: nobody forgets, and the list is written again for those that start later', async () => {
    const redis = await redisServer();
    const [a, b] = [await node(redis.url), await node(redis.url)];
    const [before, after] = [endedKey(), endedKey()];
    await a.end([before]);
    await refuses(b, before.thumbprint);
    await redis.call('FLUSHALL');
    expect([a.peek(before.thumbprint), b.peek(before.thumbprint)]).toEqual(['ended', 'ended']);
    await a.end([after]);
    await refuses(b, after.thumbprint);
    await eventually('it is there again', async () => (await redis.call('ZCARD', 'test:{ended_jobs}expiry')) === 2);
    const c = await node(redis.url);
    expect([c.peek(before.thumbprint), c.peek(after.thumbprint)]).toEqual(['ended', 'ended']);
    expect(a.stats().losses + b.stats().losses).toBeGreaterThan(0);
  });

  it('a restart of an empty Redis: unavailable while it is down, known and written again afterwards', async () => {
    const port = await freePort();
    const first = await redisServer({ port });
    const a = await node(first.url, { maxStaleMs: 400 });
    const key = endedKey();
    await a.end([key]);
    await first.kill();
    await eventually('nobody vouches any more', () => a.peek(thumbprint()) === 'unavailable');
    expect(await a.judge(thumbprint())).toBe('unavailable');
    expect(a.peek(key.thumbprint)).toBe('ended');
    expect(a.health()).toMatchObject({ healthy: false });
    const late = endedKey();
    await expect(a.end([late])).rejects.toThrow();
    const second = await redisServer({ port });
    await eventually('it answers again', async () => (await a.judge(thumbprint())) === 'live');
    const b = await node(second.url);
    expect(b.peek(key.thumbprint)).toBe('ended');
    // Even what could not be written then.
    await refuses(b, late.thumbprint);
  });

  it('a silent Redis: unavailable within the stated bound, live again when it answers', async () => {
    const redis = await redisServer();
    const proxy = await proxyTo(redis);
    const a = await node(`redis://127.0.0.1:${proxy.port}`, { maxStaleMs: 500, commandTimeoutMs: 200 });
    expect(await a.judge(thumbprint())).toBe('live');
    proxy.stallAnswers();
    await eventually('nobody vouches any more', () => a.peek(thumbprint()) === 'unavailable');
    expect(await a.judge(thumbprint())).toBe('unavailable');
    proxy.resumeAnswers();
    await eventually('it answers again', async () => (await a.judge(thumbprint())) === 'live');
  });

  it('after a pause of this process one question is asked, instead of refusing', async () => {
    const redis = await redisServer();
    const a = await node(redis.url, { pollMs: 100_000, maxStaleMs: 250 });
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(a.peek(thumbprint())).toBe('unavailable');
    expect(await a.judge(thumbprint())).toBe('live');
  });

  it('listeners hear of keys, and of not being able to vouch', async () => {
    const redis = await redisServer();
    const proxy = await proxyTo(redis);
    const [a, b] = [await node(redis.url), await node(`redis://127.0.0.1:${proxy.port}`, { maxStaleMs: 400 })];
    const heard: string[] = [];
    const key = endedKey();
    b.onChange(() => heard.push(b.peek(key.thumbprint)));
    await a.end([key]);
    await eventually('told of the key', () => heard.includes('ended'));
    const other = thumbprint();
    b.onChange(() => heard.push(`${other} ${b.peek(other)}`));
    proxy.stallAnswers();
    await eventually('told of the doubt', () => heard.includes(`${other} unavailable`));
    proxy.resumeAnswers();
  });

  it('a failover that lost the end of the list: whoever knows it writes it again', async () => {
    const redis = await redisServer();
    const [a, b] = [await node(redis.url), await node(redis.url)];
    const [kept, lost] = [endedKey(), endedKey()];
    await a.end([kept]);
    await a.end([lost]);
    await refuses(b, lost.thumbprint);
    // What a replica that lagged behind looks like once it is the master.
    await redis.call('ZREM', 'test:{ended_jobs}expiry', lost.thumbprint);
    await redis.call('ZREM', 'test:{ended_jobs}order', lost.thumbprint);
    await redis.call('SET', 'test:{ended_jobs}last', '1');
    await eventually('it is there again', async () => (await redis.call('ZCARD', 'test:{ended_jobs}expiry')) === 2);
    expect((await node(redis.url)).peek(lost.thumbprint)).toBe('ended');
  });

  it('does not start with a Redis that evicts, says what to do', async () => {
    const redis = await redisServer({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    const keys = redisKeys(redis.url);
    closing.push(() => keys.close());
    await expect(keys.start()).rejects.toThrow(/maxmemory-policy is allkeys-lru, expected noeviction.*CONFIG SET/);
  });

  it('does not start without Redis, and says where it looked', async () => {
    const port = await freePort();
    const keys = redisKeys(`redis://127.0.0.1:${port}`);
    closing.push(() => keys.close());
    await expect(keys.start()).rejects.toThrow(
      new RegExp(`ended_jobs\\.redis: Redis at 127\\.0\\.0\\.1:${port} was not ready`),
    );
  });
});
