import { LRUCache } from 'lru-cache';
import type { VerifiedJwt } from './jwt.ts';

/** Counts since the start. */
export interface TokenCacheStats {
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
}

/**
 * Tokens that were verified, by the digest of their text, never by the text. Bounded; the least recently used one goes first. Only what does
 * not depend on the request is remembered: whether the token is for this route and still valid is asked each time. A token whose key its
 * issuer no longer publishes is forgotten.
 */
export class TokenCache {
  readonly #tokens: LRUCache<string, VerifiedJwt>;
  #hits = 0;
  #misses = 0;

  /** `size`: tokens that are remembered at most. */
  constructor(size: number) {
    this.#tokens = new LRUCache({ max: size });
  }

  get(digest: string): VerifiedJwt | undefined {
    const verified = this.#tokens.get(digest);
    if (verified?.issuer.keys.holds(verified.key)) {
      this.#hits++;
      return verified;
    }
    if (verified !== undefined) this.#tokens.delete(digest);
    this.#misses++;
    return undefined;
  }

  set(verified: VerifiedJwt): void {
    this.#tokens.set(verified.token.digest, verified);
  }

  stats(): TokenCacheStats {
    return { entries: this.#tokens.size, hits: this.#hits, misses: this.#misses };
  }
}
