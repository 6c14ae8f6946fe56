import type { ClientMetadata } from 'oidc-provider';
import type { AuthorizationDetail, AuthServerConfig, ClientConfig, ClientKeys } from '../config/authserver_schema.ts';
import { readClientKeys } from '../config/load_authserver.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';
import type { JobRules } from './job_claims.ts';

/** What a client may have at most, and how it proves who it is. */
export interface ClientRights {
  readonly clientId: string;
  readonly keys: ClientKeys;
  readonly resources: readonly string[];
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly AuthorizationDetail[];
  readonly tokenLifetimeSeconds: number;
  readonly job: JobRules;
}

/** The clients by their identifier. */
export type Clients = ReadonlyMap<string, ClientRights>;

/** Takes the clients from the configuration and reads the files with their keys. @throws ConfigError */
export function makeClients(config: AuthServerConfig): Clients {
  return new Map(config.clients.map((client) => [client.client_id, makeClient(client, config.token_lifetime_seconds)]));
}

function makeClient(client: ClientConfig, lifetime: number): ClientRights {
  return {
    clientId: client.client_id,
    keys: { keys: (client.jwks ?? readClientKeys(client.jwks_file ?? '')).keys.map(nameKey) },
    resources: client.resources,
    scopes: client.scopes,
    authorizationDetails: client.authorization_details,
    tokenLifetimeSeconds: client.token_lifetime_seconds ?? lifetime,
    job: client.job,
  };
}

/** An assertion may name its key; a key without a name goes by its thumbprint (RFC 7638 §1). */
function nameKey(key: ClientKeys['keys'][number]): ClientKeys['keys'][number] {
  return { ...key, kid: key.kid ?? jwkThumbprint(key) };
}

/** A client in the words of RFC 7591 §2: it holds a key and nothing else, has no redirect, and every token of it is bound. */
export function clientMetadata(client: ClientRights): ClientMetadata {
  return {
    client_id: client.clientId,
    jwks: client.keys as NonNullable<ClientMetadata['jwks']>,
    token_endpoint_auth_method: 'private_key_jwt',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    dpop_bound_access_tokens: true, // RFC 9449 §5.2
    authorization_details_types: [...new Set(client.authorizationDetails.map((item) => item.type))],
  };
}
