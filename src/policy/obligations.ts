import type { Obligations, RateClassUse, UserAuthentication } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { endsAtGateway, foldFieldName, HOP_BY_HOP } from '../kernel/fields.ts';
import type { Denied } from '../kernel/result.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { hasExactly, isObject, type JsonObject } from './shape.ts';
import { areAcrValues, isMaxAge } from './user_authentication.ts';

/** No obligations at all, which is the usual case. */
export const NO_OBLIGATIONS: Checked<Obligations> & { ok: true } = pass(
  Object.freeze({
    setHeaders: [],
    removeResponseHeaders: [],
    maximumBodyBytes: null,
    deadlineMs: null,
    userAuthentication: null,
    rateClasses: [],
  }),
);

/** Obligations while they are read, one entry of the list after the other. */
interface Draft {
  readonly setHeaders: [string, string][];
  readonly removeResponseHeaders: string[];
  maximumBodyBytes: number | null;
  deadlineMs: number | null;
  userAuthentication: UserAuthentication | null;
  readonly rateClasses: RateClassUse[];
}

/** Takes one obligation into the draft; the denial where it cannot. */
type Take = (obligation: JsonObject, draft: Draft) => Denied | null;

const LIST_LENGTH = 64;
const VALUE_LENGTH = 4096;
const KEY_LENGTH = 1024;
/** Rate classes that one request may count in. */
const CLASSES = 8;
/** As in the configuration. */
const CLASS_NAME = /^[a-z][a-z0-9_-]{0,62}$/;
const DEADLINE_LIMIT_MS = 3_600_000;
/** RFC 9110 §5.6.2 token. */
const FIELD_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** RFC 9110 §5.5, without obs-text and tabs: visible ASCII, spaces only inside. */
const FIELD_VALUE = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

/** Request fields that the gateway writes itself, beside those that end here. */
const WRITTEN_BY_GATEWAY: ReadonlySet<string> = new Set(['host', 'content-length', 'expect', 'via']);
/** Answer fields without which the answer could be read in two ways. */
const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding']);

/** The obligations a policy may demand, by type: the members each has beside its type, and how it is read. */
const TYPES: Readonly<
  Record<string, { readonly members: readonly string[]; readonly optional?: string; readonly take: Take }>
> = {
  set_header: { members: ['type', 'name', 'value'], take: takeSetHeader },
  remove_response_header: { members: ['type', 'name'], take: takeRemoveResponseHeader },
  maximum_body_bytes: { members: ['type', 'bytes'], take: takeMaximumBodyBytes },
  deadline_ms: { members: ['type', 'milliseconds'], take: takeDeadline },
  rate_class: { members: ['type', 'name'], optional: 'key', take: takeRateClass },
  user_authentication: { members: ['type', 'acr_values', 'max_age'], take: takeUserAuthentication },
};

/**
 * Reads a list of obligations. Of several bounds of one kind the strictest counts; two values for one thing are no answer. Reasons:
 * `policy.unknown_obligation` for an unknown type or a header field that is not the policy's to set, `policy.malformed` for any other
 * deviation, a missing or further member included.
 */
export function readObligations(value: unknown): Checked<Obligations> {
  if (!Array.isArray(value) || value.length > LIST_LENGTH) return malformed('obligations is not a list');
  if (value.length === 0) return NO_OBLIGATIONS;
  const draft: Draft = {
    setHeaders: [],
    removeResponseHeaders: [],
    maximumBodyBytes: null,
    deadlineMs: null,
    userAuthentication: null,
    rateClasses: [],
  };
  for (const obligation of value as unknown[]) {
    if (!isObject(obligation)) return malformed('an obligation is not an object');
    const type = obligation['type'];
    if (typeof type !== 'string') return malformed('an obligation has no type');
    const known = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
    if (known === undefined) return deny('policy.unknown_obligation');
    const { members, optional } = known;
    const all = optional !== undefined && Object.hasOwn(obligation, optional) ? [...members, optional] : members;
    if (!hasExactly(obligation, all)) return malformed(`obligation ${type}`);
    const refused = known.take(obligation, draft);
    if (refused !== null) return refused;
  }
  return pass(draft);
}

function malformed(note: string): Denied {
  return deny('policy.malformed', note);
}

function takeSetHeader({ name, value }: JsonObject, draft: Draft): Denied | null {
  if (typeof name !== 'string' || !FIELD_NAME.test(name)) return malformed('set_header: name');
  if (typeof value !== 'string' || value.length > VALUE_LENGTH || !FIELD_VALUE.test(value)) {
    return malformed('set_header: value');
  }
  const folded = foldFieldName(name);
  if (endsAtGateway(folded) || WRITTEN_BY_GATEWAY.has(folded)) {
    return deny('policy.unknown_obligation', 'set_header names a field that only the gateway writes');
  }
  // Upstreams that read `_` as `-` would see both.
  if (draft.setHeaders.some(([other]) => foldFieldName(other) === folded)) return malformed('set_header: name twice');
  draft.setHeaders.push([name.toLowerCase(), value]);
  return null;
}

function takeRemoveResponseHeader({ name }: JsonObject, draft: Draft): Denied | null {
  if (typeof name !== 'string' || !FIELD_NAME.test(name)) return malformed('remove_response_header: name');
  const lower = name.toLowerCase();
  if (HOP_BY_HOP.has(lower) || FRAMING.has(lower)) {
    return deny('policy.unknown_obligation', 'remove_response_header names a field that only the gateway handles');
  }
  if (!draft.removeResponseHeaders.includes(lower)) draft.removeResponseHeaders.push(lower);
  return null;
}

function takeMaximumBodyBytes({ bytes }: JsonObject, draft: Draft): Denied | null {
  if (!isWhole(bytes) || bytes < 0) return malformed('maximum_body_bytes: bytes');
  draft.maximumBodyBytes = Math.min(bytes, draft.maximumBodyBytes ?? bytes);
  return null;
}

function takeDeadline({ milliseconds }: JsonObject, draft: Draft): Denied | null {
  if (!isWhole(milliseconds) || milliseconds < 1 || milliseconds > DEADLINE_LIMIT_MS) {
    return malformed('deadline_ms: milliseconds');
  }
  draft.deadlineMs = Math.min(milliseconds, draft.deadlineMs ?? milliseconds);
  return null;
}

/** Both members are there; null says that there is no demand on that claim, and one of them must be a demand. */
function takeUserAuthentication({ acr_values: acrs, max_age: age }: JsonObject, draft: Draft): Denied | null {
  const acrValues = areAcrValues(acrs) ? acrs : null;
  const maxAge = isMaxAge(age) ? age : null;
  if (acrValues === null && acrs !== null) return malformed('user_authentication: acr_values');
  if (maxAge === null && age !== null) return malformed('user_authentication: max_age');
  if (acrValues === null && maxAge === null) return malformed('user_authentication: no demand');
  if (draft.userAuthentication !== null) return malformed('user_authentication: twice');
  draft.userAuthentication = { acrValues, maxAge };
  return null;
}

function takeRateClass({ name, key = null }: JsonObject, draft: Draft): Denied | null {
  if (typeof name !== 'string' || !CLASS_NAME.test(name)) return malformed('rate_class: name');
  if (key !== null && (typeof key !== 'string' || key === '' || key.length > KEY_LENGTH)) {
    return malformed('rate_class: key');
  }
  const twice = draft.rateClasses.some((use) => use.name === name);
  if (twice || draft.rateClasses.length >= CLASSES) return malformed('rate_class: repeated');
  draft.rateClasses.push({ name, key });
  return null;
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
