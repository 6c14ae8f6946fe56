import { secondsOf } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import type { AskedRights } from './token_source.ts';

/** Seconds that a token counts as valid at most, whatever the answer says. */
const LONGEST_SECONDS = 86_400;

/** Reads a token answer (RFC 6749 §5.1, RFC 9449 §5). @returns the token, or what is wrong with it */
export function readIssuedToken(answer: JsonObject, asked: AskedRights, askedAtMs: number): IssuedToken | string {
  const { access_token: accessToken, token_type: type, expires_in: lifetime, scope } = answer;
  // RFC 6750 §2.1: what can stand in an Authorization header.
  if (typeof accessToken !== 'string' || !/^[\w.~+/-]+=*$/.test(accessToken)) return 'it has no access token';
  // RFC 9449 §5: a bearer token is not what was asked for, and whoever reads it could use it.
  if (typeof type !== 'string' || type.toLowerCase() !== 'dpop') return 'the token is not bound to the key';
  if (typeof lifetime !== 'number' || !(lifetime > 0)) return 'it does not say when the token expires';
  return {
    accessToken,
    expiresAt: secondsOf(askedAtMs) + Math.min(lifetime, LONGEST_SECONDS),
    scopes: typeof scope === 'string' ? scope.split(' ').filter((one) => one !== '') : asked.scopes,
    authorizationDetails: detailsOf(answer['authorization_details']) ?? asked.authorizationDetails,
  };
}

function detailsOf(value: unknown): readonly JsonObject[] | null {
  return Array.isArray(value) && value.every(isJsonObject) ? value : null;
}
