import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryReplayStore } from '../../src/proof/replay_memory.ts';
import { RedisReplayStore } from '../../src/proof/replay_redis.ts';
import { longestClaim, type ReplayStore } from '../../src/proof/replay_store.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { claimNow, DPOP, dated, redisConfig } from './replay_fixture.ts';

let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});

afterAll(async () => {
  await server.stop();
});

const STORES: Record<string, (longestMs: number) => ReplayStore> = {
  memory: (longestMs) => createMemoryReplayStore({ limit: 200_000, longestMs, clock: Date.now }),
  redis: (longestMs) => new RedisReplayStore({ redis: redisConfig({ url: server.url }), longestMs, clock: Date.now }),
};

describe.each(Object.keys(STORES))('replay store: %s', (name) => {
  let store: ReplayStore;
  const make = (longestMs: number) => (STORES[name] as (longestMs: number) => ReplayStore)(longestMs);

  beforeEach(async () => {
    store = make(longestClaim(DPOP));
    await store.start();
  });

  afterEach(async () => {
    await store.close();
  });

  it('RFC 9449 §11.1: a proof is first once and used ever after', async () => {
    const jti = randomUUID();
    expect(await claimNow(store, jti)).toBe('first');
    expect(await claimNow(store, jti)).toBe('used');
    expect(await claimNow(store, jti)).toBe('used');
  });

  it('RFC 9449 §11.1: of 100 claims at once exactly one is first', async () => {
    const jti = randomUUID();
    const claims = await Promise.all(Array.from({ length: 100 }, () => claimNow(store, jti)));
    expect(claims.filter((claim) => claim === 'first')).toHaveLength(1);
    expect(claims.filter((claim) => claim === 'used')).toHaveLength(99);
  });

  it('RFC 9449 §11.1: the same jti with another date is used, too', async () => {
    const jti = randomUUID();
    expect(await claimNow(store, jti, dated(8))).toBe('first');
    expect(await claimNow(store, jti, dated(-50))).toBe('used');
    expect(await claimNow(store, jti, dated(10))).toBe('used');
  });

  it('any sequence of claims answers as a set would', async () => {
    const jtis = fc.array(fc.constantFrom(...'abcdefgh'), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(jtis, async (letters) => {
        const run = randomUUID();
        const seen = new Set<string>();
        for (const letter of letters) {
          expect(await claimNow(store, `${run}${letter}`)).toBe(seen.has(letter) ? 'used' : 'first');
          seen.add(letter);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('takes 100,000 proofs within one window, and refuses each of them afterwards', { timeout: 60_000 }, async () => {
    const run = randomUUID();
    const count = 100_000;
    const claimAll = async (expected: string) => {
      for (let start = 0; start < count; start += 500) {
        const batch = Array.from({ length: 500 }, (_, index) => claimNow(store, `${run}${start + index}`));
        const other = (await Promise.all(batch)).filter((claim) => claim !== expected);
        expect(other).toEqual([]);
      }
    };
    await claimAll('first');
    await claimAll('used');
    expect(store.stats()).toMatchObject({ kind: name, first: count, used: count, unavailable: 0, losses: 0 });
  });

  it('forgets a key some time after it expired', async () => {
    const brief = make(2000);
    await brief.start();
    const key = randomUUID();
    expect(await brief.claim(key, Date.now() + 300, Date.now())).toBe('first');
    expect(await brief.claim(key, Date.now() + 300, Date.now())).toBe('used');
    await eventually(
      'the key is forgotten',
      async () => (await brief.claim(key, Date.now() + 300, Date.now())) === 'first',
    );
    await brief.close();
  });

  it('proof.replay_store_unavailable: a claim that is to expire in the past cannot be kept', async () => {
    const now = Date.now();
    expect(await store.claim(randomUUID(), now, now)).toBe('unavailable');
    expect(await store.claim(randomUUID(), now - 60_000, now)).toBe('unavailable');
  });

  it('proof.replay_store_unavailable: a closed store answers nothing else, and says so', async () => {
    expect(store.health().healthy).toBe(true);
    await store.close();
    expect(await claimNow(store)).toBe('unavailable');
    expect(store.health()).toEqual({ healthy: false, detail: 'closed' });
    expect(store.stats()).toMatchObject({ first: 0, used: 0, unavailable: 1 });
  });
});

describe('two gateways, one Redis', () => {
  it('RFC 9449 §11.1: of 200 claims at once on both exactly one is first', async () => {
    const stores = [0, 1].map(() => STORES['redis']?.(longestClaim(DPOP)) as ReplayStore);
    await Promise.all(stores.map((store) => store.start()));
    const jti = randomUUID();
    const claims = await Promise.all(
      Array.from({ length: 200 }, (_, index) => claimNow(stores[index % 2] as ReplayStore, jti)),
    );
    expect(claims.filter((claim) => claim === 'first')).toHaveLength(1);
    expect(claims.filter((claim) => claim === 'used')).toHaveLength(199);
    await Promise.all(stores.map((store) => store.close()));
  });
});
