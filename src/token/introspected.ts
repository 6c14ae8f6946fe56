import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import { checkAudience, checkValidity, readClaims, type TokenClaims } from './claims.ts';
import { readConfirmation } from './confirmation.ts';
import type { PresentedToken } from './presented_token.ts';

/** What an issuer said of a token, checked as the claims of a JWT are. */
export interface Introspected {
  /** The members of the answer that are claims. */
  readonly payload: JsonObject;
  readonly claims: TokenClaims;
}

/** Whose answer it is, about which token, and when. */
export interface AnswerContext {
  readonly presented: PresentedToken;
  readonly issuer: string;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
}

/** What an answer says that is no claim of the token. */
const ENVELOPE: ReadonlySet<string> = new Set(['active', 'token_type']);
/** RFC 6749 §7.1, in lower case. A token bound to a certificate is a Bearer token (RFC 8705 §3). */
const TOKEN_TYPES: ReadonlySet<string> = new Set(['bearer', 'dpop']);

/**
 * Reads the answer about an active token (RFC 7662 §2.2) as strictly as the claims of a JWT. What is of the wrong type makes it no
 * well-formed answer: `token.introspection_unavailable`. What the answer lacks or says against this use refuses the token:
 * `token.issuer_unknown`, `token.type`, `token.claims`, `token.audience`, `token.expired`, `token.not_yet_valid`, `token.confirmation`.
 */
export function readIntrospected(answer: JsonObject, { presented, issuer, now }: AnswerContext): Checked<Introspected> {
  const { iss, token_type: type, cnf } = answer;
  if (iss !== undefined && iss !== issuer) {
    return typeof iss === 'string' ? deny('token.issuer_unknown', 'the answer names another issuer') : malformed('iss');
  }
  if (type !== undefined && typeof type !== 'string') return malformed('token_type');
  // A refresh token is active too; no one else's business to use it.
  if (type !== undefined && !TOKEN_TYPES.has(type.toLowerCase())) return deny('token.type', 'not an access token');
  if (cnf !== undefined && !isJsonObject(cnf)) return malformed('cnf');
  // RFC 9449 §6.2: whoever bound the token said to which key. Without it, the token would pass as a bearer token.
  if (type?.toLowerCase() === 'dpop' && cnf?.['jkt'] === undefined) {
    return deny('token.confirmation', 'token_type is DPoP, and cnf names no key');
  }
  if (answer['aud'] === undefined) return deny('token.audience', 'the answer names no audience');
  for (const name of ['exp', 'client_id']) {
    if (answer[name] === undefined) return deny('token.claims', `the answer has no ${name}`);
  }
  const payload = claimsOf(answer);
  const claims = readClaims(completed(payload, presented.digest));
  if (!claims.ok) return malformed(claims.problem);
  const audience = checkAudience(claims.value.audience, presented.resource);
  if (!audience.ok) return audience;
  const validity = checkValidity(claims.value, now);
  return validity.ok ? pass({ payload, claims: claims.value }) : validity;
}

/**
 * Puts what the issuer says of a JWT now over what the JWT says: scope and authorization_details may have been left out of the token, or
 * taken back since (RFC 9396 §9.2). The answer must be about this token: what identifies it or binds it cannot differ. It ends no later.
 */
export function overlayAnswer(payload: JsonObject, answer: JsonObject): Parsed<JsonObject> {
  for (const name of ['iss', 'sub', 'client_id', 'jti']) {
    if (answer[name] !== undefined && answer[name] !== payload[name])
      return unparsed(`${name} is not that of the token`);
  }
  if (answer['cnf'] !== undefined && !confirmsTheSame(answer['cnf'], payload['cnf'])) {
    return unparsed('cnf is not that of the token');
  }
  const merged = { ...claimsOf(payload), ...answer };
  const { exp } = answer;
  // The exp of the payload is a number: the JWT was verified.
  if (typeof exp === 'number') merged['exp'] = Math.min(exp, payload['exp'] as number);
  return parsed(merged);
}

/** Turns what `readFacts` refused in an answer into what it is: an answer that is not well-formed. An unknown confirmation is well-formed. */
export function refusalOfAnswer(refused: Denied): Denied {
  return refused.denial.reason === 'token.confirmation' ? refused : malformed(refused.denial.note ?? 'a member');
}

function claimsOf(answer: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(answer).filter(([name]) => !ENVELOPE.has(name)));
}

/** What RFC 7662 §2.2 lets an answer leave out and a token cannot be without. */
function completed(payload: JsonObject, digest: string): JsonObject {
  const { sub, jti, iat } = payload;
  return {
    ...payload,
    // RFC 9068 §2.2: where no resource owner takes part, the subject is the client.
    sub: sub === undefined ? payload['client_id'] : sub,
    jti: jti === undefined ? digest : jti,
    // The beginning of time: a policy that limits the age of tokens refuses one whose age nobody told.
    iat: iat === undefined ? 0 : iat,
  };
}

function confirmsTheSame(cnf: unknown, expected: unknown): boolean {
  const one = readConfirmation(cnf);
  const other = readConfirmation(expected);
  if (!one.ok || !other.ok) return false;
  return one.value.jkt === other.value.jkt && one.value.x5tS256 === other.value.x5tS256;
}

function malformed(what: string): Denied {
  return deny('token.introspection_unavailable', `the answer is malformed: ${what}`);
}
