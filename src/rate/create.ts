import type { GatewayConfig, RateClassConfig } from '../config/schema.ts';
import { createMemoryCounter } from './counter_memory.ts';
import { createRateLimits, type RateLimits } from './rate_limits.ts';

/** The parts of the configuration that rate limits are made of. */
export type RateConfig = Pick<GatewayConfig, 'rate_classes' | 'replay' | 'limits'>;

/** Makes the rate limits that the configuration names; the Redis client is loaded only where it is used. */
export async function startRateLimits({ rate_classes: classes, replay, limits }: RateConfig): Promise<RateLimits> {
  const shared = Object.keys(classes).length > 0 && replay.redis !== undefined;
  if (!shared || replay.redis === undefined) {
    const counterOf = (_: string, rate: RateClassConfig) => createMemoryCounter(rate, limits.rate_keys);
    return createRateLimits({ classes, counterOf, close: () => Promise.resolve() });
  }
  const { startRedisCounters } = await import('./counter_redis.ts');
  return createRateLimits({ classes, ...(await startRedisCounters(replay.redis)) });
}
