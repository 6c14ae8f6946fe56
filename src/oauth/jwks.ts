import type { Clock } from '../kernel/clock.ts';
import type { MaybePromise } from '../kernel/result.ts';
import type { LoadKeys } from './key_loader.ts';
import { type KeySet, readKeySet, type VerificationKey, type WantedKey } from './key_set.ts';

/** How the keys of one issuer are kept. */
export interface JwksOptions {
  readonly load: LoadKeys;
  readonly clock: Clock;
  /** After this, keys are loaded again in the background. */
  readonly maxAgeMs: number;
  /** How long after `maxAgeMs` old keys are still used while none can be loaded. */
  readonly staleMs: number;
  /** At most one load for unknown keys in this time. */
  readonly cooldownMs: number;
  /** How long a caller waits for a load at most. */
  readonly answerMs: number;
  /** Told of each load that ended. */
  readonly onLoad?: ((health: JwksHealth) => void) | undefined;
  /** Takes over the keys of another, with their age, so that new configuration does not begin without keys. */
  readonly previous?: Jwks | undefined;
}

/** The state of the keys. */
export interface JwksHealth {
  /** `fresh`: as the issuer publishes them. `stale`: old ones in use, since the last load failed. `unavailable`: none can be used. */
  readonly state: 'fresh' | 'stale' | 'unavailable';
  /** Usable keys. */
  readonly keys: number;
  /** Published keys that cannot verify an access token. */
  readonly skipped: number;
  /** Milliseconds since the Unix epoch; null when none were loaded yet. */
  readonly loadedAt: number | null;
  /** Why the last load failed; null when it did not, or none has ended. */
  readonly problem: string | null;
}

/** Keys that may have signed, or why there are none. `unavailable`: whether there are cannot be told at the moment. */
export type FoundKeys =
  | { readonly ok: true; readonly keys: readonly VerificationKey[] }
  | { readonly ok: false; readonly why: 'unknown' }
  | { readonly ok: false; readonly why: 'unavailable'; readonly retryAfterMs: number };

const UNKNOWN: FoundKeys = { ok: false, why: 'unknown' };
const NO_KEYS: readonly VerificationKey[] = [];
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 5000;
/** The longest time a timer of Node.js can wait. */
const MAX_TIMER_MS = 2_147_483_647;

/**
 * The keys of one issuer. Loads them in the background at start and when they are old; one load at a time, whoever asks. A token whose key is
 * known never waits. For an unknown `kid` the keys are loaded once per cool-down, counted from the last load that was made for an unknown
 * `kid`: a key published right after an ordinary load is found at once, and a flood of invented ones costs one load per cool-down.
 * While loading fails, the old keys serve until they are stale.
 */
