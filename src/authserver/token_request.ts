import { errors } from 'oidc-provider';
import type { AuthorizationDetail } from '../config/authserver_clients.ts';
import { grantDetails, readDetails } from './authorization_details.ts';
import type { Ceiling } from './clients.ts';
import type { DetailTypes } from './detail_types.ts';

/** What is asked for, or granted. */
export interface Rights {
  /** What the token is for: its audience. */
  readonly resource: string;
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly AuthorizationDetail[];
}

/** A request for a token, read; and what of it lies below the client's ceiling. */
export interface TokenRequest {
  readonly asked: Rights;
  readonly allowed: Rights;
}

type Parameters = Readonly<Record<string, unknown>>;

/** Reads what is asked for and intersects it with the ceiling; throws the error of RFC 6749 §5.2 that the client gets. */
export function readTokenRequest(parameters: Parameters, ceiling: Ceiling, types: DetailTypes): TokenRequest {
  const resource = readResource(parameters, ceiling);
  const asked = { resource, scopes: readScopes(parameters), authorizationDetails: readAskedDetails(parameters, types) };
  const scopes = asked.scopes.filter((scope) => ceiling.scopes.includes(scope));
  const details = grantDetails(types, ceiling.authorizationDetails, asked.authorizationDetails);
  const allowed = { resource, scopes, authorizationDetails: details };
  refuseNothing(asked, allowed, 'the client may have');
  return { asked, allowed };
}

/** A token for nothing is of no use, and its refusal says why. */
export function refuseNothing(asked: Rights, granted: Rights, whose: string): void {
  if (asked.scopes.length === 0 && asked.authorizationDetails.length === 0) {
    throw invalidScope('scope or authorization_details are required'); // RFC 6749 §3.3: there is no default scope.
  }
  if (asked.authorizationDetails.length > 0 && granted.authorizationDetails.length === 0) {
    throw new errors.InvalidAuthorizationDetails(`no item is within what ${whose}`);
  }
  if (asked.scopes.length > 0 && granted.scopes.length === 0) throw invalidScope(`no scope is within what ${whose}`);
}

/** The second member of the error would echo the request. */
function invalidScope(why: string): Error {
  return new errors.InvalidScope(why, undefined as unknown as string);
}

/** The one resource that the token is for (RFC 8707 §2.2); a token exchange may call it audience (RFC 8693 §2.1). */
function readResource({ resource, audience }: Parameters, ceiling: Ceiling): string {
  const named = [...new Set([resource, audience].flat().filter((one) => one !== undefined))];
  // RFC 8707 §2: no default; without one resource the token would be good nowhere and everywhere.
  if (named.length === 0) throw new errors.InvalidTarget('a resource is required');
  const [only] = named;
  if (named.length > 1 || [resource].flat().length > 1 || typeof only !== 'string') {
    throw new errors.InvalidTarget('only a single resource is supported');
  }
  if (!ceiling.resources.includes(only)) throw new errors.InvalidTarget();
  return only;
}

function readScopes({ scope }: Parameters): string[] {
  return typeof scope === 'string' ? [...new Set(scope.split(' ').filter((one) => one !== ''))] : [];
}

function readAskedDetails({ authorization_details: text }: Parameters, types: DetailTypes): AuthorizationDetail[] {
  if (typeof text !== 'string') return [];
  const details = readDetails(text, types);
  if (!details.ok) throw new errors.InvalidAuthorizationDetails(details.problem);
  return details.value;
}
