import type { Credentials } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { HeaderSection } from './header_section.ts';
import type { QueryParameters } from './query.ts';

/** The name of the parameter that carries a token in a query or a form (RFC 6750 §2.2, §2.3). */
export const TOKEN_PARAMETER = 'access_token';

/** RFC 9110 §11.1. */
const SCHEME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 §11.2. */
const TOKEN68 = /^[A-Za-z0-9\-._~+/]+=*$/;

/**
 * Reads the one credential of a request.
 * Refuses with `request.credentials_repeated`, `_in_query`, `_missing`, `_malformed` and `request.scheme_unsupported`.
 */
export function readCredentials(headers: HeaderSection, query: QueryParameters): Checked<Credentials> {
  // RFC 6750 §2: a client uses one method, once.
  if (headers.authorizationRepeated) return deny('request.credentials_repeated');
  if (query[TOKEN_PARAMETER] !== undefined) return deny('request.credentials_in_query');
  if (headers.authorization === null) return deny('request.credentials_missing');
  const space = headers.authorization.indexOf(' ');
  const name = space < 0 ? headers.authorization : headers.authorization.slice(0, space);
  if (!SCHEME.test(name)) return deny('request.credentials_malformed');
  const scheme = schemeOf(name);
  if (scheme === null) return deny('request.scheme_unsupported');
  const token = tokenAfter(headers.authorization, space);
  return TOKEN68.test(token) ? pass({ scheme, token }) : deny('request.credentials_malformed');
}

/** What follows the scheme and one or more spaces (RFC 9110 §11.4); empty when there is no space. */
function tokenAfter(value: string, space: number): string {
  if (space < 0) return '';
  let start = space;
  while (value.charCodeAt(start) === 0x20) start++;
  return value.slice(start);
}

/** RFC 9110 §11.1: schemes are compared without case. */
function schemeOf(name: string): Credentials['scheme'] | null {
  switch (name.toLowerCase()) {
    case 'dpop':
      return 'dpop';
    case 'bearer':
      return 'bearer';
    default:
      return null;
  }
}
