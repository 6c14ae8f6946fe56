import type { Clock } from '../kernel/clock.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { type CompactJws, parseCompactJws } from '../oauth/compact_jws.ts';
import type { VerificationKey } from '../oauth/key_set.ts';
import { findSigner } from '../oauth/signer.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { checkAudience, checkValidity, readClaims, type TokenClaims } from './claims.ts';
import type { TrustedIssuer, TrustedIssuers } from './issuers.ts';
import { MAX_TOKEN_BYTES, type PresentedToken } from './presented_token.ts';

const MAX_KID_LENGTH = 1024;
/** RFC 9068 §4, in lower case: media types are compared without case (RFC 7515 §4.1.9). */
const TYPES: ReadonlySet<string> = new Set(['at+jwt', 'application/at+jwt']);

/** A JWT whose signature, claims, audience and times are good. */
export interface VerifiedJwt {
  readonly issuer: TrustedIssuer;
  readonly key: VerificationKey;
  readonly payload: JsonObject;
  readonly claims: TokenClaims;
}

/** What JWTs are verified with. */
export interface JwtVerification {
  readonly issuers: TrustedIssuers;
  readonly clock: Clock;
}

/**
 * Verifies a JWT access token (RFC 9068 §4, RFC 8725 §3). Refuses with any `token.*` reason, in this order: form, type, algorithm, critical
 * header, issuer, key, signature, claims, audience, times. What the token grants is read by `readFacts`.
 */
export async function verifyJwt(
  presented: PresentedToken,
  { issuers, clock }: JwtVerification,
): Promise<Checked<VerifiedJwt>> {
  const jws = parseCompactJws(presented.text, { maxBytes: MAX_TOKEN_BYTES });
  if (!jws.ok) return deny('token.malformed', jws.problem);
  const header = readHeader(jws.value, issuers);
  if (!header.ok) return header;
  const { issuer } = header.value;
  const key = await findIssuersKey(jws.value, header.value);
  if (!key.ok) return key;

  const { payload } = jws.value;
  const claims = readClaims(payload);
  if (!claims.ok) return deny('token.claims', claims.problem);
  const audience = checkAudience(claims.value.audience, presented.resource);
  if (!audience.ok) return audience;
  const validity = checkValidity(claims.value, clock());
  return validity.ok ? pass({ issuer, key: key.value, payload, claims: claims.value }) : validity;
}

interface Header {
  readonly alg: string;
  readonly kid: string | undefined;
  readonly issuer: TrustedIssuer;
}

/**
 * Chooses the issuer by what the token says of itself. `jwk`, `jku`, `x5u` and `x5c` are not looked at: the keys are the issuer's own
 * (RFC 8725 §3.10).
 */
function readHeader({ header, payload }: CompactJws, issuers: TrustedIssuers): Checked<Header> {
  const { typ, alg, kid } = header;
  if (typeof typ !== 'string' || !TYPES.has(typ.toLowerCase())) return deny('token.type', `typ is ${shown(typ)}`);
  if (!issuers.allow(alg)) return deny('token.algorithm', `alg is ${shown(alg)}`);
  // RFC 7515 §4.1.11, RFC 7797 §6: no extension is understood here, an unencoded payload included.
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return deny('token.critical_header');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    return deny('token.malformed', 'kid is not a text, or too long');
  }
  const issuer = issuers.get(payload['iss']);
  if (issuer === undefined) return deny('token.issuer_unknown', `iss is ${shown(payload['iss'])}`);
  if (!issuer.algorithms.has(alg)) return deny('token.algorithm', `alg ${alg} is not allowed for ${issuer.issuer}`);
  return pass({ alg, kid, issuer });
}

/** Finds the key of the issuer that made the signature (RFC 9068 §4). */
async function findIssuersKey(jws: CompactJws, { issuer, alg, kid }: Header): Promise<Checked<VerificationKey>> {
  const found = await findSigner(jws, { keys: issuer.keys, alg, kid });
  if (found.ok) return pass(found.key);
  switch (found.why) {
    case 'unavailable': {
      const retryAfterSeconds = Math.max(Math.ceil(found.retryAfterMs / 1000), 1);
      return deny('token.keys_unavailable', { note: `no keys of ${issuer.issuer}`, retryAfterSeconds });
    }
    case 'unknown':
      return deny('token.key_unknown', `kid is ${shown(kid)}, issuer ${issuer.issuer}`);
    case 'too_many':
      return deny('token.key_unknown', 'too many keys fit the token');
    case 'signature':
      return deny('token.signature');
  }
}

/** An unverified value for the record, where it is short and plain enough to be put there. */
function shown(value: unknown): string {
  if (value === undefined) return 'absent';
  return typeof value === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/.test(value)
    ? `"${value}"`
    : 'not a short plain text';
}
