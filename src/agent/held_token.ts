import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import { TokenUnavailable } from './token_source.ts';

/** What a held token is kept with. */
export interface HeldTokenOptions {
  /** Asks for a new one; bounded in time by itself. @throws TokenUnavailable */
  readonly request: () => Promise<IssuedToken>;
  readonly clock: Clock;
}

/** Seconds before its end from which on a token is not used any more, since the request has to arrive; of a short life, a tenth. */
const LAST_SECONDS = 5;
const LAST_PART = 0.1;
/** The last part of its life in which a token is renewed while it is still used. */
const RENEW_IN_LAST = 0.25;
/** Milliseconds in which nobody asks again after a failure; doubled by each further one. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** Seconds after which a token that the gateway refuses is worth asking for another: a new one would be refused for the same reason. */
const SPOILS_AFTER = 10;

/** The token of one API, renewed before it expires. However many ask, one request to the source is under way. */
export class HeldToken {
  readonly #options: HeldTokenOptions;
  #token: IssuedToken | null = null;
  #issuedAt = 0;
  #renewAt = 0;
  #usableUntil = 0;
  #asking: Promise<IssuedToken> | null = null;
  #failure: { readonly error: unknown; readonly until: number; readonly pauseMs: number } | null = null;

  constructor(options: HeldTokenOptions) {
    this.#options = options;
  }

  /** What was issued last; null before the first. */
  get latest(): IssuedToken | null {
    return this.#token;
  }

  /** A token that can be used now. @throws TokenUnavailable */
  async current(): Promise<IssuedToken> {
    const now = secondsOf(this.#options.clock());
    const token = this.#token;
    if (token === null || now >= this.#usableUntil) return this.#renew();
    // The token at hand is still good, whatever becomes of this.
    if (now >= this.#renewAt) this.#renew().catch(() => undefined);
    return token;
  }

  /** The gateway says that this token is no good: the next request waits for a new one. */
  spoil(token: IssuedToken): void {
    const old = secondsOf(this.#options.clock()) >= this.#issuedAt + SPOILS_AFTER;
    if (this.#token === token && old) this.#token = null;
  }

  #renew(): Promise<IssuedToken> {
    if (this.#asking !== null) return this.#asking;
    const failure = this.#failure;
    if (failure !== null && this.#options.clock() < failure.until) return Promise.reject(failure.error);
    this.#asking = this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #ask(): Promise<IssuedToken> {
    const { request, clock } = this.#options;
    const askedAt = secondsOf(clock());
    try {
      const token = await request();
      if (token.expiresAt <= secondsOf(clock()))
        throw new TokenUnavailable('the token that was issued has expired already', true);
      this.#failure = null;
      this.#token = token;
      this.#issuedAt = askedAt;
      const lifetime = token.expiresAt - askedAt;
      this.#renewAt = token.expiresAt - lifetime * RENEW_IN_LAST;
      this.#usableUntil = token.expiresAt - Math.min(LAST_SECONDS, lifetime * LAST_PART);
      return token;
    } catch (error) {
      const pauseMs = Math.min(LONGEST_PAUSE_MS, (this.#failure?.pauseMs ?? FIRST_PAUSE_MS / 2) * 2);
      this.#failure = { error, until: clock() + pauseMs, pauseMs };
      throw error;
    }
  }
}
