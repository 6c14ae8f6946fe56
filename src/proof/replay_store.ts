import { hash } from 'node:crypto';
import type { ReplayClass } from '../kernel/context.ts';
import type { MaybePromise } from '../kernel/result.ts';

/**
 * The answer to one claim. `first`: nobody claimed this key before, and the caller alone was told so. `used`: it was claimed before.
 * `unavailable`: it cannot be known, so the request must be refused with 503; the key may or may not count as claimed.
 */
export type Claim = 'first' | 'used' | 'unavailable';

/**
 * Remembers which proofs were used (RFC 9449 §11.1). One contract, two stores: replay_memory.ts for one process, replay_redis.ts for many;
 * and replay_window.ts, which remembers nothing, for routes that say so. A store never turns into the other, and what it cannot vouch for it answers with `unavailable`.
 */
export interface ReplayStore {
  /**
   * Claims a key, atomically, until `expiresAtMs`. Both times are milliseconds of the gateway's clock; the proof must not be acceptable any
   * more at `expiresAtMs`, and that must lie ahead. Answers within the store's stated bound and never rejects.
   */
  claim(key: string, expiresAtMs: number, nowMs: number): MaybePromise<Claim>;
  /** Gets ready within a stated bound. Rejects with a message that says what was read, what was expected and what to do. */
  start(): Promise<void>;
  /** Whether claims can be answered now, and if not, why. */
  health(): ReplayHealth;
  stats(): ReplayStats;
  /** Ends connections and timers; claims under way and later ones are `unavailable`. */
  close(): Promise<void>;
}

/** Fit for the readiness page: fixed words and numbers, nothing secret. */
export interface ReplayHealth {
  readonly healthy: boolean;
  readonly detail: string;
}

/** Counts since start. */
export interface ReplayStats {
  readonly kind: ReplayClass;
  /** Keys held; null where another program holds them. */
  readonly entries: number | null;
  readonly first: number;
  readonly used: number;
  readonly unavailable: number;
  /** How often used proofs may have been forgotten (restart, flush, clock set back), so that older ones are refused for one window. */
  readonly losses: number;
}

/** How long proofs are acceptable, in seconds; from `dpop` in the configuration. */
export interface ProofWindow {
  readonly max_age_seconds: number;
  readonly leeway_seconds: number;
}

/** A proof stays acceptable to the end of the second `iat + max_age`; a key outlives it by the leeway and this much. */
const MARGIN_SECONDS = 2;

/**
 * When a proof's key may be forgotten, in milliseconds: after the last moment at which the proof is acceptable, also when it was dated ahead
 * (RFC 9449 §11.1), and with the leeway and a second to spare for a clock that is set back a little.
 */
export function expiryOf(iat: number, window: ProofWindow): number {
  return Math.ceil(iat + window.max_age_seconds + window.leeway_seconds + MARGIN_SECONDS) * 1000;
}

/**
 * The longest time from the second of a claim to its expiry, in milliseconds: that of a proof dated ahead as far as the leeway goes. What
 * expires later was not claimed before.
 */
export function longestClaim(window: ProofWindow): number {
  return (window.max_age_seconds + 2 * window.leeway_seconds + MARGIN_SECONDS) * 1000;
}

/**
 * The key of a proof: base64url(SHA-256) over resource, thumbprint and the exact bytes of jti, so that a stranger's jti burns nobody's
 * proof and the malleable text of a proof does not count. Lengths stand before what varies: no two triples give one input.
 */
export function replayKey(resource: string, jkt: string, jti: string): string {
  return hash('sha256', `${jkt.length}.${resource.length}.${jkt}${resource}${jti}`, 'base64url');
}
