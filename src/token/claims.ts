import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';
import { isNumericDate } from '../oauth/numeric_date.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { readScope } from './scope.ts';

/** The claims that every access token must carry (RFC 9068 §2.2), with the right types; and nbf, scope. */
export interface TokenClaims {
  readonly subject: string;
  readonly clientId: string;
  readonly jti: string;
  readonly audience: readonly string[];
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
  /** Seconds since the Unix epoch. */
  readonly issuedAt: number;
  /** Seconds since the Unix epoch; null when the claim is absent. */
  readonly notBefore: number | null;
  readonly scopes: readonly string[];
}

/** How far iat and nbf may lie ahead. The clock of the issuer may run ahead by that much; there is no leeway after exp. */
export const CLOCK_SKEW_MS = 10_000;

const MAX_TEXT_LENGTH = 1024;
const MAX_AUDIENCES = 100;
/** RFC 6749 appendix A.1: printable ASCII. */
const CLIENT_ID = /^[\x20-\x7e]+$/;

/** Reads the claims whose types RFC 9068 §2.2 and RFC 7519 §4.1 fix. `iss` was compared before. */
export function readClaims(payload: JsonObject): Parsed<TokenClaims> {
  const { sub, client_id: clientId, jti, exp, iat, nbf } = payload;
  if (!isText(sub)) return unparsed('sub is missing or not a text');
  if (!isText(clientId) || !CLIENT_ID.test(clientId))
    return unparsed('client_id is missing or not a client identifier');
  if (!isText(jti)) return unparsed('jti is missing or not a text');
  if (!isNumericDate(exp)) return unparsed('exp is missing or not a time in seconds');
  if (!isNumericDate(iat)) return unparsed('iat is missing or not a time in seconds');
  if (nbf !== undefined && !isNumericDate(nbf)) return unparsed('nbf is not a time in seconds');
  const audience = readAudience(payload['aud']);
  if (audience === null) return unparsed('aud is missing or not a text or an array of texts');
  const scope = readScope(payload['scope']);
  if (!scope.ok) return scope;
  return parsed({
    subject: sub,
    clientId,
    jti,
    audience,
    expiresAt: exp,
    issuedAt: iat,
    notBefore: nbf ?? null,
    scopes: scope.value,
  });
}

/** The token must be for the route's resource, compared exactly (RFC 9068 §4, RFC 8707 §2). Refuses with `token.audience`. */
export function checkAudience(audience: readonly string[], resource: string): Checked<null> {
  return audience.includes(resource) ? PASSED : WRONG_AUDIENCE;
}

/** The times of a token that decide whether it is valid now; seconds since the Unix epoch. */
export interface Validity {
  readonly expiresAt: number;
  readonly issuedAt: number;
  readonly notBefore: number | null;
}

/** The token must be valid at `now`, milliseconds since the Unix epoch. Refuses with `token.expired` and `token.not_yet_valid`. */
export function checkValidity(times: Validity, now: number): Checked<null> {
  // RFC 7519 §4.1.4: on or after exp the token MUST NOT be accepted.
  if (now >= times.expiresAt * 1000) return EXPIRED;
  const latest = now + CLOCK_SKEW_MS;
  if (times.notBefore !== null && times.notBefore * 1000 > latest) return NOT_BEFORE; // RFC 7519 §4.1.5
  // Not demanded by RFC 7519, but a token from the future says that a clock is wrong, and then exp means nothing.
  if (times.issuedAt * 1000 > latest) return ISSUED_AHEAD;
  return PASSED;
}

const PASSED: Checked<null> = pass(null);
const WRONG_AUDIENCE: Denied = deny('token.audience', 'aud does not contain the resource of the route');
const EXPIRED: Denied = deny('token.expired', 'exp has passed');
const NOT_BEFORE: Denied = deny('token.not_yet_valid', 'nbf lies ahead');
const ISSUED_AHEAD: Denied = deny('token.not_yet_valid', 'iat lies ahead');

/** RFC 7519 §4.1.3: one text, or an array of them. */
function readAudience(aud: unknown): readonly string[] | null {
  if (isText(aud)) return [aud];
  if (!Array.isArray(aud) || aud.length === 0 || aud.length > MAX_AUDIENCES) return null;
  return aud.every(isText) ? aud : null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT_LENGTH;
}
