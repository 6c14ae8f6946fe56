import {
  type AuthorizationDetail,
  bindingOf,
  certificateNames,
  findClientProblems,
} from '../config/authserver_clients.ts';
import type { RegisteredMetadata } from '../config/client_metadata.ts';
import { type Parsed, parsed, unparsed } from '../oauth/parsed.ts';
import { grantDetails, readDetailItems } from './authorization_details.ts';
import { type ClientRecord, nameKeys } from './clients.ts';
import type { DetailTypes } from './detail_types.ts';
import { GRANT_TYPES } from './metadata.ts';
import type { Registrar } from './registrars.ts';
import type { WorkloadRule } from './workload_rule.ts';

/** What a client of a registration is made with. */
export interface RegistrationFacts {
  readonly clientId: string;
  readonly registrar: Registrar;
  /** The workload that the client is; none where it is no workload. */
  readonly workloads: readonly WorkloadRule[];
  readonly types: DetailTypes;
  /** Whether clients are asked for certificates, and whether a CA is configured. */
  readonly certificates: { readonly asked: boolean; readonly authority: boolean };
}

/** A client as it will be stored, and what is said of it (RFC 7591 §3.2.1). */
export interface MadeClient {
  readonly client: ClientRecord;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/**
 * Makes a client of what it says of itself: what it asks for and its registrar lets it have. What it leaves out it gets as its registrar has
 * it; what it asks for beyond is left out, and the answer says what it got. The problem is a fixed text.
 */
export function makeRegisteredClient(said: RegisteredMetadata, facts: RegistrationFacts): Parsed<MadeClient> {
  const { types, workloads } = facts;
  const { ceiling, job } = facts.registrar;
  // RFC 7591 §2: left out, it would be client_secret_basic; a client with keys can only mean these.
  const method = said.token_endpoint_auth_method ?? 'private_key_jwt';
  const [problem] = findClientProblems({ ...said, token_endpoint_auth_method: method, workloads });
  if (problem !== undefined) return unparsed(`${problem.key}: ${problem.message}`);
  const unusable = unusableHere(method, said, facts);
  if (unusable !== null) return unparsed(unusable);
  const grants: readonly string[] = said.grant_types ?? [GRANT_TYPES.clientCredentials];
  if (workloads.length === 0 && grants.some((grant) => grant !== GRANT_TYPES.clientCredentials))
    return unparsed('grant_types: no workload identity speaks for this client');
  const details = readDetailItems(said.authorization_details ?? ceiling.authorizationDetails, types);
  if (!details.ok) return unparsed(details.problem);
  const own = {
    resources: ceiling.resources.filter((one) => said.resources?.includes(one) ?? true),
    scopes: ceiling.scopes.filter((one) => said.scope?.split(' ').includes(one) ?? true),
    authorizationDetails: ofTypes(grantDetails(types, ceiling.authorizationDetails, details.value), said),
    tokenLifetimeSeconds: ceiling.tokenLifetimeSeconds,
  };
  if (own.resources.length === 0) return unparsed('resources: none of them is within what may be registered');
  if (own.scopes.length + own.authorizationDetails.length === 0)
    return unparsed('scope, authorization_details: none of them is within what may be registered');
  const members = said as Readonly<Record<string, unknown>>;
  const names = Object.keys(certificateNames).filter((name) => members[name] !== undefined);
  const client: ClientRecord = {
    clientId: facts.clientId,
    method,
    grantTypes: grants,
    keys: said.jwks === undefined ? null : nameKeys(said.jwks),
    certificateName: Object.fromEntries(names.map((name) => [name, String(members[name])])),
    binding: bindingOf({ ...said, token_endpoint_auth_method: method }),
    ceiling: own,
    job,
    workloads,
    isWorkload: workloads.length > 0,
    registered: true,
  };
  return parsed({ client, metadata: describe(said, client) });
}

function unusableHere(method: string, said: RegisteredMetadata, { certificates }: RegistrationFacts): string | null {
  const needs = /tls_client_auth$/.test(method) || said.tls_client_certificate_bound_access_tokens === true;
  if (needs && !certificates.asked) return 'token_endpoint_auth_method: this server asks for no certificates';
  if (method === 'tls_client_auth' && !certificates.authority) {
    return 'token_endpoint_auth_method: this server trusts no certificate authority';
  }
  return null;
}

function ofTypes(details: readonly AuthorizationDetail[], said: RegisteredMetadata): readonly AuthorizationDetail[] {
  const { authorization_details_types: types } = said;
  return types === undefined ? details : details.filter((item) => types.includes(item.type));
}

/** What is registered, in the words of RFC 7591 §2; what was said and is of no use here is left out. */
function describe(said: RegisteredMetadata, client: ClientRecord): Record<string, unknown> {
  const { client_id: _id, software_statement: _statement, ...kept } = said;
  const { authorizationDetails: details } = client.ceiling;
  return {
    ...kept,
    token_endpoint_auth_method: client.method,
    grant_types: client.grantTypes,
    response_types: [],
    scope: client.ceiling.scopes.join(' '),
    resources: client.ceiling.resources,
    authorization_details: details,
    authorization_details_types: [...new Set(details.map(({ type }) => type))],
    dpop_bound_access_tokens: client.binding.dpop,
    tls_client_certificate_bound_access_tokens: client.binding.certificate,
  };
}
