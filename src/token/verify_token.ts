import type { IssuerConfig, RouteConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { RequestContext, VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import { type RememberedToken, TokenCache, type TokenCacheStats } from './cache.ts';
import { checkAudience, checkValidity } from './claims.ts';
import { type IssuerHealth, TrustedIssuers } from './issuers.ts';
import type { TokenLog } from './outage_log.ts';
import { MAX_TOKEN_BYTES, type PresentedToken } from './presented_token.ts';
import { SharedValues } from './shared_values.ts';
import type { StatusReference } from './status_reference.ts';
import { type Verification, verifyAnew } from './verify_anew.ts';

/** What stage 2 is made with. */
export interface TokenVerifierOptions {
  readonly issuers: readonly IssuerConfig[];
  /** The routes: each may name the issuer of its opaque tokens. */
  readonly routes?: readonly Pick<RouteConfig, 'name' | 'opaque_issuer'>[];
  /** Verified tokens that are remembered at most. */
  readonly cacheSize: number;
  readonly clock: Clock;
  readonly log?: TokenLog;
  /** The verifier of the configuration before, whose keys are taken over; it may be closed afterwards. */
  readonly previous?: TokenVerifier;
}

/** Whether tokens can be verified. */
export interface TokenHealth {
  /** True when the keys of at least one issuer can be used, or are not needed. */
  readonly ready: boolean;
  readonly issuers: readonly IssuerHealth[];
}

/**
 * Makes stage 2. The keys of the issuers load in the background: an issuer that is down does not keep the gateway from starting.
 * @throws Error when a private_key_file is no usable key
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  return new TokenVerifier(options);
}

/** Stage 2: who, for whom, with what rights. */
export class TokenVerifier {
  readonly #clock: Clock;
  readonly #issuers: TrustedIssuers;
  readonly #verification: Verification;
  readonly #cache: TokenCache;
  /** Verifications under way, by token and route. */
  readonly #flights = new Map<string, Promise<Checked<RememberedToken>>>();

  constructor({ issuers, routes, cacheSize, clock, log, previous }: TokenVerifierOptions) {
    this.#clock = clock;
    this.#issuers = new TrustedIssuers(issuers, {
      routes,
      clock,
      log,
      previous: previous === undefined ? undefined : previous.#issuers,
    });
    this.#verification = { issuers: this.#issuers, clock, shared: new SharedValues() };
    this.#cache = new TokenCache(cacheSize, clock);
  }

  /** Verifies the token of a request: at once when it was verified before. Refuses with `token.*`. */
  verify(context: RequestContext): MaybePromise<Checked<VerifiedToken>> {
    const text = context.credentials.token;
    if (text.length > MAX_TOKEN_BYTES) return deny('token.malformed', 'too large');
    const { resource, name: route } = context.route;
    const digest = sha256Base64url(text);
    const known = this.#cache.get(digest, route);
    if (known === undefined) return this.#verifyNew({ text, digest, resource, route, from: context.peerAddress });
    return this.#verifyAgain(known, resource);
  }

  /** Resolves when the first attempt to get the keys of each issuer has ended, well or not; a start may wait for it, not for long. */
  settled(): Promise<void> {
    return this.#issuers.settled();
  }

  /** The state of the issuers' keys, for readiness. */
  health(): TokenHealth {
    const issuers = this.#issuers.health();
    return { ready: issuers.some(({ state, needsNoKeys }) => needsNoKeys || state !== 'unavailable'), issuers };
  }

  /** Counts of the cache, for metrics. */
  stats(): TokenCacheStats {
    return this.#cache.stats();
  }

  /** Stops loading keys. */
  close(): void {
    this.#issuers.close();
  }

  /** Refusals are not remembered. Requests with the same token on the same route at the same time share one verification, then go on alone. */
  async #verifyNew(presented: PresentedToken): Promise<Checked<VerifiedToken>> {
    const key = `${presented.digest} ${presented.route}`;
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      flight = this.#verifyOnce(presented).finally(() => this.#flights.delete(key));
      this.#flights.set(key, flight);
    }
    const verified = await flight;
    return verified.ok ? this.#verifyAgain(verified.value, presented.resource) : verified;
  }

  async #verifyOnce(presented: PresentedToken): Promise<Checked<RememberedToken>> {
    const verified = await verifyAnew(presented, this.#verification);
    if (verified.ok) this.#cache.set(verified.value, presented);
    return verified;
  }

  /** What depends on the request and the time, for a token whose signature and form, or whose issuer's word, are known to be good. */
  #verifyAgain(remembered: RememberedToken, resource: string): MaybePromise<Checked<VerifiedToken>> {
    const { token, notBefore, status } = remembered;
    const audience = checkAudience(token.audience, resource);
    if (!audience.ok) return audience;
    const { expiresAt, issuedAt } = token;
    const validity = checkValidity({ expiresAt, issuedAt, notBefore }, this.#clock());
    if (!validity.ok) return validity;
    return status === null ? pass(token) : checkStatus(remembered, status);
  }
}

/** The status comes last: a token that is refused anyway causes no request (draft-ietf-oauth-status-list §8.3). */
function checkStatus(
  { token, issuer }: RememberedToken,
  status: StatusReference,
): MaybePromise<Checked<VerifiedToken>> {
  const checked = issuer.statusLists?.check(status) ?? deny('token.status_unavailable');
  if (checked instanceof Promise) return checked.then((result) => (result.ok ? pass(token) : result));
  return checked.ok ? pass(token) : checked;
}
