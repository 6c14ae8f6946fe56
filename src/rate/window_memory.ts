import { RateLimiterRes } from 'rate-limiter-flexible';

/** What a window is made of. */
export interface WindowOptions {
  /** Requests in one window. */
  readonly points: number;
  readonly seconds: number;
  /** Keys that are counted at the same time. */
  readonly keys: number;
  /** Milliseconds of a clock that nobody sets. */
  readonly now?: () => number;
}

interface Window {
  points: number;
  readonly ends: number;
}

/**
 * Fixed windows in the memory of this process, one for each key from its first request on. Bounded: a new key is not counted when it is full,
 * none is forgotten before its window has ended. It refuses as the limiters of rate-limiter-flexible do, so that they can stand together.
 */
export class MemoryWindows {
  readonly #options: WindowOptions;
  readonly #now: () => number;
  /** In the order in which they end. */
  readonly #windows = new Map<string, Window>();

  constructor(options: WindowOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Keys that are counted now. */
  get size(): number {
    return this.#windows.size;
  }

  /** Counts one request. Rejects with RateLimiterRes when the window is full, with an Error when there is no room for the key. */
  async consume(key: string): Promise<void> {
    const now = this.#now();
    this.#forget(now);
    const window = this.#windows.get(key) ?? this.#open(key, now);
    window.points += 1;
    if (window.points > this.#options.points) throw new RateLimiterRes(0, window.ends - now, window.points, false);
  }

  #open(key: string, now: number): Window {
    const { keys, seconds } = this.#options;
    if (this.#windows.size >= keys) throw new Error(`${keys} keys are counted, which is limits.rate_keys`);
    const window = { points: 0, ends: now + seconds * 1000 };
    this.#windows.set(key, window);
    return window;
  }

  #forget(now: number): void {
    for (const [key, { ends }] of this.#windows) {
      if (ends > now) return;
      this.#windows.delete(key);
    }
  }
}
