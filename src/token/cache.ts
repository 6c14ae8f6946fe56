import { LRUCache } from 'lru-cache';
import type { Clock } from '../kernel/clock.ts';
import type { VerifiedToken } from '../kernel/context.ts';
import type { VerificationKey } from '../oauth/key_set.ts';
import type { TrustedIssuer } from './issuers.ts';
import type { PresentedToken } from './presented_token.ts';
import type { StatusReference } from './status_reference.ts';

/** A token that was verified, with what must be asked again each time it is presented. */
export interface RememberedToken {
  readonly token: VerifiedToken;
  /** Seconds since the Unix epoch; null when the token has no nbf. */
  readonly notBefore: number | null;
  readonly issuer: TrustedIssuer;
  /** The key that signed it; null for an opaque token. */
  readonly key: VerificationKey | null;
  /** Where its status stands; null when there is none to check. */
  readonly status: StatusReference | null;
  /** What the issuer said of it, and for how long that counts; null when it was not asked. */
  readonly answer: { readonly from: number; readonly until: number } | null;
}

/** Counts since the start. */
export interface TokenCacheStats {
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
}

/**
 * Tokens that were verified, by the digest of their text, never by the text. Bounded; the least recently used one goes first. Only what does
 * not depend on the request is remembered: whether the token is for this route and still valid is asked each time. A token whose key its
 * issuer no longer publishes is forgotten. What an issuer was asked about is remembered for the one route that asked, and not for long.
 */
export class TokenCache {
  readonly #tokens: LRUCache<string, RememberedToken>;
  readonly #clock: Clock;
  #hits = 0;
  #misses = 0;
  /** Whether an issuer was ever asked: without, one look is enough. */
  #hasAnswers = false;

  /** `size`: tokens that are remembered at most. */
  constructor(size: number, clock: Clock) {
    this.#tokens = new LRUCache({ max: size });
    this.#clock = clock;
  }

  /** The token with this digest, for a route. */
  get(digest: string, route: string): RememberedToken | undefined {
    const remembered = this.#find(digest) ?? (this.#hasAnswers ? this.#find(answerKey(digest, route)) : undefined);
    if (remembered === undefined) this.#misses++;
    else this.#hits++;
    return remembered;
  }

  set(remembered: RememberedToken, { digest, route }: PresentedToken): void {
    if (remembered.answer === null) this.#tokens.set(digest, remembered);
    else if (remembered.answer.until > remembered.answer.from) {
      this.#hasAnswers = true;
      this.#tokens.set(answerKey(digest, route), remembered);
    }
  }

  stats(): TokenCacheStats {
    return { entries: this.#tokens.size, hits: this.#hits, misses: this.#misses };
  }

  #find(key: string): RememberedToken | undefined {
    const remembered = this.#tokens.get(key);
    if (remembered === undefined || this.#counts(remembered)) return remembered;
    this.#tokens.delete(key);
    return undefined;
  }

  #counts({ issuer, key, answer }: RememberedToken): boolean {
    if (key !== null && !issuer.keys.holds(key)) return false;
    if (answer === null) return true;
    const now = this.#clock();
    return now >= answer.from && now < answer.until; // A clock that was set back makes no answer younger.
  }
}

/** One route has one resource and one issuer of opaque tokens: an answer cannot reach another (no route name has a space). */
function answerKey(digest: string, route: string): string {
  return `${digest} ${route}`;
}
