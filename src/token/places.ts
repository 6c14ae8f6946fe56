import { FairQueue } from '../kernel/fair_queue.ts';

/** Who waits for a place. */
interface Waiter {
  take(taken: boolean): void;
}

/** For whom a place is wanted. */
export interface PlaceRequest {
  /** Milliseconds that may be waited. */
  readonly waitMs: number;
  /** Who causes the work: those with different names take turns. */
  readonly from: string;
  /** Whether it goes before all that is not, into places kept free for such. */
  readonly known: boolean;
}

/** How many may wait: each costs a timer and a promise. */
const MAX_WAITING = 1024;
/** The part of the places that is kept for what is known. */
const RESERVED = 0.25;

/**
 * A number of places, for work that must not be done by too many at once: a flood of new tokens costs the issuer no more than so many
 * questions at a time. What is known goes first, and a part of the places is kept for it, so that invented tokens never keep good ones
 * waiting. Others take turns by where they come from.
 */
export class Places {
  readonly #reserved: number;
  #free: number;
  readonly #known = new FairQueue<Waiter>();
  readonly #others = new FairQueue<Waiter>();

  constructor(places: number) {
    this.#free = places;
    this.#reserved = Math.floor(places * RESERVED);
  }

  /** Whether a place was got in time; then `leave` gives it back. False at once when too many wait. */
  take({ waitMs, from, known }: PlaceRequest): Promise<boolean> {
    if (this.#free > (known ? 0 : this.#reserved)) {
      this.#free--;
      return Promise.resolve(true);
    }
    const queue = known ? this.#known : this.#others;
    if (queue.size >= MAX_WAITING) {
      const displaced = queue.yieldTo(from);
      if (displaced === undefined) return Promise.resolve(false);
      displaced.take(false);
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = {
      take: (taken) => {
        clearTimeout(timer);
        resolve(taken);
      },
    };
    const place = queue.push(from, waiter);
    const timer = setTimeout(() => {
      queue.delete(from, place);
      resolve(false);
    }, waitMs);
    return promise;
  }

  /** Gives a place to whose turn it is. */
  leave(): void {
    const next = this.#known.shift() ?? (this.#free >= this.#reserved ? this.#others.shift() : undefined);
    if (next === undefined) this.#free++;
    else next.take(true);
  }
}
