import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { SignatureAlgorithm } from '../oauth/algorithms.ts';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import type { Jwks } from '../oauth/jwks.ts';
import { isNumericDate } from '../oauth/numeric_date.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { findSigner } from '../oauth/signer.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { CLOCK_SKEW_MS } from './claims.ts';

const MAX_KID_LENGTH = 1024;

/** What a statement of an issuer must be. */
export interface ExpectedJws {
  /** `typ` without `application/`, in lower case (RFC 8725 §3.11). */
  readonly type: string;
  readonly maxBytes: number;
  readonly issuer: string;
  readonly keys: Jwks;
  readonly algorithms: ReadonlyMap<string, SignatureAlgorithm>;
  readonly clock: Clock;
}

/** A statement of an issuer: verified, and valid now. */
export interface IssuerJws {
  readonly payload: JsonObject;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch; null when it does not expire. */
  readonly expiresAt: number | null;
}

/**
 * Verifies a JWT by which an issuer states something to the gateway itself: a signed introspection answer, a status list. Never an access
 * token, whose type differs (RFC 8725 §3.11). Form, type, algorithm, critical header, signature, `iss` where present, and times.
 */
export async function verifyIssuerJws(text: string, expected: ExpectedJws): Promise<Parsed<IssuerJws>> {
  const jws = parseCompactJws(text, expected);
  if (!jws.ok) return jws;
  const { header, payload } = jws.value;
  const { typ, alg, kid } = header;
  // RFC 7515 §4.1.9: compared without case; application/ may be left out.
  if (typeof typ !== 'string' || typ.toLowerCase().replace(/^application\//, '') !== expected.type) {
    return unparsed(`typ is not ${expected.type}`);
  }
  if (typeof alg !== 'string' || !expected.algorithms.has(alg))
    return unparsed('the signature algorithm is not allowed');
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return unparsed('a critical header');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH))
    return unparsed('kid is not a text');
  const signer = await findSigner(jws.value, { keys: expected.keys, alg, kid });
  if (!signer.ok) return unparsed(WHY_NO_SIGNER[signer.why]);
  if (payload['iss'] !== undefined && payload['iss'] !== expected.issuer) return unparsed('iss is another issuer');
  return readTimes(payload, expected.clock());
}

const WHY_NO_SIGNER = {
  unavailable: 'the keys of the issuer cannot be had',
  unknown: 'signed with a key that the issuer does not publish',
  too_many: 'too many keys fit the signature',
  signature: 'the signature is not valid',
} as const;

function readTimes(payload: JsonObject, now: number): Parsed<IssuerJws> {
  const { iat, exp, nbf } = payload;
  if (!isNumericDate(iat)) return unparsed('iat is missing or not a time in seconds');
  if (exp !== undefined && !isNumericDate(exp)) return unparsed('exp is not a time in seconds');
  if (nbf !== undefined && !isNumericDate(nbf)) return unparsed('nbf is not a time in seconds');
  const latest = secondsOf(now + CLOCK_SKEW_MS);
  if (iat > latest) return unparsed('iat lies ahead');
  if (nbf !== undefined && nbf > latest) return unparsed('nbf lies ahead');
  if (exp !== undefined && now >= exp * 1000) return unparsed('exp has passed');
  return parsed({ payload, issuedAt: iat, expiresAt: exp ?? null });
}
