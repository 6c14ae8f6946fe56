import type { IssuerConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { RequestContext, VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import { TokenCache, type TokenCacheStats } from './cache.ts';
import { checkAudience, checkValidity } from './claims.ts';
import { type IssuerHealth, type TokenLog, TrustedIssuers } from './issuers.ts';
import { type JwtVerification, MAX_TOKEN_BYTES, type PresentedToken, type VerifiedJwt, verifyJwt } from './jwt.ts';
import { SharedValues } from './shared_values.ts';

/** What stage 2 is made with. */
export interface TokenVerifierOptions {
  readonly issuers: readonly IssuerConfig[];
  /** Verified tokens that are remembered at most. */
  readonly cacheSize: number;
  readonly clock: Clock;
  readonly log?: TokenLog;
  /** The verifier of the configuration before, whose keys are taken over; it may be closed afterwards. */
  readonly previous?: TokenVerifier;
}

/** Whether tokens can be verified. */
export interface TokenHealth {
  /** True when the keys of at least one issuer can be used. */
  readonly ready: boolean;
  readonly issuers: readonly IssuerHealth[];
}

/** Makes stage 2. The keys of the issuers load in the background: an issuer that is down does not keep the gateway from starting. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return new TokenVerifier(options);
}

/** Stage 2: who, for whom, with what rights. */
export class TokenVerifier {
  readonly #clock: Clock;
  readonly #issuers: TrustedIssuers;
  readonly #verification: JwtVerification;
  readonly #cache: TokenCache;

  constructor({ issuers, cacheSize, clock, log, previous }: TokenVerifierOptions) {
    this.#clock = clock;
    this.#issuers = new TrustedIssuers(issuers, {
      clock,
      log,
      previous: previous === undefined ? undefined : previous.#issuers,
    });
    this.#verification = { issuers: this.#issuers, clock, shared: new SharedValues() };
    this.#cache = new TokenCache(cacheSize);
  }

  /** Verifies the token of a request: at once when it was verified before. Refuses with `token.*`. */
  verify(context: RequestContext): MaybePromise<Checked<VerifiedToken>> {
    const text = context.credentials.token;
    if (text.length > MAX_TOKEN_BYTES) return deny('token.malformed', 'too large');
    const { resource } = context.route;
    const digest = sha256Base64url(text);
    const known = this.#cache.get(digest);
    return known === undefined ? this.#verifyAnew({ text, digest, resource }) : this.#verifyAgain(known, resource);
  }

  /** Resolves when the first attempt to get the keys of each issuer has ended, well or not; a start may wait for it, not for long. */
  settled(): Promise<void> {
    return this.#issuers.settled();
  }

  /** The state of the issuers' keys, for readiness. */
  health(): TokenHealth {
    const issuers = this.#issuers.health();
    return { ready: issuers.some(({ state }) => state !== 'unavailable'), issuers };
  }

  /** Counts of the cache, for metrics. */
  stats(): TokenCacheStats {
    return this.#cache.stats();
  }

  /** Stops loading keys. */
  close(): void {
    this.#issuers.close();
  }

  /**
   * The one place that chooses how a token is verified, by its form. Every token is taken for a JWT: one that is opaque does not name its
   * issuer, and no issuer can be asked about it, so that it is refused as malformed. Refusals are not remembered.
   */
  async #verifyAnew(presented: PresentedToken): Promise<Checked<VerifiedToken>> {
    const verified = await verifyJwt(presented, this.#verification);
    if (!verified.ok) return verified;
    this.#cache.set(verified.value);
    return pass(verified.value.token);
  }

  /** What depends on the request and the time, for a token whose signature and form are known to be good. */
  #verifyAgain({ token, notBefore }: VerifiedJwt, resource: string): Checked<VerifiedToken> {
    const audience = checkAudience(token.audience, resource);
    if (!audience.ok) return audience;
    const { expiresAt, issuedAt } = token;
    const validity = checkValidity({ expiresAt, issuedAt, notBefore }, this.#clock());
    return validity.ok ? pass(token) : validity;
  }
}
