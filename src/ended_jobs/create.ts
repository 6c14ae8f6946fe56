import type { EndedJobsConfig, GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { EndedKey, EndedKeys } from './ended_keys.ts';
import { MemoryEndedKeys } from './ended_keys_memory.ts';

/** The parts of the configuration that the store is made of. */
export type EndedKeysConfig = Pick<GatewayConfig, 'ended_jobs' | 'replay'>;

/**
 * Makes and starts the store that the configuration names; null where jobs do not end before their tokens. The Redis client is loaded only
 * where it is used.
 * @param known for a worker process: the keys that its primary knows; the file is the primary's then
 * @throws Error that says what was read, expected, and what to do
 */
export async function startEndedKeys(
  { ended_jobs: ended, replay }: EndedKeysConfig,
  clock: Clock,
  known?: readonly EndedKey[],
): Promise<EndedKeys | null> {
  if (ended === undefined) return null;
  const keys = await create(known === undefined ? ended : { ...ended, state_file: undefined }, replay, clock);
  await keys.start();
  if (ended.store === 'memory' && known !== undefined) await keys.end(known);
  return keys;
}

async function create(ended: EndedJobsConfig, replay: GatewayConfig['replay'], clock: Clock): Promise<EndedKeys> {
  const { limit, store, poll_ms: pollMs, max_stale_ms: maxStaleMs, state_file: stateFile } = ended;
  if (store === 'memory') return new MemoryEndedKeys({ limit, clock, stateFile });
  const redis = ended.redis ?? replay.redis;
  if (redis === undefined) throw new Error('ended_jobs.redis: say where Redis is');
  const { RedisEndedKeys } = await import('./ended_keys_redis.ts');
  const key = ended.redis === undefined ? 'replay.redis' : 'ended_jobs.redis';
  return new RedisEndedKeys({ redis, key, limit, pollMs, maxStaleMs, clock });
}
