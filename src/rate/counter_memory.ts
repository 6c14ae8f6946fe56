import { BurstyRateLimiter, RateLimiterRes } from 'rate-limiter-flexible';
import type { RateClassConfig } from '../config/schema.ts';
import type { RateCounter, Release } from './rate_limits.ts';
import { MemoryWindows } from './window_memory.ts';

/** Any limiter of rate-limiter-flexible. */
interface Limiter {
  consume(key: string): Promise<unknown>;
}

/** Counts with limiters of rate-limiter-flexible: one for the rate, and one for the burst where there is one. */
export function countWith(
  rate: RateClassConfig,
  make: (points: number, seconds: number, part: string) => Limiter,
): RateCounter['count'] {
  const steady = make(rate.requests, rate.per_seconds, 'rate');
  const limiter =
    rate.burst === undefined
      ? steady
      : // biome-ignore lint/suspicious/noExplicitAny: its types ask for an abstract class where an interface would do.
        new BurstyRateLimiter(steady as any, make(rate.burst.requests, rate.burst.per_seconds, 'burst') as any);
  return async (key) => {
    try {
      await limiter.consume(key);
      return 0;
    } catch (refused) {
      // It rejects with this when the rate is exceeded, with an error when the store failed.
      if (refused instanceof RateLimiterRes) return Math.max(1, refused.msBeforeNext);
      throw refused;
    }
  };
}

/** Counts in the memory of this process, so many keys of a class at the same time. */
export function createMemoryCounter(rate: RateClassConfig, keys: number): RateCounter {
  // Each is held by a request under way, so that they are no more than those.
  const places = new Map<string, number>();
  return {
    count: countWith(rate, (points, seconds) => new MemoryWindows({ points, seconds, keys })),
    hold: (key) => holdPlace(places, key, rate.concurrent ?? null),
  };
}

function holdPlace(places: Map<string, number>, key: string, limit: number | null): Release | null {
  if (limit === null) return () => undefined;
  const taken = places.get(key) ?? 0;
  if (taken >= limit) return null;
  places.set(key, taken + 1);
  let given = false;
  return () => {
    if (given) return;
    given = true;
    const left = (places.get(key) ?? 1) - 1;
    if (left <= 0) places.delete(key);
    else places.set(key, left);
  };
}
