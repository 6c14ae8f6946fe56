import { LRUCache } from 'lru-cache';
import type { IntrospectionConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { deny } from '../kernel/denial.ts';
import { Pace } from '../kernel/pace.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';
import type { Jwks } from '../oauth/jwks.ts';
import { type Parsed, unparsed } from '../oauth/parsed.ts';
import type { SigningKeyFile } from '../oauth/signing_key_file.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { IntrospectionClient } from './introspection_client.ts';
import { OutageLog, type TokenLog } from './outage_log.ts';
import { Places } from './places.ts';
import type { PresentedToken } from './presented_token.ts';
import { within } from './within.ts';

/** Inactive tokens that are remembered, so that repeating one costs the issuer nothing. */
const MAX_INACTIVE = 10_000;
/** For so long at most: an issuer may learn of a token a moment after it was issued. */
const INACTIVE_MS = 5000;
/** Tokens of which it is remembered that they were active when they were last asked about. */
const MAX_KNOWN = 10_000;
/** The part of the time for an answer that may be waited for a turn: who has waited longer could not be answered any more. */
const WAIT = 0.5;
const MAX_WAITING = 1024;
/** The part of the questions of a second that may be asked at once, after a quiet while. */
const BURST = 0.4;
/** Questions that one costs beside itself when the token was invented: jobs that start by the hundred bring tokens that are active. */
const INVENTED = 4;

/** What is needed to ask one issuer about tokens. */
export interface IntrospectionOptions {
  readonly config: IntrospectionConfig;
  readonly issuer: string;
  readonly keys: Jwks;
  /** The key that the gateway authenticates with. */
  readonly clientKey: SigningKeyFile;
  readonly clock: Clock;
  readonly log?: TokenLog | undefined;
}

/**
 * Introspection at one issuer (RFC 7662). Answers in bounded time; a flood of unknown tokens costs the issuer a bounded number of questions
 * at a time, and tokens that were active before are asked about first. Answers about active tokens are remembered by the verifier's cache,
 * not here.
 */
export class Introspection {
  /** Whether opaque tokens of this issuer are taken. */
  readonly takesOpaque: boolean;
  /** Whether its JWTs must be asked about. */
  readonly asksAboutJwts: boolean;
  /** Whether it can be asked without its keys. */
  readonly needsKeys: boolean;
  /** How long an answer may be used, in milliseconds. */
  readonly cacheMs: number;
  readonly #client: IntrospectionClient;
  readonly #places: Places;
  /** Of questions about tokens that were never active. */
  readonly #pace: Pace;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #outages: OutageLog;
  readonly #unavailable: string;
  /** Digests of tokens that are not active, and when that was said: milliseconds since the Unix epoch. */
  readonly #inactive = new LRUCache<string, number>({ max: MAX_INACTIVE });
  /** Digests of tokens that were active: they go first, and nothing else follows from it. */
  readonly #known = new LRUCache<string, true>({ max: MAX_KNOWN });

  constructor({ config, issuer, keys, clientKey, clock, log }: IntrospectionOptions) {
    this.takesOpaque = config.when !== 'jwt';
    this.asksAboutJwts = config.when !== 'opaque';
    this.needsKeys = config.response === 'jwt';
    this.cacheMs = config.cache_seconds * 1000;
    this.#client = new IntrospectionClient({ config, issuer, keys, clientKey, clock });
    this.#places = new Places(config.connections);
    this.#timeoutMs = config.timeout_ms;
    const { new_tokens_per_second: perSecond, timeout_ms: timeoutMs } = config;
    const burst = Math.ceil(perSecond * BURST);
    this.#pace = new Pace({ perSecond, burst, waitMs: timeoutMs * WAIT, maxWaiting: MAX_WAITING });
    this.#clock = clock;
    this.#outages = new OutageLog({ log, clock, fields: { issuer }, subject: 'introspection' });
    this.#unavailable = `no answer about the token from ${issuer}`;
  }

  /** What the issuer says of an active token. Refuses with `token.inactive`, `token.introspection_unavailable`. */
  async ask(presented: PresentedToken): Promise<Checked<JsonObject>> {
    const { digest } = presented;
    if (this.#isKnownInactive(digest)) return INACTIVE;
    const answer = await within(this.#timeoutMs, this.#askInTurn(presented), unparsed('gave no answer in time'));
    this.#outages.report(answer.ok ? null : answer.problem);
    if (!answer.ok) return deny('token.introspection_unavailable', `${this.#unavailable}: ${answer.problem}`);
    if (answer.value['active'] === true) {
      this.#known.set(digest, true);
      return pass(answer.value);
    }
    if (!this.#known.delete(digest)) this.#pace.charge(INVENTED);
    if (this.cacheMs > 0) this.#inactive.set(digest, this.#clock());
    return INACTIVE;
  }

  #isKnownInactive(digest: string): boolean {
    const since = this.#inactive.get(digest);
    if (since === undefined) return false;
    const age = this.#clock() - since;
    return age >= 0 && age < Math.min(INACTIVE_MS, this.cacheMs);
  }

  async #askInTurn({ text, digest, from }: PresentedToken): Promise<Parsed<JsonObject>> {
    const started = performance.now();
    const known = this.#known.has(digest);
    if (!known && !((await this.#pace.turn(from)?.came) ?? true))
      return unparsed('too many new tokens are asked about');
    const waitMs = Math.max(this.#timeoutMs * WAIT - (performance.now() - started), 0);
    if (!(await this.#places.take({ waitMs, from, known }))) return unparsed('too many questions are under way');
    try {
      return await this.#client.ask(text, this.#timeoutMs - (performance.now() - started));
    } finally {
      this.#places.leave();
    }
  }
}

const INACTIVE: Denied = deny('token.inactive', 'the issuer says that it is not active');
