import type { Clock } from '../kernel/clock.ts';
import type { Claim, ReplayStore } from './replay_store.ts';

/** What the memory store is made of. */
export interface MemoryReplayOptions {
  /** Keys held at most; when full, new ones are refused and none is forgotten early. */
  readonly limit: number;
  /** The longest time from a claim to its expiry, in milliseconds (`longestClaim`). */
  readonly longestMs: number;
  readonly clock: Clock;
  /** What it is in the metrics: `node_nonce` when it serves the proofs with a nonce of this node. Absent: `memory`. */
  readonly kind?: 'memory' | 'node_nonce';
}

/** Into how many spans the longest claim is cut: each claim looks into one set for each, and forgetting is late by one span at most. */
const SPANS = 8;

/**
 * A replay store in the memory of one process (RFC 9449 §11.1), without timers. About 120 bytes for each key that has not expired. It starts
 * empty: proofs that an earlier process accepted are not known to it.
 */
export function createMemoryReplayStore(options: MemoryReplayOptions): ReplayStore {
  const { limit, longestMs, clock, kind = 'memory' } = options;
  const spanMs = Math.ceil(longestMs / SPANS);
  /** Keys by the span of time in which they expire. */
  const spans = new Map<number, Set<string>>();
  let entries = 0;
  /** What expired before this, in milliseconds of the gateway's clock, may have been forgotten. */
  let forgottenBefore = 0;
  let closed = false;
  const counts = { first: 0, used: 0, unavailable: 0, losses: 0 };

  /** Drops whole spans that lie in the past: constant work for each, whatever it holds. */
  function forget(nowMs: number): void {
    for (const [span, keys] of spans) {
      const end = (span + 1) * spanMs;
      if (end > nowMs) continue;
      spans.delete(span);
      entries -= keys.size;
      forgottenBefore = Math.max(forgottenBefore, end);
    }
  }

  function decide(key: string, expiresAtMs: number, nowMs: number): Claim {
    if (closed || expiresAtMs <= nowMs) return 'unavailable';
    forget(nowMs);
    // The clock was set back: this proof may have been used, and forgotten, while it was ahead.
    if (expiresAtMs < forgottenBefore) return 'unavailable';
    // The same jti may come again in a proof with another date, so every span is asked.
    for (const keys of spans.values()) if (keys.has(key)) return 'used';
    if (entries >= limit) return 'unavailable';
    const span = Math.floor(expiresAtMs / spanMs);
    const keys = spans.get(span);
    if (keys === undefined) spans.set(span, new Set([key]));
    else keys.add(key);
    entries++;
    return 'first';
  }

  return {
    claim(key, expiresAtMs, nowMs) {
      const claim = decide(key, expiresAtMs, nowMs);
      counts[claim]++;
      return claim;
    },
    start: async () => {},
    health() {
      if (closed) return { healthy: false, detail: 'closed' };
      forget(clock());
      const detail = `${entries} of at most ${limit} proofs in memory`;
      return { healthy: entries < limit, detail };
    },
    stats: () => ({ kind, entries, ...counts }),
    close: async () => {
      closed = true;
      spans.clear();
      entries = 0;
    },
  };
}
