import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import type { RateClassConfig } from '../config/schema.ts';
import { closeRedis, connectRedis } from '../redis/connect_redis.ts';
import { describeRedis, type RedisConfig } from '../redis/redis_options.ts';
import { countWith } from './counter_memory.ts';
import type { RateCounter, RateLimitsParts, Release } from './rate_limits.ts';

/** Milliseconds that a place is kept for a request whose process does not renew it: it has died, or cannot reach Redis. */
const LEASE_MS = 60_000;
/** Milliseconds between two renewals. */
const RENEW_MS = 20_000;

/** Milliseconds that Redis may take to answer at start, and between two looks whether it does. */
const START_MS = 5000;
const LOOK_MS = 10;

/** Takes a place if fewer than ARGV[1] are taken; those whose time is over do not count. Time is that of Redis, one for all processes. */
const HOLD = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;
const RENEW = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/**
 * Counters that any number of processes share, once Redis answers.
 * @throws Error that says which Redis does not
 */
export async function startRedisCounters(redis: RedisConfig): Promise<Pick<RateLimitsParts, 'counterOf' | 'close'>> {
  const client = connectRedis(redis);
  // What fails is seen by each command; without a listener it would end the process.
  client.on('error', () => undefined);
  await answers(client, redis);
  const places = new Places(client);
  return {
    counterOf: (name, rate) => createRedisCounter(client, places, { name, rate, prefix: redis.key_prefix }),
    async close() {
      places.close();
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
      client.disconnect();
      throw new Error(`rate_classes: ${describeRedis(redis)} does not answer; start it, or correct replay.redis`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

interface CounterParts {
  readonly name: string;
  readonly rate: RateClassConfig;
  readonly prefix: string;
}

function createRedisCounter(
  client: Redis | Cluster,
  places: Places,
  { name, rate, prefix }: CounterParts,
): RateCounter {
  const limit = rate.concurrent;
  return {
    count: countWith(rate, (points, duration, part) => {
      return new RateLimiterRedis({
        storeClient: client,
        keyPrefix: `${prefix}rate:${name}:${part}`,
        points,
        duration,
      });
    }),
    hold: (key) => (limit === undefined ? () => undefined : places.hold(`${prefix}rate:${name}:places:${key}`, limit)),
  };
}

/** The places that this process holds. One timer renews them all. */
class Places {
  readonly #client: Redis | Cluster;
  readonly #held = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(client: Redis | Cluster) {
    this.#client = client;
    this.#timer = setInterval(() => this.#renew(), RENEW_MS).unref();
  }

  async hold(key: string, limit: number): Promise<Release | null> {
    const member = randomUUID();
    const taken = await this.#client.eval(HOLD, 1, key, limit, member, LEASE_MS);
    if (taken !== 1) return null;
    this.#held.set(member, key);
    return () => {
      if (!this.#held.delete(member)) return;
      // When that fails, the place is free once its time is over.
      this.#client.zrem(key, member).catch(() => undefined);
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #renew(): void {
    for (const [member, key] of this.#held) this.#client.eval(RENEW, 1, key, member, LEASE_MS).catch(() => undefined);
  }
}
