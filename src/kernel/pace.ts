import { FairQueue } from './fair_queue.ts';
import { type Link, LinkedList } from './linked_list.ts';

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

/** The turn of one that waits. */
export interface Turn {
  /** Whether it came in time. */
  readonly came: Promise<boolean>;
  /** Waits no longer: it does not come. */
  leave(): void;
}

/** One that waits. */
interface Waiting {
  readonly lane: string;
  readonly until: number;
  readonly resolve: (came: boolean) => void;
  inLane: Link<Waiting> | null;
  inOrder: Link<Waiting> | null;
}

const TICK_MS = 2;
const NEVER: Turn = { came: Promise.resolve(false), leave: () => undefined };

/** Lets so many through in a second; those beyond wait, those from different sides in turn. One timer for all of them. */
export class Pace {
  readonly #options: PaceOptions;
  readonly #queue = new FairQueue<Waiting>();
  /** The same in the order of coming, which is that of giving up. */
  readonly #inOrder = new LinkedList<Waiting>();
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

  /** Null: go on; else wait for it. @param lane on whose side it is */
  turn(lane: string): Turn | null {
    const now = performance.now();
    this.#earn(now);
    if (this.#queue.size === 0 && this.#credit >= 1) {
      this.#credit--;
      return null;
    }
    const { waitMs, maxWaiting } = this.#options;
    if (this.#queue.size >= maxWaiting) {
      const displaced = this.#queue.yieldTo(lane);
      if (displaced === undefined) return NEVER;
      this.#end(displaced, false);
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiting: Waiting = { lane, until: now + waitMs, resolve, inLane: null, inOrder: null };
    waiting.inLane = this.#queue.push(lane, waiting);
    waiting.inOrder = this.#inOrder.push(waiting);
    this.#timer ??= setTimeout(() => this.#tick(), TICK_MS);
    return { came: promise, leave: () => this.#giveUp(waiting) };
  }

  /** What had its turn was worth less than that: so many turns fewer. At most as many as there may be at once are owed. */
  charge(turns: number): void {
    this.#earn(performance.now());
    this.#credit = Math.max(this.#credit - turns, -this.#options.burst);
  }

  /** Nobody waits any longer, and nobody's turn comes. */
  dismiss(): void {
    for (let first = this.#inOrder.first; first !== null; first = this.#inOrder.first) this.#giveUp(first.item);
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
    for (; this.#credit >= 1; this.#credit--) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#end(next, true);
    }
    for (let first = this.#inOrder.first; first !== null && first.item.until <= now; first = this.#inOrder.first) {
      this.#giveUp(first.item);
    }
    this.#timer = this.#queue.size === 0 ? null : setTimeout(() => this.#tick(), TICK_MS);
  }

  #giveUp(waiting: Waiting): void {
    if (waiting.inLane !== null) this.#queue.delete(waiting.lane, waiting.inLane);
    this.#end(waiting, false);
  }

  #end(waiting: Waiting, came: boolean): void {
    if (waiting.inOrder !== null) this.#inOrder.delete(waiting.inOrder);
    waiting.resolve(came);
  }
}
