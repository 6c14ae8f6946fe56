import { RedisEndedKeys } from '../ended_jobs/ended_keys_redis.ts';
import type { Clock } from '../kernel/clock.ts';
import type { RedisConfig } from '../redis/redis_options.ts';
import type { EndingSink } from './endings.ts';

/** How often Redis is looked at: what it lost is written again within this time. Nothing here depends on how fresh the list is. */
const POLL_MS = 1000;
const MAX_STALE_MS = 10_000;

/** The list in Redis, which gateways read. @throws Error that says which Redis cannot be used, and what to do */
export async function startRedisSink(redis: RedisConfig, limit: number, clock: Clock): Promise<EndingSink> {
  const keys = new RedisEndedKeys({
    redis,
    key: 'ended_jobs.redis',
    limit,
    pollMs: POLL_MS,
    maxStaleMs: MAX_STALE_MS,
    clock,
  });
  await keys.start();
  return {
    name: 'redis',
    deliver: (ended) => keys.end(ended),
    // What Redis forgets, the store writes again by itself.
    forgot: () => Promise.resolve(false),
    get up() {
      return keys.health().healthy;
    },
    close: () => keys.close(),
  };
}
