import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ReplayClass } from '../kernel/context.ts';
import { createMemoryReplayStore } from './replay_memory.ts';
import { longestClaim, type ReplayStore } from './replay_store.ts';
import { createWindowOnly } from './replay_window.ts';

/** The parts of the configuration that a replay store is made of. */
export type ReplayStoreConfig = Pick<GatewayConfig, 'replay' | 'dpop'>;

/**
 * Makes the store that keeps single use in this way; it is not started yet. The Redis client is loaded only where it is used.
 * @throws Error when a file of the configuration cannot be read
 */
export async function createReplayStore(
  kind: ReplayClass,
  { replay, dpop }: ReplayStoreConfig,
  clock: Clock,
): Promise<ReplayStore> {
  const longestMs = longestClaim(dpop);
  switch (kind) {
    case 'redis': {
      if (replay.redis === undefined) throw new Error('replay.redis: say where Redis is');
      const { RedisReplayStore } = await import('./replay_redis.ts');
      return new RedisReplayStore({ redis: replay.redis, longestMs, clock });
    }
    case 'window_only':
      return createWindowOnly();
    default:
      return createMemoryReplayStore({ limit: replay.memory_limit, longestMs, clock, kind });
  }
}
