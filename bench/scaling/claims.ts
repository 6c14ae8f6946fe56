import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { RedisReplayStore } from '../../src/proof/replay_redis.ts';
import { expiryOf, longestClaim, replayKey } from '../../src/proof/replay_store.ts';
import { startRedisFor } from '../contenders/redis.ts';
import { usageOf, usedBetween } from '../cpu.ts';
import type { Place } from '../place.ts';

const WINDOW = { max_age_seconds: 60, leeway_seconds: 10 };
const IN_FLIGHT = [1, 8, 32, 64];
/** In a gateway under load about this many claims leave in one turn. */
export const UNDER_LOAD = 32;
const CLAIMS = 40_000;
const KEPT = 200_000;

/** What claims cost with a real Redis. */
export interface ClaimCosts {
  /** Microseconds of CPU of Redis for a claim, by claims in flight. */
  readonly redisUs: ReadonlyMap<number, number>;
  readonly bytesPerKey: number;
  /** Seconds that a key of a proof made now is kept. */
  readonly keptSeconds: number;
}

/** Claims proofs in a real Redis, as the gateway does. */
export async function measureClaims(place: Place): Promise<ClaimCosts> {
  const redis = await startRedisFor('scaling', place, undefined);
  const url = `redis://127.0.0.1:${redis.port}`;
  const config = { url, command_timeout_ms: 5000, key_prefix: 'sallyport:', allow_eviction: false };
  const store = new RedisReplayStore({ redis: config, longestMs: longestClaim(WINDOW), clock: Date.now });
  const look = new Redis(redis.port);
  try {
    await store.start();
    const before = await memoryOf(look);
    await claimMany(store, KEPT, UNDER_LOAD);
    const bytesPerKey = ((await memoryOf(look)) - before) / KEPT;
    const redisUs = new Map<number, number>();
    for (const inFlight of IN_FLIGHT) {
      const start = usageOf(redis.pid);
      await claimMany(store, CLAIMS, inFlight);
      redisUs.set(inFlight, usedBetween(start, usageOf(redis.pid)) / CLAIMS);
    }
    const now = Date.now();
    return { redisUs, bytesPerKey, keptSeconds: (expiryOf(Math.floor(now / 1000), WINDOW) - now) / 1000 };
  } finally {
    await store.close();
    look.disconnect();
  }
}

async function claimMany(store: RedisReplayStore, count: number, inFlight: number): Promise<void> {
  for (let done = 0; done < count; done += inFlight) {
    const now = Date.now();
    const expires = expiryOf(Math.floor(now / 1000), WINDOW);
    const answers = await Promise.all(
      Array.from({ length: Math.min(inFlight, count - done) }, () =>
        store.claim(replayKey('https://cloud.example.com/v1', 'j'.repeat(43), randomUUID()), expires, now),
      ),
    );
    if (answers.some((answer) => answer !== 'first')) throw new Error(`a claim was answered with ${answers}`);
  }
}

async function memoryOf(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
