import { Pace } from '../kernel/pace.ts';

/**
 * Refusals that go out in a second while requests are let through too, per process; those beyond wait up to a second. Few at once: those who
 * are let through wait for as long as those take.
 */
const RATE = { perSecond: 300, burst: 20, waitMs: 1000, maxWaiting: 4096 } as const;
/** Milliseconds after a request that was let through in which refusals make room for others like it. */
const ALLOWED_MS = 1000;

/**
 * How fast refusals go out. Who is refused and sends again and again, as fast as it is answered, would take the time of those who are let
 * through: so, while there are such, refusals beyond a rate wait a moment, those of different callers in turn. Nobody who is let through
 * ever waits here, and where everybody is refused nobody does.
 */
export class RefusalPace {
  readonly #pace = new Pace(RATE);
  #allowedAt = Number.NEGATIVE_INFINITY;
  #stopped = false;

  /** Refusals that wait. */
  get waiting(): number {
    return this.#pace.waiting;
  }

  /** Notes that a request was let through. */
  allowed(): void {
    this.#allowedAt = performance.now();
  }

  /** The turn of a refusal; null: it is now. @param caller who is refused */
  turn(caller: string): Promise<unknown> | null {
    if (this.#stopped || performance.now() - this.#allowedAt > ALLOWED_MS) return null;
    return this.#pace.turn(caller);
  }

  /** From now on nothing waits. */
  stop(): void {
    this.#stopped = true;
    this.#pace.dismiss();
  }
}
