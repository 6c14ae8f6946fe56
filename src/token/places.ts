/** Who waits for a place. */
interface Waiter {
  take(taken: boolean): void;
}

/** How many may wait: each costs a timer and a promise. */
const MAX_WAITING = 1024;

/**
 * A number of places, for work that must not be done by too many at once: a flood of new tokens costs the issuer no more than so many
 * questions at a time. First come, first served.
 */
export class Places {
  #free: number;
  /** In the order of their coming. */
  readonly #waiting = new Set<Waiter>();

  constructor(places: number) {
    this.#free = places;
  }

  /** Whether a place was got within so many milliseconds; then `leave` gives it back. False at once when too many wait. */
  take(waitMs: number): Promise<boolean> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve(true);
    }
    if (this.#waiting.size >= MAX_WAITING) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = {
      take: (taken) => {
        clearTimeout(timer);
        this.#waiting.delete(waiter);
        resolve(taken);
      },
    };
    const timer = setTimeout(() => waiter.take(false), waitMs);
    this.#waiting.add(waiter);
    return promise;
  }

  /** Gives a place to whoever waits longest. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free++;
    else next.take(true);
  }
}
