import type { Credentials } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { HeaderSection } from './header_section.ts';
import type { QueryParameters } from './query.ts';

/** The name of the parameter that carries a token in a query or a form (RFC 6750 §2.2, §2.3). */
export const TOKEN_PARAMETER = 'access_token';

/** RFC 9110 §11.4: a scheme, and after one or more spaces whatever belongs to it. */
const AUTHORIZATION = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: +(.*))?$/;
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
  const [, name, token] = AUTHORIZATION.exec(headers.authorization) ?? [];
  if (name === undefined) return deny('request.credentials_malformed');
  const scheme = schemeOf(name);
  if (scheme === null) return deny('request.scheme_unsupported');
  if (token === undefined || !TOKEN68.test(token)) return deny('request.credentials_malformed');
  return pass({ scheme, token });
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
