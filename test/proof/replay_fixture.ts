import { randomUUID } from 'node:crypto';
import type { GatewayConfig } from '../../src/config/schema.ts';
import { RedisReplayStore } from '../../src/proof/replay_redis.ts';
import { expiryOf, longestClaim, replayKey } from '../../src/proof/replay_store.ts';
import type { RedisConfig } from '../../src/redis/redis_options.ts';

/** The default window of proofs. */
export const DPOP: GatewayConfig['dpop'] = {
  algorithms: ['ES256', 'PS256', 'EdDSA'],
  max_age_seconds: 60,
  leeway_seconds: 10,
  nonce: 'off',
  nonce_lifetime_seconds: 300,
};

/** The configuration of a single Redis, with what differs. Patient, so that a busy machine does not look like a slow Redis. */
export function redisConfig(changes: Partial<RedisConfig>): RedisConfig {
  return { command_timeout_ms: 5000, key_prefix: 'test:', allow_eviction: false, ...changes };
}

/** A store in Redis with the default window and the real clock; not started. */
export function redisStore(changes: Partial<RedisConfig>, clock: () => number = Date.now): RedisReplayStore {
  return new RedisReplayStore({ redis: redisConfig(changes), longestMs: longestClaim(DPOP), clock });
}

/** What differs from a proof made now. */
export interface ClaimChanges {
  /** Seconds since the Unix epoch. The same proof, claimed again later, keeps its date. */
  readonly iat?: number;
  readonly clock?: () => number;
}

/** The date of a proof made now, or so many seconds ahead. */
export function dated(ahead = 0): { iat: number } {
  return { iat: Math.floor(Date.now() / 1000) + ahead };
}

/** Claims as the verifier does. */
export function claimNow(
  store: Pick<RedisReplayStore, 'claim'>,
  jti: string = randomUUID(),
  { clock = Date.now, iat = Math.floor(clock() / 1000) }: ClaimChanges = {},
) {
  return store.claim(replayKey('https://cloud.example.com/v1', 'j'.repeat(43), jti), expiryOf(iat, DPOP), clock());
}
