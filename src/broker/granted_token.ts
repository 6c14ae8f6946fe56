import type { EndpointReply } from '../oauth/call_endpoint.ts';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import type { NarrowedRequest } from './ceiling.ts';
import { liesWithin } from './details.ts';
import { granted, type Outcome, refuse } from './refusal.ts';

/** What the authorization server granted; on its way to the job, and kept nowhere. */
export interface GrantedToken {
  readonly accessToken: string;
  /** Seconds; null when the server does not say. */
  readonly expiresIn: number | null;
  readonly scope: string | null;
  readonly details: readonly unknown[] | null;
  /** The server's nonce for the next proof (RFC 9449 §8.2). */
  readonly nonce: string | null;
}

/** What a token must keep to. */
export interface GrantExpectation {
  /** Of the key of the job. */
  readonly thumbprint: string;
  readonly narrowed: NarrowedRequest;
}

const JSON_TYPE = /^application\/json\s*(?:;|$)/i;
const MAX_BYTES = 65_536;

/**
 * Reads the answer of the token endpoint (RFC 6749 §5.1). Only a token that is bound to the key of the job (RFC 9449 §5), and is for nothing
 * beyond what was asked for, is handed on. Refuses with `server_unusable`, `token_unbound`, `grant_beyond`.
 */
export function readGrant({ value, headers }: EndpointReply, expected: GrantExpectation): Outcome<GrantedToken> {
  if (!isJsonObject(value) || !JSON_TYPE.test(headers.get('content-type') ?? '')) return refuse('server_unusable');
  const { access_token: accessToken, token_type: type, expires_in: expiresIn } = value;
  const { scope, authorization_details: details } = value;
  if (typeof accessToken !== 'string' || !/^[\x21-\x7e]+$/.test(accessToken)) return refuse('server_unusable');
  const claims = claimsOf(accessToken);
  if (typeof type !== 'string' || type.toLowerCase() !== 'dpop') return refuse('token_unbound');
  if (claims !== null && !isBoundTo(claims, expected.thumbprint)) return refuse('token_unbound');
  for (const said of [value, claims])
    if (said !== null && isBeyond(said, expected.narrowed)) return refuse('grant_beyond');
  return granted({
    accessToken,
    expiresIn: typeof expiresIn === 'number' && expiresIn > 0 && expiresIn < 1e9 ? Math.floor(expiresIn) : null,
    scope: typeof scope === 'string' ? scope : null,
    details: Array.isArray(details) ? details : null,
    nonce: headers.get('dpop-nonce'),
  });
}

/** Whether a token says that it is bound to another key. */
export function isOfAnotherKey(token: string, thumbprint: string): boolean {
  const claims = claimsOf(token);
  return claims !== null && !isBoundTo(claims, thumbprint);
}

/** Null of an opaque token: what it is bound to, and for what it is, only its server knows. */
function claimsOf(token: string): JsonObject | null {
  const jws = parseCompactJws(token, { maxBytes: MAX_BYTES });
  return jws.ok ? jws.value.payload : null;
}

function isBoundTo({ cnf }: JsonObject, thumbprint: string): boolean {
  return isJsonObject(cnf) && cnf['jkt'] === thumbprint;
}

/** RFC 6749 §3.3, RFC 9396 §7: a server may grant other things than were asked for. What is more than that is beyond the ceiling, too. */
function isBeyond(
  { scope, authorization_details: details }: JsonObject,
  { scopes, details: asked }: NarrowedRequest,
): boolean {
  if (scope !== undefined && !(typeof scope === 'string' && wordsOf(scope).every((one) => scopes.includes(one))))
    return true;
  if (details === undefined) return false;
  return !(
    Array.isArray(details) &&
    details.every((item) => isJsonObject(item) && asked.some((limit) => liesWithin(limit, item)))
  );
}

function wordsOf(scope: string): string[] {
  return scope.split(' ').filter((word) => word !== '');
}