export class Jwks {
  readonly #options: JwksOptions;
  readonly #closing = new AbortController();
  #set: KeySet | null = null;
  #loadedAt: number | null = null;
  #problem: string | null = null;
  #failures = 0;
  /** When the next ordinary load is due. */
  #dueAt = Number.NEGATIVE_INFINITY;
  #askedForUnknownAt = Number.NEGATIVE_INFINITY;
  #flight: Promise<void> | null = null;
  /** Loads that have begun. */
  #loads = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: JwksOptions) {
    this.#options = options;
    const { previous } = options;
    if (previous !== undefined) {
      this.#set = previous.#set;
      this.#loadedAt = previous.#loadedAt;
      this.#askedForUnknownAt = previous.#askedForUnknownAt;
    }
    this.#loadIfDue(options.clock());
  }

  /** Keys that may have signed, other than those already `tried`; at once where there are any, else after at most `answerMs`. */
  find(wanted: WantedKey, tried: readonly VerificationKey[] = NO_KEYS): MaybePromise<FoundKeys> {
    const now = this.#options.clock();
    const loads = this.#loads;
    this.#loadIfDue(now);
    const keys = this.#fitting(wanted, tried, now);
    return keys.length > 0 ? { ok: true, keys } : this.#findByLoading(wanted, tried, loads);
  }

  /** Whether a key that was found earlier is still the issuer's: published at the last load, and that not too long ago. */
  holds(key: VerificationKey): boolean {
    const now = this.#options.clock();
    this.#loadIfDue(now);
    return this.#set !== null && this.#isUsable(now) && this.#set.has(key);
  }

  /** The state of the keys, for readiness and metrics. */
  health(): JwksHealth {
    const usable = this.#isUsable(this.#options.clock());
    const state = usable ? (this.#problem === null ? 'fresh' : 'stale') : 'unavailable';
    const { keys, skipped } = this.#set ?? { keys: NO_KEYS, skipped: 0 };
    return { state, keys: usable ? keys.length : 0, skipped, loadedAt: this.#loadedAt, problem: this.#problem };
  }

  /** Resolves when the load under way, if any, has ended, well or not. */
  async settled(): Promise<void> {
    await this.#flight;
  }

  /** Ends the load under way and starts no other. */
  close(): void {
    this.#closing.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** `loads`: how many loads had begun when the token came. */
  async #findByLoading(wanted: WantedKey, tried: readonly VerificationKey[], loads: number): Promise<FoundKeys> {
    const patience = startPatience(this.#options.answerMs);
    try {
      // What is under way may bring the key, whoever asked for it; else, unless that began after the token came, this token may ask.
      for (const mayAsk of [false, true]) {
        if (this.#flight === null && mayAsk && loads === this.#loads) this.#loadForUnknown();
        if (this.#flight === null) continue;
        await Promise.race([this.#flight, patience.over]);
        const keys = this.#fitting(wanted, tried, this.#options.clock());
        if (keys.length > 0) return { ok: true, keys };
      }
    } finally {
      patience.end();
    }
    // Only an issuer that answered can be said not to publish a key (standards.md: an outage is 503, never 401).
    const now = this.#options.clock();
    if (this.#flight === null && this.#problem === null && this.#isUsable(now)) return UNKNOWN;
    return { ok: false, why: 'unavailable', retryAfterMs: Math.max(this.#dueAt - now, 0) };
  }

  #fitting(wanted: WantedKey, tried: readonly VerificationKey[], now: number): readonly VerificationKey[] {
    if (this.#set === null || !this.#isUsable(now)) return NO_KEYS;
    const keys = this.#set.fitting(wanted);
    return tried.length === 0 ? keys : keys.filter((key) => !tried.includes(key));
  }

  #isUsable(now: number): boolean {
    return this.#loadedAt !== null && now - this.#loadedAt < this.#options.maxAgeMs + this.#options.staleMs;
  }

  #loadIfDue(now: number): void {
    if (now >= this.#dueAt && this.#flight === null) this.#load(now);
  }

  #loadForUnknown(): void {
    const now = this.#options.clock();
    const failing = this.#problem !== null && now < this.#dueAt;
    if (failing || now - this.#askedForUnknownAt < this.#options.cooldownMs) return;
    this.#askedForUnknownAt = now;
    this.#load(now);
  }

  #load(now: number): void {
    if (this.#closing.signal.aborted) return;
    this.#loads++;
    this.#flight = this.#options
      .load(this.#closing.signal)
      .then((loaded) => {
        const read = loaded.ok ? readKeySet(loaded.value, this.#set) : loaded;
        if (read.ok) this.#accept(read.value, now);
        else this.#fail(read.problem);
      })
      .catch((error: unknown) => this.#fail(`loading the keys failed: ${String(error)}`))
      .finally(() => this.#finish());
  }

  #accept(set: KeySet, now: number): void {
    this.#set = set;
    this.#loadedAt = now;
    this.#problem = null;
    this.#failures = 0;
    this.#dueAt = now + this.#options.maxAgeMs;
  }

  #fail(problem: string): void {
    this.#problem = problem;
    const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#dueAt = this.#options.clock() + wait;
  }

  #finish(): void {
    this.#flight = null;
    if (this.#closing.signal.aborted) return;
    this.#options.onLoad?.(this.health());
    this.#schedule();
  }

  /** Loads also while no requests come: a gateway that is not ready gets none. */
  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const wait = Math.min(Math.max(this.#dueAt - this.#options.clock(), FIRST_RETRY_MS), MAX_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#loadIfDue(this.#options.clock());
      if (this.#flight === null) this.#schedule();
    }, wait);
    this.#timer.unref();
  }
}

interface Patience {
  readonly over: Promise<void>;
  end(): void;
}

/** A time to wait that can be ended early, so that no timer outlives the request it was for. */
function startPatience(milliseconds: number): Patience {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  return { over: promise, end: () => clearTimeout(timer) };
}
