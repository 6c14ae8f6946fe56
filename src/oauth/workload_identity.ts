import { secondsOf } from '../kernel/clock.ts';
import type { Job } from '../kernel/context.ts';
import type { MaybePromise } from '../kernel/result.ts';
import { type CompactJws, parseCompactJws } from './compact_jws.ts';
import type { JwksHealth } from './jwks.ts';
import { isNumericDate } from './numeric_date.ts';
import { type Parsed, type ParsedValue, type ParseFailure, parsed, unparsed } from './parsed.ts';
import { findSigner } from './signer.ts';
import type { JsonObject } from './strict_json.ts';
import { sha256Base64url } from './thumbprint.ts';
import { mapWorkloadClaims, plainClaim } from './workload_claims.ts';
import {
  openWorkloadIssuer,
  type WorkloadIssuer,
  type WorkloadIssuerOptions,
  type WorkloadKeysOptions,
} from './workload_issuer.ts';

/** What a CI system says of a job, verified. */
export interface WorkloadIdentity {
  readonly issuer: string;
  readonly subject: string;
  /** Null where the issuer gives none (CircleCI). */
  readonly jti: string | null;
  /** Digest by which the single use of the token is remembered, until `expiresAt` + `CLOCK_SKEW_SECONDS`. */
  readonly useId: string;
  /** Whether it is good once, or again with the key of its first use. */
  readonly use: 'once' | 'one_key';
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly claims: JsonObject;
  readonly job: Job;
}

/** Claims a token's single use. `until`: seconds since the Unix epoch, inclusive. */
export type ClaimUse = (useId: string, until: number) => MaybePromise<'fresh' | 'used' | 'unavailable'>;

/** The identity, or why there is none. `unavailable`: nothing can be said now, so the caller answers 503. */
export type VerifiedWorkload = ParsedValue<WorkloadIdentity> | WorkloadFailure;

/** A refusal in fixed words. */
export interface WorkloadFailure extends ParseFailure {
  readonly why: 'refused' | 'used' | 'unavailable';
  /** With `unavailable`: when to ask again. */
  readonly retryAfterMs?: number;
}

/** Seconds that the clocks of an issuer may run ahead. There is no leeway after exp. */
export const CLOCK_SKEW_SECONDS = 10;

const MAX_BYTES = 16_384;
const MAX_TEXT = 1024;
const MAX_AUDIENCES = 100;
/** RFC 8725 §3.11: a proof, an access token or an event signed by the same issuer is no identity token. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'application/jwt']);

/** The trusted issuers of workload identity tokens, and the verification of what they issue. */
export class WorkloadIssuers {
  readonly #issuers: ReadonlyMap<string, WorkloadIssuer>;
  readonly #options: WorkloadKeysOptions;

  constructor(issuers: readonly WorkloadIssuerOptions[], options: WorkloadKeysOptions) {
    this.#options = options;
    this.#issuers = new Map(issuers.map((issuer) => [issuer.issuer, openWorkloadIssuer(issuer, options)]));
  }

  /** Whether any issuer is trusted. */
  get any(): boolean {
    return this.#issuers.size > 0;
  }

