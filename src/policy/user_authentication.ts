import { secondsOf } from '../kernel/clock.ts';
import type { Decision, UserAuthentication, VerifiedToken } from '../kernel/context.ts';
import { deny, type PolicyReason, type Requirements } from '../kernel/denial.ts';
import type { Checked, Denied } from '../kernel/result.ts';

/** RFC 6749 §3.3 and OpenID Connect Core §3.1.2.1: acr_values are separated by spaces, so that one is like a scope-token. */
const ACR = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;
const ACR_LIST_LENGTH = 16;
/** Seconds: a year. */
const MAX_AGE_LIMIT = 31_536_000;

/** Whether a value is a list of authentication context classes that may stand in a challenge; an empty one would ask for nothing. */
export function areAcrValues(value: unknown): value is readonly string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > ACR_LIST_LENGTH) return false;
  return value.every((acr) => typeof acr === 'string' && ACR.test(acr));
}

/** Whether a value is a number of seconds that may have passed since an authentication. */
export function isMaxAge(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_AGE_LIMIT;
}

/**
 * Holds the token of an allowed request to what the policy demands of the authentication behind it. A claim that is missing or of the wrong
 * type does not suffice, and neither does an `auth_time` of the future.
 * Refuses with `policy.insufficient_user_authentication`.
 * @param now milliseconds since the Unix epoch
 */
export function checkUserAuthentication(
  decision: Checked<Decision>,
  token: VerifiedToken,
  now: number,
): Checked<Decision> {
  if (!decision.ok) return decision;
  const demand = decision.value.obligations.userAuthentication;
  if (demand === null || suffices(demand, token, secondsOf(now))) return decision;
  return refuseUserAuthentication(NO_REASONS, requirementsOf(demand));
}

const NO_REASONS: readonly PolicyReason[] = Object.freeze([]);

/** The refusal of a token whose authentication does not suffice, with what would. */
export function refuseUserAuthentication(policyReasons: readonly PolicyReason[], requires: Requirements): Denied {
  return deny('policy.insufficient_user_authentication', { policyReasons, requires });
}

/** Seconds that the clock of the issuer may run ahead (as for iat). */
const LEEWAY = 10;

function suffices({ acrValues, maxAge }: UserAuthentication, { claims }: VerifiedToken, now: number): boolean {
  const { acr, auth_time: authTime } = claims;
  if (acrValues !== null && !(typeof acr === 'string' && acrValues.includes(acr))) return false;
  if (maxAge === null) return true;
  return typeof authTime === 'number' && authTime <= now + LEEWAY && now - authTime <= maxAge;
}

function requirementsOf({ acrValues, maxAge }: UserAuthentication): Requirements {
  return {
    ...(acrValues === null ? {} : { acr_values: acrValues }),
    ...(maxAge === null ? {} : { max_age: maxAge }),
  };
}
