import type { AuthorizationDetail } from '../config/authserver_clients.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import type { ClientRecord } from './clients.ts';
import type { Sender } from './sender.ts';
import type { Subject } from './subject.ts';
import type { Rights, TokenRequest } from './token_request.ts';

/**
 * The policy that says who may have what, passed in by the program: the values of its rule for an input document as JSON text, at a time in
 * milliseconds since the Unix epoch. Throws when the evaluation fails.
 */
export type EvaluateIssuance = (input: string, nowMs: number) => readonly unknown[];

/** What a policy said yes to: nothing more than what it was asked about, and it may be less. */
export interface PolicyGrant {
  /** Null: all of what it was asked about. */
  readonly scopes: readonly string[] | null;
  readonly authorizationDetails: readonly JsonObject[] | null;
  readonly tokenLifetimeSeconds: number | null;
}

/** The answer of a policy: a grant, or the codes of its reasons for refusing. */
export type PolicyAnswer =
  | { readonly allow: true; readonly grant: PolicyGrant }
  | { readonly allow: false; readonly reasons: readonly string[] };

/** Everything a decision is about. */
export interface IssuanceFacts {
  readonly client: ClientRecord;
  readonly authMethod: string;
  readonly grantType: string;
  readonly sender: Sender;
  readonly subject: Subject;
  readonly request: TokenRequest;
  /** Seconds since the Unix epoch. */
  readonly now: number;
}

const MEMBERS = ['allow', 'reasons', 'scopes', 'authorization_details', 'token_lifetime_seconds'];
const REASON_CODE = /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/;
const MAX_REASONS = 64;

/** The document that the policy sees: snake_case, with nothing secret in it. */
export function issuanceInput(facts: IssuanceFacts): JsonObject {
  const { client, subject, sender, request } = facts;
  return {
    version: 1,
    time: facts.now,
    grant_type: facts.grantType,
    client: {
      id: client.clientId,
      auth_method: facts.authMethod,
      registered: client.registered,
      scopes: client.ceiling.scopes,
      authorization_details: client.ceiling.authorizationDetails,
      resources: client.ceiling.resources,
    },
    subject: {
      id: subject.subject,
      issuer: subject.workload?.issuer ?? null,
      claims: subject.workload?.claims ?? null,
      actor: subject.actor,
    },
    job: subject.job ?? null,
    binding: { method: sender.jkt === null ? 'mtls' : 'dpop', thumbprint: sender.jkt ?? sender.x5tS256 },
    request: documentOf(request.asked),
    allowed: documentOf(request.allowed),
  };
}

function documentOf({ resource, scopes, authorizationDetails }: Rights): JsonObject {
  return { resource, scopes, authorization_details: authorizationDetails };
}

/** Reads the values of the rule, strictly: exactly one, an object with known members only; `allow` exactly true allows. */
export function readPolicyAnswer(values: readonly unknown[]): Parsed<PolicyAnswer> {
  const [answer] = values;
  if (values.length !== 1) return unparsed('the policy is undefined for this request, or has several answers');
  if (!isJsonObject(answer)) return unparsed('the answer of the policy is not an object');
  if (!Object.keys(answer).every((name) => MEMBERS.includes(name)))
    return unparsed('the answer of the policy has an unknown member');
  const { allow } = answer;
  if (typeof allow !== 'boolean') return unparsed('allow is not a boolean');
  const reasons = readReasons(answer['reasons']);
  if (reasons === null) return unparsed('reasons are not an array of {code, message}');
  if (!allow) return parsed({ allow, reasons });
  return readGrant(answer);
}

function readGrant(answer: JsonObject): Parsed<PolicyAnswer> {
  const { scopes = null, authorization_details: details = null, token_lifetime_seconds: lifetime = null } = answer;
  if (scopes !== null && !(Array.isArray(scopes) && scopes.every((scope) => typeof scope === 'string')))
    return unparsed('scopes are not an array of texts');
  if (details !== null && !(Array.isArray(details) && details.every(isJsonObject)))
    return unparsed('authorization_details are not an array of objects');
  if (lifetime !== null && !(Number.isSafeInteger(lifetime) && (lifetime as number) > 0))
    return unparsed('token_lifetime_seconds is not a positive whole number');
  const grant = {
    scopes: scopes as readonly string[] | null,
    authorizationDetails: details as readonly JsonObject[] | null,
    tokenLifetimeSeconds: lifetime as number | null,
  };
  return parsed({ allow: true, grant });
}

function readReasons(reasons: unknown): string[] | null {
  if (reasons === undefined) return [];
  if (!Array.isArray(reasons) || reasons.length > MAX_REASONS) return null;
  const codes = reasons.map((reason: unknown) => (isJsonObject(reason) ? reason['code'] : null));
  return codes.every((code) => typeof code === 'string' && REASON_CODE.test(code)) ? (codes as string[]) : null;
}

/** What was allowed before, without what the policy left out. It can add nothing: an item must be one of those it was asked about. */
export function narrow(allowed: Rights, grant: PolicyGrant): Rights {
  const { scopes, authorizationDetails: details } = grant;
  const kept = new Set(details?.map((item) => canonical(item)));
  return {
    resource: allowed.resource,
    scopes: scopes === null ? allowed.scopes : allowed.scopes.filter((scope) => scopes.includes(scope)),
    authorizationDetails:
      details === null
        ? allowed.authorizationDetails
        : allowed.authorizationDetails.filter((item: AuthorizationDetail) => kept.has(canonical(item))),
  };
}

/** One text for one value: the policy may hand members back in another order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    isJsonObject(member)
      ? Object.fromEntries(Object.entries(member).sort(([one], [other]) => (one < other ? -1 : 1)))
      : member,
  );
}
