import type { Cluster, Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { RateClassConfig } from '../config/schema.ts';
import { closeRedis, connectRedis, mastersOf } from '../redis/connect_redis.ts';
import { findRedisProblem, parseRedisInfo, type RedisUse } from '../redis/redis_info.ts';
import { describeRedis, type RedisConfig } from '../redis/redis_options.ts';
import { countWith } from './counter_memory.ts';
import { Places } from './places_redis.ts';
import type { RateCounter, RateLimitsParts } from './rate_limits.ts';

/** Milliseconds that Redis may take to answer at start, and between two looks whether it does. */
const START_MS = 5000;
const LOOK_MS = 10;
const USE: Omit<RedisUse, 'allowEviction'> = {
  key: 'replay.redis',
  lost: 'what was counted',
  evicted: 'a count that is evicted begins anew',
};

/**
 * Counters that any number of processes share, once Redis answers and is one that keeps what it is given.
 * @throws Error that says which Redis does not, and what to do
 */
export async function startRedisCounters(redis: RedisConfig): Promise<Pick<RateLimitsParts, 'counterOf' | 'close'>> {
  const client = connectRedis(redis);
  // What fails is seen by each command; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await answers(client, redis);
    await judge(client, redis);
  } catch (error) {
    client.disconnect();
    throw error;
  }
  const held: Places[] = [];
  return {
    counterOf: (name, rate) => {
      const places = rate.concurrent === undefined ? null : new Places(client, rate.lease_seconds * 1000);
      if (places !== null) held.push(places);
      return createRedisCounter(client, places, { name, rate, prefix: redis.key_prefix });
    },
    async close() {
      for (const places of held) places.close();
      await closeRedis(client);
    },
  };
}

/** Waits until commands are taken. */
async function answers(client: Redis | Cluster, redis: RedisConfig): Promise<void> {
  if (client.status === 'wait') client.connect().catch(() => undefined);
  const late = performance.now() + START_MS;
  while (client.status !== 'ready') {
    if (performance.now() > late) {
      throw new Error(`rate_classes: ${describeRedis(redis)} does not answer; start it, or correct replay.redis`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function judge(client: Redis | Cluster, redis: RedisConfig): Promise<void> {
  for (const node of mastersOf(client)) {
    const use = { ...USE, allowEviction: redis.allow_eviction };
    const problem = await node.info().then(
      (info) => findRedisProblem(parseRedisInfo(info), use),
      (error: Error) => `INFO failed: ${error.message}`,
    );
    if (problem !== null) throw new Error(`rate_classes: ${describeRedis(redis)}: ${problem}`);
  }
}

interface CounterParts {
  readonly name: string;
  readonly rate: RateClassConfig;
  readonly prefix: string;
}

function createRedisCounter(
  client: Redis | Cluster,
  places: Places | null,
  { name, rate, prefix }: CounterParts,
): RateCounter {
  const limit = rate.concurrent ?? 0;
  return {
    count: countWith(rate, (points, duration, part) => {
      return new RateLimiterRedis({
        storeClient: client,
        keyPrefix: `${prefix}rate:${name}:${part}`,
        points,
        duration,
      });
    }),
    hold: (key) => (places === null ? () => undefined : places.hold(`${prefix}rate:${name}:places:${key}`, limit)),
  };
}
