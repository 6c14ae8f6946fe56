import type { Credentials, Route } from '../kernel/context.ts';
import { type Denial, REASONS, type ReasonRow, type Requirements } from '../kernel/denial.ts';
import { remediationOf } from './remediation.ts';

/** What a challenge is made from. */
export interface ChallengeInput {
  readonly denial: Denial;
  /** Null when the request was refused before its route was known. */
  readonly route: Route | null;
  /** The scheme that the caller used, or null. */
  readonly scheme: Credentials['scheme'] | null;
}

/** How insufficient authorization_details are answered, where that is configured. */
export interface DetailsChallenge {
  readonly error: string;
  readonly status: number;
}

/** What challenges are made with, beside the refusal. */
export interface ChallengeOptions {
  /** What proofs may be signed with (RFC 9449 §7.1, `algs`). */
  readonly algorithms: readonly string[];
  /** Whether a client certificate can reach the gateway at all; where none can, no challenge asks for a token that is bound to one. */
  readonly certificates: boolean;
  /** Of a refusal for insufficient authorization_details, when it is not answered as its reason says. */
  readonly details?: DetailsChallenge | undefined;
}

type Scheme = 'DPoP' | 'Bearer';

/** RFC 6749 §3.3 scope-token: what may stand in a scope attribute (RFC 6750 §3). */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
/** Characters of a scope attribute; what does not fit is left out, the problem document has it all. */
const MAXIMUM_SCOPE = 1024;
const WITHOUT_ROUTE: readonly Scheme[] = ['DPoP'];

/**
 * The WWW-Authenticate values of a refusal, one for each scheme (RFC 9110 §11.6.1), the one with the error first; none where the reason
 * asks for none. Everything in them is fixed words or configuration, but for what the policy requires, which is held to its alphabet.
 */
export function challengesFor({ denial, route, scheme }: ChallengeInput, options: ChallengeOptions): string[] {
  const row: ReasonRow = REASONS[denial.reason];
  const { error, status } = options.details ?? row;
  const { challenge } = row;
  if (error === null && challenge !== true) return [];
  const offered = route === null ? WITHOUT_ROUTE : schemesOf(route, options.certificates);
  const carrier = errorScheme(error, offered, scheme);
  // RFC 9110 §15.5.2: 401 names every scheme that would do; elsewhere only the one in error is worth a word.
  const shown = status === 401 ? [...offered] : offered.filter((name) => name === carrier);
  shown.sort((left, right) => Number(right === carrier) - Number(left === carrier));
  return shown.map((name) => {
    const parameters: string[] = [];
    if (name === carrier && error !== null) parameters.push(...errorParameters(error, denial));
    if (name === 'DPoP') parameters.push(`algs="${options.algorithms.join(' ')}"`);
    // RFC 9728 §5.1
    if (route !== null) parameters.push(`resource_metadata="${route.resourceMetadata}"`);
    return parameters.length === 0 ? name : `${name} ${parameters.join(', ')}`;
  });
}

/** The schemes that the bindings of a route can be presented with here: DPoP (RFC 9449 §7.1), Bearer (RFC 6750, and RFC 8705 §3 for mtls). */
function schemesOf({ bindings }: Route, certificates: boolean): Scheme[] {
  const schemes: Scheme[] = [];
  if (bindings.includes('dpop')) schemes.push('DPoP');
  if (bindings.includes('bearer') || (certificates && bindings.includes('mtls'))) schemes.push('Bearer');
  return schemes;
}

/** The scheme whose challenge carries the error; null when none may. */
function errorScheme(
  error: string | null,
  offered: readonly Scheme[],
  used: Credentials['scheme'] | null,
): Scheme | null {
  if (error === null) return null;
  if (error === 'invalid_dpop_proof' || error === 'use_dpop_nonce') {
    return offered.includes('DPoP') ? 'DPoP' : null; // RFC 9449 §7.1, §9
  }
  const name = used === 'bearer' ? 'Bearer' : 'DPoP';
  return offered.includes(name) ? name : (offered[0] ?? null);
}

function errorParameters(error: string, { reason, requires = {} }: Denial): string[] {
  // The table of reasons keeps its titles within the characters of RFC 6750 §3.
  const parameters = [`error="${error}"`, `error_description="${REASONS[reason].title}"`];
  switch (reason) {
    case 'policy.insufficient_user_authentication':
      parameters.push(...authenticationParameters(requires), ...listParameter('scope', requires.scopes));
      break;
    case 'policy.insufficient_scope':
      parameters.push(...listParameter('scope', requires.scopes));
      break;
    case 'policy.insufficient_authorization_details': {
      const remediation = remediationOf(requires);
      if (remediation !== null) parameters.push(`authorization_remediation="${remediation}"`);
    }
  }
  return parameters;
}

/** RFC 9470 §3. */
function authenticationParameters({ acr_values: acrValues, max_age: maxAge }: Requirements): string[] {
  const age = maxAge === undefined ? [] : [`max_age="${maxAge}"`];
  return [...listParameter('acr_values', acrValues), ...age];
}

/** A list of values without spaces, as one parameter; none where nothing is left of it. */
function listParameter(name: string, values: readonly string[] = []): string[] {
  let text = '';
  for (const value of values) {
    if (!SCOPE_TOKEN.test(value) || text.length + value.length > MAXIMUM_SCOPE) continue;
    text = text === '' ? value : `${text} ${value}`;
  }
  return text === '' ? [] : [`${name}="${text}"`];
}