  /**
   * Verifies a workload identity token (RFC 7523 §3, RFC 8725 §3), in this order: form, type, issuer, algorithm, critical header, signature,
   * subject, audience, times, conditions; then its single use, where `claimUse` is given. Never rejects.
   */
  async verify(token: string, claimUse?: ClaimUse): Promise<VerifiedWorkload> {
    const jws = parseCompactJws(token, { maxBytes: MAX_BYTES });
    if (!jws.ok) return refused(jws.problem);
    const issuer = this.#issuers.get(String(jws.value.payload['iss']));
    if (issuer === undefined || typeof jws.value.payload['iss'] !== 'string')
      return refused('iss is no trusted issuer');
    const signature = await checkSignature(jws.value, issuer);
    if (!signature.ok) return signature;
    const identity = readIdentity(jws.value, issuer.options, secondsOf(this.#options.clock()));
    if (!identity.ok) return refused(identity.problem);
    if (claimUse === undefined) return identity;
    const { useId, expiresAt } = identity.value;
    const claimed = await claimUse(useId, Math.ceil(expiresAt) + CLOCK_SKEW_SECONDS);
    if (claimed === 'fresh') return identity;
    if (claimed === 'used') return { ...unparsed('the token was used before'), why: 'used' };
    return {
      ...unparsed('whether the token was used before cannot be told now'),
      why: 'unavailable',
      retryAfterMs: 1000,
    };
  }

  /** What a token says of itself, nothing of it verified: only to know whom to treat a request as. Null where nothing can be read. */
  readUnverified(token: string): Pick<WorkloadIdentity, 'issuer' | 'claims' | 'job'> | null {
    const jws = parseCompactJws(token, { maxBytes: MAX_BYTES });
    if (!jws.ok) return null;
    const { payload: claims } = jws.value;
    const options = this.#issuers.get(String(claims['iss']))?.options;
    return options === undefined ? null : { issuer: options.issuer, claims, job: jobOf(claims, options) };
  }

  /** The keys of each issuer, for readiness and metrics. */
  health(): readonly (JwksHealth & { readonly issuer: string })[] {
    return [...this.#issuers].map(([issuer, { keys }]) => ({ issuer, ...keys.health() }));
  }

  /** Resolves when the loads under way have ended, well or not. */
  async settled(): Promise<void> {
    await Promise.all([...this.#issuers.values()].map(({ keys }) => keys.settled()));
  }

  close(): void {
    for (const { keys } of this.#issuers.values()) keys.close();
  }
}

function refused(problem: string): WorkloadFailure {
  return { ...unparsed(problem), why: 'refused' };
}

/** `jwk`, `jku`, `x5u` and `x5c` are not looked at: the keys are the issuer's own (RFC 8725 §3.10). */
async function checkSignature(jws: CompactJws, issuer: WorkloadIssuer): Promise<WorkloadFailure | ParsedValue<null>> {
  const { typ, alg, kid } = jws.header;
  if (typ !== undefined && !(typeof typ === 'string' && TYPES.has(typ.toLowerCase()))) return refused('typ is another');
  if (typeof alg !== 'string' || !issuer.algorithms.has(alg)) return refused('the signature algorithm is not allowed');
  if (Object.hasOwn(jws.header, 'crit') || Object.hasOwn(jws.header, 'b64')) return refused('a critical header');
  if (kid !== undefined && !isText(kid)) return refused('kid is not a text');
  const signer = await findSigner(jws, { keys: issuer.keys, alg, kid });
  if (signer.ok) return parsed(null);
  if (signer.why !== 'unavailable') return refused(WHY_NO_SIGNER[signer.why]);
  return {
    ...unparsed('the keys of the issuer cannot be had'),
    why: 'unavailable',
    retryAfterMs: Math.max(signer.retryAfterMs, 1000),
  };
}

const WHY_NO_SIGNER = {
  unknown: 'signed with a key that the issuer does not publish',
  too_many: 'too many keys fit the signature',
  signature: 'the signature is not valid',
} as const;

function readIdentity(jws: CompactJws, options: WorkloadIssuerOptions, now: number): Parsed<WorkloadIdentity> {
  const { payload: claims, signingInput } = jws;
  const { sub, jti } = claims;
  if (!isText(sub)) return unparsed('sub is missing or not a text');
  if (jti !== undefined && !isText(jti)) return unparsed('jti is not a text');
  if (!isFor(claims['aud'], options.audience)) return unparsed('aud is another');
  const times = readTimes(claims, options.max_lifetime_seconds, now);
  if (!times.ok) return times;
  for (const [name, values] of Object.entries(options.conditions)) {
    if (!values.includes(plainClaim(claims, name) ?? '')) return unparsed(`the claim ${name} is missing or another`);
  }
  return parsed({
    issuer: options.issuer,
    subject: sub,
    jti: jti ?? null,
    // Without a jti, what was signed stands for the token: its signature can be written in other ways, its text cannot.
    useId: sha256Base64url(JSON.stringify([options.issuer, jti ?? null, jti === undefined ? signingInput : null])),
    use: options.use,
    ...times.value,
    claims,
    job: jobOf(claims, options),
  });
}

function readTimes(
  { exp, iat, nbf }: JsonObject,
  maxLifetime: number,
  now: number,
): Parsed<Pick<WorkloadIdentity, 'issuedAt' | 'expiresAt'>> {
  if (!isNumericDate(exp)) return unparsed('exp is missing or not a time in seconds');
  if (!isNumericDate(iat)) return unparsed('iat is missing or not a time in seconds');
  if (nbf !== undefined && !isNumericDate(nbf)) return unparsed('nbf is not a time in seconds');
  if (now >= exp) return unparsed('exp has passed');
  if (iat > now + CLOCK_SKEW_SECONDS) return unparsed('iat lies ahead');
  if (nbf !== undefined && nbf > now + CLOCK_SKEW_SECONDS) return unparsed('nbf lies ahead');
  if (exp - iat > maxLifetime) return unparsed('the token is valid for too long');
  return parsed({ issuedAt: iat, expiresAt: exp });
}

/** RFC 7519 §4.1.3: one text, or an array of them. */
function isFor(aud: unknown, wanted: readonly string[]): boolean {
  if (isText(aud)) return wanted.includes(aud);
  if (!Array.isArray(aud) || aud.length > MAX_AUDIENCES || !aud.every(isText)) return false;
  return aud.some((audience) => wanted.includes(audience));
}

function jobOf(claims: JsonObject, { provider, job_claims: names }: WorkloadIssuerOptions): Job {
  const named = Object.fromEntries(
    Object.entries(names).map(([member, claim]) => [member, plainClaim(claims, claim)] as const),
  );
  const mapped = mapWorkloadClaims(provider, claims);
  const { exp: _exp, iat: _iat, nbf: _nbf, jti: _jti, aud: _aud, ...rest } = claims;
  return { ...mapped, ...named, provider, claims: rest };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT;
}
