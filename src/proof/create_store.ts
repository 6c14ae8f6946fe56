import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { createMemoryReplayStore } from './replay_memory.ts';
import { longestClaim, type ReplayStore } from './replay_store.ts';

/** The parts of the configuration that a replay store is made of. */
export type ReplayStoreConfig = Pick<GatewayConfig, 'replay' | 'dpop'>;

/**
 * Makes the replay store that the configuration names; it is not started yet. The Redis client is loaded only where it is used.
 * @throws Error when a file of the configuration cannot be read
 */
export async function createReplayStore({ replay, dpop }: ReplayStoreConfig, clock: Clock): Promise<ReplayStore> {
  const longestMs = longestClaim(dpop);
  if (replay.store === 'redis' && replay.redis !== undefined) {
    const { RedisReplayStore } = await import('./replay_redis.ts');
    return new RedisReplayStore({ redis: replay.redis, longestMs, clock });
  }
  return createMemoryReplayStore({ limit: replay.memory_limit, longestMs, clock });
}
