import { createHash } from 'node:crypto';
import { type ClientCredentials, errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { grantDetails, readDetails } from './authorization_details.ts';
import type { ClientRights, Clients } from './clients.ts';
import { jobOf } from './job_claims.ts';
import type { UsedIds } from './used_ids.ts';

/** Claims or header of a JWT whose signature was verified. */
type JwtMembers = Readonly<Record<string, unknown>>;

/** Seconds that an assertion may be valid ahead: it is made for one request. */
const ASSERTION_AHEAD = 300;
/** Seconds that clocks may differ. */
export const CLOCK_TOLERANCE = 10;
/** Seconds that a proof may be old (RFC 9449 §11.1). */
const PROOF_AGE = 60;
const JWT_BYTES = 16_384;

/** What the checks stand on. */
export interface IssuanceOptions {
  readonly issuer: string;
  readonly clients: Clients;
  readonly used: UsedIds;
  readonly clock: Clock;
}

/**
 * What a token request must satisfy beyond what oidc-provider checks itself (signatures, form, type and target of the proof), in the order in
 * which it asks: the client, the resource, the authorization_details, and at last scope, job and the single use of the proof. Each throws the
 * error of RFC 6749 §5.2 that the client gets; nothing in a description is built from input.
 */
export class Issuance {
  readonly #options: IssuanceOptions;

  constructor(options: IssuanceOptions) {
    this.#options = options;
  }

  /** After the signature of the client assertion was found good (RFC 7523 §3). */
  checkAssertion(ctx: KoaContextWithOIDC, claims: JwtMembers, header: JwtMembers): void {
    const { issuer } = this.#options;
    // RFC 6749 §2.3: one method of authentication for each request.
    if (ctx.oidc.body?.['client_secret'] !== undefined) {
      throw new errors.InvalidRequest('client authentication must only be provided using one mechanism');
    }
    const assertion = parseCompactJws(String(ctx.oidc.params?.['client_assertion']), { maxBytes: JWT_BYTES });
    if (!assertion.ok) throw new errors.InvalidClientAuth(assertion.problem);
    // RFC 8725 §3.11: a token or a proof signed with the same key is no assertion.
    if (![undefined, 'JWT', 'client-authentication+jwt'].includes(header['typ'] as string | undefined)) {
      throw new errors.InvalidClientAuth('typ of the client assertion is another');
    }
    if (!isSole(claims['aud'], issuer)) {
      throw new errors.InvalidClientAuth('aud of the client assertion is not the issuer alone');
    }
    const { exp, jti } = claims as { exp: number; jti: string };
    if (!(exp <= this.#now() + ASSERTION_AHEAD + CLOCK_TOLERANCE)) {
      throw new errors.InvalidClientAuth('the client assertion is valid for too long');
    }
    if (jti.length > 256) throw new errors.InvalidClientAuth('jti of the client assertion is too long');
    // RFC 9449 §5: a token here is always bound to a key.
    if (ctx.get('DPoP') === '') throw new errors.InvalidDpopProof('a DPoP proof is required');
    const claimed = this.#options.used.claim(idOf('assertion', clientIdOf(ctx), jti), exp + CLOCK_TOLERANCE);
    if (claimed === 'used') throw new errors.InvalidClientAuth('the client assertion was used before');
    if (claimed === 'full') throw busy(ctx);
    ctx.state['statedJob'] = claims['job'];
  }

  /** The one resource that the token is for (RFC 8707 §2.2). */
  describeResource(ctx: KoaContextWithOIDC, resource: string): ResourceServer {
    const rights = this.#rights(ctx);
    if (!rights.resources.includes(resource)) throw new errors.InvalidTarget();
    return {
      audience: resource,
      scope: rights.scopes.join(' '),
      accessTokenFormat: 'jwt',
      accessTokenTTL: rights.tokenLifetimeSeconds,
      jwt: { sign: { alg: 'ES256' } },
    };
  }

  /** Ceiling ∩ request, by whole items; when nothing is left, a token would be useless and its refusal says why. */
  grantDetails(ctx: KoaContextWithOIDC) {
    const asked = readDetails(String(ctx.oidc.params?.['authorization_details']));
    if (!asked.ok) throw new errors.InvalidAuthorizationDetails(asked.problem);
    const granted = grantDetails(this.#rights(ctx).authorizationDetails, asked.value);
    if (granted.length > 0) return granted;
    throw new errors.InvalidAuthorizationDetails('no item is within what the client may have');
  }

  /** The last step before the token is signed: resource, scope, job and the single use of the proof. @returns the claims that are ours */
  finish(ctx: KoaContextWithOIDC, token: ClientCredentials): Record<string, unknown> {
    // RFC 8707 §2: no default; without one resource the token would be good nowhere and everywhere.
    if (token.aud === undefined) throw new errors.InvalidTarget('a resource is required');
    const asked = ctx.oidc.params?.['scope'];
    // RFC 6749 §3.3: there is no default scope.
    if (token.scope === undefined && (asked !== undefined || token.rar === undefined)) {
      const why =
        asked === undefined
          ? 'scope or authorization_details are required'
          : 'no scope is within what the client may have';
      throw new errors.InvalidScope(why, undefined as unknown as string); // The third member would echo the request.
    }
    const job = jobOf(this.#rights(ctx).job, ctx.state['statedJob']);
    if (!job.ok) throw new errors.InvalidRequest(job.problem);
    this.#claimProof(ctx, String(token.jkt));
    return job.value === undefined ? {} : { job: job.value };
  }

  /** RFC 9449 §11.1: the window, and the single use; claimed last, so that no refused request burns a proof. */
  #claimProof(ctx: KoaContextWithOIDC, jkt: string): void {
    const proof = parseCompactJws(ctx.get('DPoP'), { maxBytes: JWT_BYTES });
    if (!proof.ok) throw new errors.InvalidDpopProof('the DPoP proof is not a well-formed JWT');
    const { iat, jti } = proof.value.payload as { iat: number; jti: string };
    const age = this.#now() - iat;
    if (!(age <= PROOF_AGE && age >= -CLOCK_TOLERANCE)) {
      throw new errors.InvalidDpopProof('iat of the DPoP proof is not recent enough');
    }
    if (jti.length > 256) throw new errors.InvalidDpopProof('jti of the DPoP proof is too long');
    const claimed = this.#options.used.claim(idOf('proof', jkt, jti), Math.ceil(iat) + PROOF_AGE);
    if (claimed === 'used') throw new errors.InvalidDpopProof('the DPoP proof was used before');
    if (claimed === 'full') throw busy(ctx);
  }

  #rights(ctx: KoaContextWithOIDC): ClientRights {
    const rights = this.#options.clients.get(clientIdOf(ctx));
    if (rights === undefined) throw new errors.InvalidClientAuth('client not found');
    return rights;
  }

  #now(): number {
    return secondsOf(this.#options.clock());
  }
}

function clientIdOf(ctx: KoaContextWithOIDC): string {
  return ctx.oidc.client?.clientId ?? '';
}

/** One value and no other: with two, another server could pass the assertion on (draft-ietf-oauth-rfc7523bis). */
function isSole(audience: unknown, issuer: string): boolean {
  return audience === issuer || (Array.isArray(audience) && audience.length === 1 && audience[0] === issuer);
}

/** By owner, so that nobody can use up another's identifiers; a digest, so that every entry has the same size. */
function idOf(kind: 'assertion' | 'proof', owner: string, jti: string): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, owner, jti]))
    .digest('base64url');
}

/** Single use cannot be promised for more: refused until entries have expired. */
function busy(ctx: KoaContextWithOIDC): Error {
  ctx.set('retry-after', '5');
  const error = new errors.OIDCProviderError(503, 'temporarily_unavailable');
  error.expose = true;
  return error;
}
