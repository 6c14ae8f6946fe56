import { FairQueue } from './fair_queue.ts';

/** How fast something may go, and what waits meanwhile. */
export interface PaceOptions {
  /** How many in a second. */
  readonly perSecond: number;
  /** How many at once, after a quiet while. */
  readonly burst: number;
  /** How long one waits at most, in milliseconds. */
  readonly waitMs: number;
  /** How many may wait: each costs a promise and what it holds. */
  readonly maxWaiting: number;
}

/** One that waits. */
interface Waiting {
  readonly lane: string;
  readonly until: number;
  end(turn: boolean): void;
}

const TICK_MS = 2;

/** Lets so many through in a second; those beyond wait, those from different sides in turn. One timer for all of them. */
export class Pace {
  readonly #options: PaceOptions;
  readonly #queue = new FairQueue<Waiting>();
  /** The same in the order of coming, which is that of giving up. */
  readonly #inOrder = new Set<Waiting>();
  #credit: number;
  #creditAt = performance.now();
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#credit = options.burst;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#queue.size;
  }

  /** Null: go on; else whether its turn came in time. @param lane on whose side it is */
  turn(lane: string): Promise<boolean> | null {
    const now = performance.now();
    this.#earn(now);
    if (this.#queue.size === 0 && this.#credit >= 1) {
      this.#credit--;
      return null;
    }
    const { waitMs, maxWaiting } = this.#options;
    if (this.#queue.size >= maxWaiting) {
      const displaced = this.#queue.yieldTo(lane);
      if (displaced === undefined) return Promise.resolve(false);
      displaced.end(false);
    }
    return new Promise((resolve) => {
      const waiting: Waiting = {
        lane,
        until: now + waitMs,
        end: (turn) => {
          this.#inOrder.delete(waiting);
          resolve(turn);
        },
      };
      this.#queue.push(lane, waiting);
      this.#inOrder.add(waiting);
      this.#timer ??= setTimeout(() => this.#tick(), TICK_MS);
    });
  }

  /** Nobody waits any longer, and nobody's turn comes. */
  dismiss(): void {
    for (const waiting of this.#inOrder) this.#giveUp(waiting);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #earn(now: number): void {
    const { perSecond, burst } = this.#options;
    this.#credit = Math.min(burst, this.#credit + ((now - this.#creditAt) * perSecond) / 1000);
    this.#creditAt = now;
  }

  #tick(): void {
    const now = performance.now();
    this.#earn(now);
    for (; this.#credit >= 1 && this.#queue.size > 0; this.#credit--) this.#queue.shift()?.end(true);
    for (const waiting of this.#inOrder) {
      if (waiting.until > now) break;
      this.#giveUp(waiting);
    }
    this.#timer = this.#queue.size === 0 ? null : setTimeout(() => this.#tick(), TICK_MS);
  }

  #giveUp(waiting: Waiting): void {
    this.#queue.delete(waiting.lane, waiting);
    waiting.end(false);
  }
}
