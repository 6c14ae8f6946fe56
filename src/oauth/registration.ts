import { callEndpoint, type EndpointAnswer, type EndpointReply } from './call_endpoint.ts';
import { isSecureUrl } from './secure_url.ts';
import { isJsonObject, type JsonObject } from './strict_json.ts';

/** A client as its authorization server registered it (RFC 7591 §3.2.1), with what it is managed by (RFC 7592 §3). */
export interface RegisteredClient {
  readonly clientId: string;
  /** Null where the server registers clients and lets nobody manage them. */
  readonly management: ClientManagement | null;
  /** What the server made of the metadata. */
  readonly metadata: JsonObject;
}

/** Where a client is read, changed and deleted, and the token for that. */
export interface ClientManagement {
  readonly uri: string;
  readonly token: string;
}

/** What became of a registration request. `gone`: the server does not know the client or its token any more (RFC 7592 §2.1). */
export type RegistrationOutcome =
  | { readonly kind: 'registered'; readonly client: RegisteredClient }
  | { readonly kind: 'gone' }
  | RegistrationFailure;

/** Why not, in words for the log; `refused`: asking again with the same would not help. */
export interface RegistrationFailure {
  readonly kind: 'refused' | 'unavailable';
  readonly problem: string;
}

/** How registration endpoints are called. */
export interface RegistrationOptions {
  readonly timeoutMs: number;
  /** Allow http also where the host is not loopback. */
  readonly allowInsecure: boolean;
}

/** Registers a client (RFC 7591 §3.1). `token`: the initial access token; null where registration is open. */
export async function registerClient(
  {
    endpoint,
    token,
    metadata,
  }: { readonly endpoint: string; readonly token: string | null; readonly metadata: JsonObject },
  options: RegistrationOptions,
): Promise<RegistrationOutcome> {
  const answer = await callEndpoint({
    url: endpoint,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(metadata),
    timeoutMs: options.timeoutMs,
  });
  if (!answer.ok) return unavailable(answer);
  if (answer.status === 201 || answer.status === 200) return read(answer, null, options);
  return refusal(answer, 'the registration');
}

/** Replaces the metadata of a client (RFC 7592 §2.2). The answer may name another management token, which then is the only good one. */
export async function updateClient(
  client: { readonly clientId: string; readonly management: ClientManagement },
  metadata: JsonObject,
  options: RegistrationOptions,
): Promise<RegistrationOutcome> {
  const answer = await callEndpoint({
    url: client.management.uri,
    method: 'PUT',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${client.management.token}` },
    body: JSON.stringify({ ...metadata, client_id: client.clientId }),
    timeoutMs: options.timeoutMs,
  });
  if (!answer.ok) return unavailable(answer);
  if (answer.status === 200) return read(answer, client, options);
  return isGone(answer) ? { kind: 'gone' } : refusal(answer, 'the update of the client');
}

/** What became of a deletion. `not_allowed`: the client may not delete itself, or nobody may (RFC 7592 §2.3). */
export type DeletionOutcome = { readonly kind: 'gone' } | { readonly kind: 'not_allowed' } | RegistrationFailure;

/** Deletes a client (RFC 7592 §2.3). */
export async function deleteClient(
  management: ClientManagement,
  options: RegistrationOptions,
): Promise<DeletionOutcome> {
  const answer = await callEndpoint({
    url: management.uri,
    method: 'DELETE',
    headers: { authorization: `Bearer ${management.token}` },
    timeoutMs: options.timeoutMs,
  });
  if (!answer.ok) return unavailable(answer);
  if (answer.status === 204 || answer.status === 200 || isGone(answer)) return { kind: 'gone' };
  if (answer.status === 403 || answer.status === 405) return { kind: 'not_allowed' };
  return refusal(answer, 'the deletion of the client');
}

/**
 * RFC 7592 §2.1 to §2.3: 401 when the client does not exist, or its token is not good any more, which comes to the same for whoever holds
 * nothing else; with others 404. 403 is another thing: the client is there and may not do this.
 */
function isGone({ status }: EndpointReply): boolean {
  return status === 401 || status === 404;
}

function read(
  { value }: EndpointReply,
  before: { readonly clientId: string; readonly management: ClientManagement } | null,
  { allowInsecure }: RegistrationOptions,
): RegistrationOutcome {
  if (!isJsonObject(value)) return { kind: 'refused', problem: 'the answer to the registration is not a JSON object' };
  const {
    client_id: clientId,
    client_secret: secret,
    registration_client_uri: uri,
    registration_access_token: token,
  } = value;
  if (typeof clientId !== 'string' || clientId === '' || clientId.length > 1024) {
    return { kind: 'refused', problem: 'the answer to the registration names no client_id' };
  }
  if (before !== null && before.clientId !== clientId) {
    return { kind: 'refused', problem: 'the answer to the update names another client_id' };
  }
  // A client that has a secret could authenticate with it, and whoever reads it too.
  if (secret !== undefined)
    return { kind: 'refused', problem: 'the server gave the client a secret, which was not asked for' };
  const { token_endpoint_auth_method: method } = value;
  if (method !== undefined && method !== 'private_key_jwt') {
    return {
      kind: 'refused',
      problem: 'the server registered another token_endpoint_auth_method than private_key_jwt',
    };
  }
  const management = {
    uri: typeof uri === 'string' ? uri : (before?.management.uri ?? ''),
    token: typeof token === 'string' ? token : (before?.management.token ?? ''),
  };
  const managed = management.token !== '' && isSecureUrl(management.uri, allowInsecure);
  return { kind: 'registered', client: { clientId, management: managed ? management : null, metadata: value } };
}

function unavailable(answer: EndpointAnswer & { readonly ok: false }): RegistrationFailure {
  return { kind: 'unavailable', problem: `the registration endpoint ${answer.problem}` };
}

/** The error code is one of a closed list of tokens (RFC 7591 §3.2.2); its description stays out of the log. */
function refusal({ status, value }: EndpointReply, what: string): RegistrationFailure {
  const error = isJsonObject(value) ? value['error'] : undefined;
  const code = typeof error === 'string' && /^\w{1,64}$/.test(error) ? `, ${error}` : '';
  const again = status === 429 || status >= 500;
  return { kind: again ? 'unavailable' : 'refused', problem: `${what} was refused (status ${status}${code})` };
}
