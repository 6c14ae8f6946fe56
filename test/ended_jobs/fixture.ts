import { randomBytes } from 'node:crypto';
import type { EndedKey } from '../../src/ended_jobs/ended_keys.ts';
import { RedisEndedKeys } from '../../src/ended_jobs/ended_keys_redis.ts';
import { redisConfig } from '../proof/replay_fixture.ts';

/** A thumbprint that nothing else has. */
export function thumbprint(): string {
  return randomBytes(32).toString('base64url');
}

/** A key that expires in so many seconds. */
export function endedKey(seconds = 300, name = thumbprint()): EndedKey {
  return { thumbprint: name, expiresAt: Date.now() + seconds * 1000 };
}

/** What may differ from the usual store of a test. */
export interface StoreChanges {
  readonly limit?: number;
  readonly pollMs?: number;
  readonly maxStaleMs?: number;
  readonly clock?: () => number;
  readonly commandTimeoutMs?: number;
}

/** A store in the Redis at a URL; not started. */
export function redisKeys(url: string, changes: StoreChanges = {}): RedisEndedKeys {
  const { limit = 1000, pollMs = 100, maxStaleMs = 5000, clock = Date.now, commandTimeoutMs = 1000 } = changes;
  const redis = redisConfig({ url, command_timeout_ms: commandTimeoutMs });
  return new RedisEndedKeys({ redis, key: 'ended_jobs.redis', limit, pollMs, maxStaleMs, clock });
}
