import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ClientMetadata } from 'oidc-provider';
import {
  type AuthMethod,
  type AuthorizationDetail,
  bindingOf,
  type ClientConfig,
  type ClientKeys,
  certificateNames,
  type ResourceServerConfig,
} from '../config/authserver_clients.ts';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { readClientKeys } from '../config/load_authserver.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';
import { checkCeiling, type DetailTypes } from './detail_types.ts';
import type { JobRules } from './job_claims.ts';
import { GRANT_TYPES } from './metadata.ts';
import type { WorkloadRule } from './workload_rule.ts';

/** What a client may have at most. */
export interface Ceiling {
  readonly resources: readonly string[];
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly AuthorizationDetail[];
  readonly tokenLifetimeSeconds: number;
}

/** One client: how it proves who it is, what its tokens are bound to, and what it may have at most. Plain data, so that it can be stored. */
export interface ClientRecord {
  readonly clientId: string;
  readonly method: AuthMethod;
  /** Grants that it may use. */
  readonly grantTypes: readonly string[];
  readonly keys: { readonly keys: readonly Record<string, unknown>[] } | null;
  /** What names its certificate, for `tls_client_auth`. */
  readonly certificateName: Readonly<Record<string, string>>;
  readonly binding: { readonly dpop: boolean; readonly certificate: boolean };
  readonly ceiling: Ceiling;
  readonly job: JobRules;
  /** Workload identity tokens that speak for it. */
  readonly workloads: readonly WorkloadRule[];
  /** Whether it is the workload itself, known by its identity token: it acts for nobody else. */
  readonly isWorkload: boolean;
  /** Whether it was registered (RFC 7591), and not configured. */
  readonly registered: boolean;
  /** Present: it asks about tokens for these resources (RFC 7662), and gets none itself. */
  readonly resourceServer?: { readonly resources: readonly string[] };
}

/** The configured clients by their identifier. */
export type Clients = ReadonlyMap<string, ClientRecord>;

/** Takes the clients and resource servers from the configuration and reads the files with their keys. @throws ConfigError */
export function makeClients(config: AuthServerConfig, types: DetailTypes): Clients {
  const clients = config.clients.map((client, index) => {
    checkCeiling(types, client.authorization_details, `clients[${index}].authorization_details`);
    return makeClient(client, config.token_lifetime_seconds);
  });
  const servers = config.resource_servers.map(makeResourceServer);
  return new Map([...clients, ...servers].map((client) => [client.clientId, client]));
}

function makeClient(client: ClientConfig, lifetime: number): ClientRecord {
  const members = client as Readonly<Record<string, unknown>>;
  const names = Object.keys(certificateNames).flatMap((name) =>
    typeof members[name] === 'string' ? [[name, members[name]] as const] : [],
  );
  return {
    clientId: client.client_id,
    method: client.token_endpoint_auth_method,
    grantTypes: Object.values(GRANT_TYPES),
    keys: keysOf(client),
    certificateName: Object.fromEntries(names),
    binding: bindingOf(client),
    ceiling: {
      resources: client.resources,
      scopes: client.scopes,
      authorizationDetails: client.authorization_details,
      tokenLifetimeSeconds: client.token_lifetime_seconds ?? lifetime,
    },
    job: client.job,
    workloads: client.workloads.map(({ issuer, claims, job }) => ({ issuer, claims: lists(claims), job: lists(job) })),
    isWorkload: client.token_endpoint_auth_method === 'none',
    registered: false,
  };
}

function makeResourceServer(server: ResourceServerConfig): ClientRecord {
  return {
    clientId: server.client_id,
    method: 'private_key_jwt',
    grantTypes: [],
    keys: keysOf(server),
    certificateName: {},
    binding: { dpop: true, certificate: false },
    ceiling: { resources: [], scopes: [], authorizationDetails: [], tokenLifetimeSeconds: 0 },
    job: { claims: {}, from_assertion: [] },
    workloads: [],
    isWorkload: false,
    registered: false,
    resourceServer: { resources: server.resources },
  };
}

/** Conditions as people write them, a value or several. */
export function lists(conditions: Readonly<Record<string, string | string[]>>): Record<string, readonly string[]> {
  return Object.fromEntries(Object.entries(conditions).map(([name, value]) => [name, [value].flat()]));
}

/** The public keys of a client, wherever they are. @throws ConfigError or Error that names the file */
export function keysOf(
  client: Partial<Pick<ClientConfig, 'jwks' | 'jwks_file' | 'certificate_file'>>,
): ClientRecord['keys'] {
  if (client.certificate_file !== undefined) return { keys: [keyOfCertificate(client.certificate_file)] };
  if (client.jwks_file !== undefined) return nameKeys(readClientKeys(client.jwks_file));
  return client.jwks === undefined ? null : nameKeys(client.jwks);
}

/** An assertion may name its key; a key without a name goes by its thumbprint (RFC 7638 §1). */
export function nameKeys(jwks: ClientKeys): { keys: Record<string, unknown>[] } {
  return { keys: jwks.keys.map((key) => ({ ...key, kid: key.kid ?? jwkThumbprint(key) })) };
}

/** RFC 8705 §2.2.2: a certificate stands in a JWK as x5c. */
function keyOfCertificate(file: string): Record<string, unknown> {
  try {
    const certificate = new X509Certificate(readFileSync(file));
    return { ...certificate.publicKey.export({ format: 'jwk' }), x5c: [certificate.raw.toString('base64')] };
  } catch (error) {
    throw new Error(`clients: certificate_file: ${file} cannot be used: ${(error as Error).message}`);
  }
}

/** A client in the words of RFC 7591 §2, as oidc-provider wants it: it has no secret and no redirect. */
export function clientMetadata(client: ClientRecord, grants: readonly string[]): ClientMetadata {
  return {
    client_id: client.clientId,
    token_endpoint_auth_method: client.method,
    grant_types: [...grants],
    response_types: [],
    redirect_uris: [],
    ...(client.keys === null ? {} : { jwks: client.keys as NonNullable<ClientMetadata['jwks']> }),
    ...client.certificateName,
  };
}
