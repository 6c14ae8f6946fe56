import { type Clock, secondsOf } from '../kernel/clock.ts';

/** Identifiers held at most; at about 200 bytes each. */
const LIMIT = 200_000;

/**
 * Remembers identifiers of client assertions and proofs until they could no longer be accepted anyway. One claim is one synchronous step,
 * so of two copies at once exactly one wins. Serves one process and forgets on restart; nothing is ever pushed out by newer entries.
 */
export class UsedIds {
  readonly #until = new Map<string, number>();
  readonly #clock: Clock;
  readonly #limit: number;
  #sweptAt = 0;

  constructor(clock: Clock, limit: number = LIMIT) {
    this.#clock = clock;
    this.#limit = limit;
  }

  /**
   * Claims an identifier until `until` (seconds since the Unix epoch, inclusive).
   * @returns `fresh`, `used`, or `full` when no more can be remembered: the caller must then refuse
   */
  claim(key: string, until: number): 'fresh' | 'used' | 'full' {
    const now = secondsOf(this.#clock());
    const known = this.#until.get(key);
    if (known !== undefined && known >= now) return 'used';
    if (this.#until.size >= this.#limit) this.#sweep(now);
    if (this.#until.size >= this.#limit) return 'full';
    this.#until.set(key, until);
    return 'fresh';
  }

  /** Forgets what has passed; at most once a second, so that a full store does not cost a pass for each request. */
  #sweep(now: number): void {
    if (now === this.#sweptAt) return;
    this.#sweptAt = now;
    for (const [key, until] of this.#until) if (until < now) this.#until.delete(key);
  }
}
