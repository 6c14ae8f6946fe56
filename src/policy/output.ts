import type { Obligations } from '../kernel/context.ts';
import { deny, type PolicyReason, type Requirements } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { isNestedDeeper } from './nesting.ts';
import { NO_OBLIGATIONS, readObligations } from './obligations.ts';
import { hasOnly, isObject, type JsonObject } from './shape.ts';
import { areAcrValues, isMaxAge, refuseUserAuthentication } from './user_authentication.ts';

/** A positive answer, read. */
export interface Allowance {
  readonly reasons: readonly PolicyReason[];
  readonly obligations: Obligations;
}

const MEMBERS = ['allow', 'reasons', 'requires', 'obligations'] as const;
const REASON_CODE = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/;
/** RFC 6749 §3.3 scope-token: these stand in a challenge. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;
const MESSAGE_LENGTH = 512;
const LIST_LENGTH = 64;
/** UTF-16 units of the authorization_details in `requires`, as JSON. */
const DETAILS_LENGTH = 8192;

const NO_REASONS: readonly PolicyReason[] = Object.freeze([]);

/**
 * Reads the values of the decision rule, strictly: exactly one, an object with known members only, of the right types and within bounds;
 * `allow` exactly true allows. Reasons: `policy.undefined`, `policy.malformed`, `policy.unknown_obligation`, and for a policy that says no
 * `policy.insufficient_user_authentication`, `policy.insufficient_scope` or `policy.insufficient_authorization_details` where one of its
 * reason codes says so, else `policy.denied`.
 */
export function readAnswer(values: readonly unknown[]): Checked<Allowance> {
  if (values.length === 0) return deny('policy.undefined');
  const [answer] = values;
  if (values.length > 1) return malformed('more than one decision');
  if (!isObject(answer)) return malformed('the decision is not an object');
  if (!hasOnly(answer, MEMBERS)) return malformed('the decision has an unknown member');
  const { allow } = answer as { allow?: unknown };
  if (typeof allow !== 'boolean') return malformed('allow is not a boolean');
  const reasons = readReasons(answer);
  if (reasons === null) return malformed('reasons');
  const requires = readRequires(answer);
  if (requires === null) return malformed('requires');
  const obligations = 'obligations' in answer ? readObligations(answer['obligations']) : NO_OBLIGATIONS;
  if (!obligations.ok) return obligations;
  return allow ? pass({ reasons, obligations: obligations.value }) : refuse(reasons, requires);
}

function malformed(note: string) {
  return deny('policy.malformed', note);
}

/**
 * The code that lacks the least is not known, so the order is fixed: user authentication first, since without it no scope helps and its
 * challenge can name scopes too (RFC 9470 §3), then scopes, since a challenge can name them.
 */
function refuse(policyReasons: readonly PolicyReason[], requires: Requirements) {
  const has = (code: string) => policyReasons.some((reason) => reason.code === code);
  const detail = Object.keys(requires).length === 0 ? { policyReasons } : { policyReasons, requires };
  if (has('insufficient_user_authentication')) return refuseUserAuthentication(policyReasons, requires);
  if (has('insufficient_scope')) return deny('policy.insufficient_scope', detail);
  if (has('not_covered_by_authorization_details')) return deny('policy.insufficient_authorization_details', detail);
  return deny('policy.denied', detail);
}

function readReasons(answer: JsonObject): readonly PolicyReason[] | null {
  if (!('reasons' in answer)) return NO_REASONS;
  const { reasons } = answer as { reasons: unknown };
  if (!Array.isArray(reasons) || reasons.length > LIST_LENGTH) return null;
  return reasons.every(isReason) ? reasons : null;
}

function isReason(value: unknown): value is PolicyReason {
  if (!isObject(value) || !hasOnly(value, ['code', 'message'])) return false;
  const { code, message } = value as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || !REASON_CODE.test(code)) return false;
  return message === undefined || (typeof message === 'string' && message.length <= MESSAGE_LENGTH);
}

const REQUIRES = ['scopes', 'authorization_details', 'acr_values', 'max_age'] as const;
const NO_REQUIREMENTS: Requirements = Object.freeze({});

function readRequires(answer: JsonObject): Requirements | null {
  if (!('requires' in answer)) return NO_REQUIREMENTS;
  const { requires } = answer as { requires: unknown };
  if (!isObject(requires) || !hasOnly(requires, REQUIRES)) return null;
  const { scopes = [], authorization_details: details = [] } = requires as {
    scopes?: unknown;
    authorization_details?: unknown;
  };
  if ('acr_values' in requires && !areAcrValues(requires['acr_values'])) return null;
  if ('max_age' in requires && !isMaxAge(requires['max_age'])) return null;
  return areScopes(scopes) && areDetails(details) ? (requires as Requirements) : null;
}

function areScopes(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > LIST_LENGTH) return false;
  return value.every((scope) => typeof scope === 'string' && SCOPE.test(scope));
}

function areDetails(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > LIST_LENGTH || isNestedDeeper(value)) return false;
  // RFC 9396 §2: every item is an object with a type.
  if (!value.every((item) => isObject(item) && typeof item['type'] === 'string')) return false;
  return value.length === 0 || JSON.stringify(value).length <= DETAILS_LENGTH;
}
