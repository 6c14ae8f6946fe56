import { secondsOf } from '../kernel/clock.ts';

/** A clock may be set back by this much, in milliseconds, before keys are held to be gone too early: less than they outlive their proofs. */
const TOLERANCE_MS = 1000;

/**
 * Up to where the memory of a replay store has a gap: after used proofs may have been forgotten (restart, flush, failover, a clock set
 * back), every proof that could have been used before is refused, until none of them is acceptable any more. At most one success, ever.
 */
export class ReplayHorizon {
  readonly #longestMs: number;
  #latestMs = 0;
  #refusedUntilMs = 0;
  #losses = 0;

  /** `longestMs`: the longest time from a claim to its expiry (`longestClaim`). */
  constructor(longestMs: number) {
    this.#longestMs = longestMs;
  }

  /** How often used proofs may have been forgotten. */
  get losses(): number {
    return this.#losses;
  }

  /** Proofs whose keys expire up to this moment are refused; milliseconds of the gateway's clock, 0 at first. */
  get refusedUntilMs(): number {
    return this.#refusedUntilMs;
  }

  /** Whether the store would still know a key with this expiry, had it been claimed, and will until then. Notices a clock that was set back. */
  vouches(expiresAtMs: number, nowMs: number): boolean {
    if (nowMs < this.#latestMs - TOLERANCE_MS) {
      // Keys are kept for a time, not until a date: those claimed while the clock was ahead are gone when it is there again.
      this.lose(this.#latestMs);
      this.#latestMs = nowMs;
    }
    if (nowMs > this.#latestMs) this.#latestMs = nowMs;
    return expiresAtMs > this.#refusedUntilMs && expiresAtMs > nowMs;
  }

  /** To be called when claims made up to `nowMs` may be gone: none of them expires later than the longest claim made now. */
  lose(nowMs: number): void {
    this.#losses++;
    this.adopt(this.after(nowMs));
  }

  /** The horizon that a loss noticed at this moment makes. */
  after(nowMs: number): number {
    return secondsOf(nowMs) * 1000 + this.#longestMs;
  }

  /** Takes over the horizon of another process that noticed the loss before this one ran. */
  adopt(refusedUntilMs: number): void {
    if (refusedUntilMs > this.#refusedUntilMs) this.#refusedUntilMs = refusedUntilMs;
  }
}
