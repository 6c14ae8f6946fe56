import { bindingOf, type ClientConfig, type ResourceServerConfig } from '../config/authserver_clients.ts';
import type { RegistrationConfig } from '../config/authserver_registration.ts';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { authorityOf } from '../net/listen.ts';
import { describeRedis } from '../redis/redis_options.ts';
import { type ConditionedBy, conditionsOf } from './conditions.ts';
import { authServerWarnings } from './describe_warnings.ts';
import { readNamed } from './read_named.ts';
import { databaseOf } from './store.ts';

/** What a configuration of the authorization server would serve. */
export interface AuthServerDescription {
  readonly issuer: string;
  readonly listen: string;
  /** Where health and metrics are; null: nowhere. */
  readonly admin: string | null;
  /** Whether clients can show certificates, and by whom they come. */
  readonly certificates: string | null;
  /** The file, and how many keys are in it; 0: one is made at the first start. */
  readonly signing_keys: { readonly file: string; readonly keys: number };
  /** The database, or where Redis is. */
  readonly storage: string;
  readonly nonce: 'off' | 'required';
  readonly token_lifetime_seconds: number;
  readonly authorization_details_types: readonly string[];
  readonly workload_issuers: readonly { readonly issuer: string; readonly audience: readonly string[] }[];
  /** Null: the ceiling of the client decides. */
  readonly policy: { readonly from: string; readonly entrypoint: string; readonly revision: string } | null;
  /** Who may register clients; null: nobody. */
  readonly registration: RegistrationDescription | null;
  readonly clients: readonly ClientDescription[];
  readonly resource_servers: readonly Pick<ResourceServerConfig, 'client_id' | 'resources' | 'token_format'>[];
  /** What is allowed and should be known. */
  readonly warnings: readonly string[];
}

/** What somebody may have at most. */
export interface CeilingDescription {
  readonly resources: readonly string[];
  readonly scopes: readonly string[];
  readonly authorization_details: readonly unknown[];
  readonly token_lifetime_seconds: number;
}

/** One configured client. */
export interface ClientDescription extends CeilingDescription {
  readonly client_id: string;
  readonly token_endpoint_auth_method: ClientConfig['token_endpoint_auth_method'];
  readonly bound_to: readonly ('key' | 'certificate')[];
  readonly workloads: readonly ConditionedBy[];
}

/** Who registers clients, and what these may have at most. */
export interface RegistrationDescription {
  readonly registrars: readonly (CeilingDescription & {
    readonly name: string;
    readonly by: 'initial_access_token' | ConditionedBy;
  })[];
  /** Issuers of software statements that are believed. */
  readonly software_statements: readonly string[];
  /** Whether a registration without one is refused. */
  readonly statement_required: boolean;
}

/** What a description is made with. */
export interface DescribedAuthServer {
  readonly config: AuthServerConfig;
  /** The file that it is from. */
  readonly file: string;
  /** Compiles the policy that `issuance_policy` names. @returns its revision */
  readonly compilePolicy: () => Promise<string>;
}

/**
 * Reads whatever the configuration names, as a start would, without listening, without writing and without asking anybody.
 * @throws ConfigError with everything that stands in the way
 */
export async function describeAuthServer(described: DescribedAuthServer): Promise<AuthServerDescription> {
  const { config } = described;
  const { listen, admin, issuance_policy: policy } = config;
  const { keys, revision } = await readNamed(described);
  const scheme = listen.tls === undefined ? 'http' : 'https';
  return {
    issuer: config.issuer ?? `${scheme}://${authorityOf(listen.address, listen.port)}`,
    listen: authorityOf(listen.address, listen.port),
    admin: admin === undefined ? null : authorityOf(admin.address, admin.port),
    certificates: certificatesOf(listen),
    signing_keys: { file: config.signing_keys_file, keys },
    storage: config.storage.redis === undefined ? databaseOf(config) : describeRedis(config.storage.redis),
    nonce: config.dpop.nonce,
    token_lifetime_seconds: config.token_lifetime_seconds,
    authorization_details_types: config.authorization_details_types.map(({ type }) => type),
    workload_issuers: config.workload_issuers.map(({ issuer, audience }) => ({ issuer, audience })),
    policy: policy === undefined ? null : { from: policy.path, entrypoint: policy.entrypoint, revision },
    registration: config.registration === undefined ? null : describeRegistration(config.registration, config),
    clients: config.clients.map((client) => describeClient(client, config)),
    resource_servers: config.resource_servers.map(({ client_id, resources, token_format }) => {
      return { client_id, resources, token_format };
    }),
    warnings: authServerWarnings(config),
  };
}

function certificatesOf({ tls, front_proxies: proxies }: AuthServerConfig['listen']): string | null {
  const own = tls?.client_certificates === 'optional' ? ['optional in TLS'] : [];
  const passedOn = proxies.map(({ addresses = [], certificate_names: names = [] }) => {
    return `passed on by ${[...addresses, ...names].join(', ')}`;
  });
  return [...own, ...passedOn].join('; ') || null;
}

type Ceiling = Pick<ClientConfig, 'resources' | 'scopes' | 'authorization_details' | 'token_lifetime_seconds'>;
type Lifetime = Pick<AuthServerConfig, 'token_lifetime_seconds'>;

function ceilingOf(entry: Ceiling, server: Lifetime): CeilingDescription {
  const { resources, scopes, authorization_details, token_lifetime_seconds: own } = entry;
  return { resources, scopes, authorization_details, token_lifetime_seconds: own ?? server.token_lifetime_seconds };
}

function describeClient(client: ClientConfig, server: Lifetime): ClientDescription {
  const { dpop, certificate } = bindingOf(client);
  return {
    client_id: client.client_id,
    token_endpoint_auth_method: client.token_endpoint_auth_method,
    bound_to: [...(dpop ? ['key' as const] : []), ...(certificate ? ['certificate' as const] : [])],
    ...ceilingOf(client, server),
    workloads: client.workloads.map(conditionsOf),
  };
}

function describeRegistration(registration: RegistrationConfig, server: Lifetime): RegistrationDescription {
  const { initial_access_tokens: tokens, workloads, software_statements: statements } = registration;
  return {
    registrars: [
      ...tokens.map((one) => ({ name: one.name, by: 'initial_access_token' as const, ...ceilingOf(one, server) })),
      ...workloads.map((one) => ({ name: one.name, by: conditionsOf(one), ...ceilingOf(one, server) })),
    ],
    software_statements: (statements?.issuers ?? []).map(({ issuer }) => issuer),
    statement_required: statements?.required === true,
  };
}
