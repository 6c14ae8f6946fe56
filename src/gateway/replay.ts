import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { createMemoryReplayStore } from '../proof/replay_memory.ts';
import { RedisReplayStore } from '../proof/replay_redis.ts';
import { longestClaim, type ReplayStore } from '../proof/replay_store.ts';

/** Makes and starts the store of used proofs that the configuration names. @throws Error that says what was read, expected, and what to do */
export async function startReplayStore({ replay, dpop }: GatewayConfig, clock: Clock): Promise<ReplayStore> {
  const longestMs = longestClaim(dpop);
  const store =
    replay.store === 'redis' && replay.redis !== undefined
      ? new RedisReplayStore({ redis: replay.redis, longestMs, clock })
      : createMemoryReplayStore({ limit: replay.memory_limit, longestMs, clock });
  try {
    await store.start();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}
