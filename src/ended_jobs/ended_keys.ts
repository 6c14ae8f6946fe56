import type { MaybePromise } from '../kernel/result.ts';

/**
 * The key of a job that has ended: its thumbprint (`cnf.jkt` or `cnf.x5t#S256` of the job's tokens, base64url(SHA-256)), and when the last of
 * those tokens expires, after which nobody has to remember it.
 */
export interface EndedKey {
  readonly thumbprint: string;
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
}

/** What is known of a key. `unavailable`: it cannot be known at the moment, so the request must be refused with 503. */
export type KeyStanding = 'live' | 'ended' | 'unavailable';

/**
 * The keys of the jobs that have ended. One contract, two stores: ended_keys_memory.ts, which is told, and ended_keys_redis.ts, which hears
 * within a second what any other gateway or broker wrote. What is known to have ended stays ended whatever happens to the store.
 */
export interface EndedKeys {
  /** One look-up in memory, as long as the store can vouch for it. Never rejects. */
  judge(thumbprint: string): MaybePromise<KeyStanding>;
  /** The same as of now, without waiting and without counting: for connections that are open. */
  peek(thumbprint: string): KeyStanding;
  /** Ends keys, for every process that shares the store. Rejects when that is not certain; then it may be tried again. */
  end(keys: readonly EndedKey[]): Promise<void>;
  /** Is told whenever keys became known as ended, and whenever the store stopped being able to vouch for the others. */
  onChange(listener: () => void): void;
  /** The keys that are remembered. */
  list(): EndedKey[];
  /** Gets ready within a stated bound. Rejects with a message that says what was read, what was expected and what to do. */
  start(): Promise<void>;
  health(): EndedKeysHealth;
  stats(): EndedKeysStats;
  close(): Promise<void>;
}

/** Fit for the readiness page: fixed words and numbers. */
export interface EndedKeysHealth {
  readonly healthy: boolean;
  readonly detail: string;
}

/** For the metrics; counts since start. */
export interface EndedKeysStats {
  readonly kind: 'memory' | 'redis';
  readonly up: boolean;
  readonly entries: number;
  /** Tokens refused because their job has ended. */
  readonly refused: number;
  /** Tokens refused because it could not be known whether their job has ended. */
  readonly unavailable: number;
  /** How often the store may have forgotten keys, so that they were written again. */
  readonly losses: number;
}

/** Milliseconds that a key can be remembered at most: longer than any token lives. */
export const LONGEST_MS = 31 * 86_400_000;

/** The form of a thumbprint: SHA-256 in base64url. */
export const THUMBPRINT = /^[\w-]{43}$/;

/** Milliseconds between two looks for what has expired. */
const FORGET_EVERY_MS = 1000;

/** The keys in memory: bounded, and each forgotten when it has expired. */
export class EndedList {
  readonly #expiries = new Map<string, number>();
  readonly #limit: number;
  #forgottenAt = Number.NEGATIVE_INFINITY;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#expiries.size;
  }

  has(thumbprint: string): boolean {
    return this.#expiries.has(thumbprint);
  }

  /** Adds keys, the later expiry counts. @returns how many were not known, or null when not all of them found room */
  add(keys: readonly EndedKey[], nowMs: number): number | null {
    let added = 0;
    for (const { thumbprint, expiresAt } of keys) {
      if (expiresAt <= nowMs) continue;
      const known = this.#expiries.get(thumbprint);
      if (known === undefined) {
        if (this.#expiries.size >= this.#limit) this.#forget(nowMs);
        if (this.#expiries.size >= this.#limit) return null;
        added++;
      }
      if (known === undefined || expiresAt > known) this.#expiries.set(thumbprint, expiresAt);
    }
    return added;
  }

  /** The keys that have not expired. */
  entries(nowMs: number): EndedKey[] {
    this.#forget(nowMs);
    return Array.from(this.#expiries, ([thumbprint, expiresAt]) => ({ thumbprint, expiresAt }));
  }

  /** Forgets what has expired, once a second at most: it walks over all of them. */
  forgetExpired(nowMs: number): void {
    if (Math.abs(nowMs - this.#forgottenAt) >= FORGET_EVERY_MS) this.#forget(nowMs);
  }

  clear(): void {
    this.#expiries.clear();
  }

  #forget(nowMs: number): void {
    this.#forgottenAt = nowMs;
    for (const [thumbprint, expiresAt] of this.#expiries) if (expiresAt <= nowMs) this.#expiries.delete(thumbprint);
  }
}
