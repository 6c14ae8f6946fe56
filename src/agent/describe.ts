import { existsSync } from 'node:fs';
import type { AgentApiConfig, AgentConfig, IdentityConfig } from '../config/agent_schema.ts';
import { NamedFiles } from '../config/named_files.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { readCaFile } from './ca_file.ts';
import { agentWarnings } from './describe_warnings.ts';
import { fetchIdentityToken, identityVariables, type Variables } from './identity.ts';

/** What an agent of a configuration would do. */
export interface AgentDescription {
  /** Who issues the tokens of the job. */
  readonly tokens_from: TokensFrom;
  /** Kind of the job's key, made anew for each job. */
  readonly key: AgentConfig['key'];
  /** Forward mode; null: none. */
  readonly proxy: NonNullable<AgentConfig['proxy']> | null;
  readonly placeholders: readonly string[];
  readonly ca_file: string | null;
  readonly lifetime_seconds: number;
  readonly apis: readonly ApiDescription[];
  /** What is allowed and should be known. */
  readonly warnings: readonly string[];
}

/** A broker, to which the job shows its identity token, or an authorization server, where it is a client. */
export type TokensFrom =
  | {
      readonly broker: string;
      readonly identity: IdentityConfig;
      /** Null: the one that the identity token names. */
      readonly workflow: string | null;
      readonly environment: string | null;
    }
  | {
      readonly authorization_server: string;
      readonly client_id: string;
      readonly job: Readonly<Record<string, string | boolean>>;
    };

/** One API that the tools of the job may call. */
export interface ApiDescription {
  readonly name: string;
  readonly url: string;
  /** Origin that the calls go to. */
  readonly gateway: string;
  readonly resource: string;
  readonly scopes: readonly string[];
  readonly authorization_details: readonly unknown[];
  readonly listen: AgentApiConfig['listen'];
  /** 0: any free one; null: no port. */
  readonly port: number | null;
  /** Environment variables by which tools find it. */
  readonly variables: readonly string[];
  readonly kubeconfig: boolean;
}

/** What a description is made with. */
export interface DescribedAgent {
  readonly config: AgentConfig;
  /** The file that it is from. */
  readonly file: string;
  /** The environment, in which a job finds its identity. */
  readonly variables: Variables;
}

/**
 * Reads whatever the configuration names, as a start would, without listening, without writing and without asking anybody: the identity of a
 * job where it lies in a file or in the environment.
 * @throws ConfigError with everything that stands in the way
 */
export async function describeAgent({ config, file, variables }: DescribedAgent): Promise<AgentDescription> {
  const found = new NamedFiles(file);
  const { authorization_server: server, broker, ca_file: caFile } = config;
  if (caFile !== undefined) found.read('ca_file', () => readCaFile(caFile));
  if (server !== undefined) {
    found.read('authorization_server.private_key_file', () => new SigningKeyFile(server.private_key_file));
  }
  const missing = broker === undefined ? null : whatIsMissing(broker.identity, variables);
  if (broker !== undefined && missing === null) await lookAtIdentity(found, broker.identity, variables);
  found.finish();
  return {
    tokens_from: tokensFrom(config),
    key: config.key,
    proxy: config.proxy ?? null,
    placeholders: config.placeholders,
    ca_file: caFile ?? null,
    lifetime_seconds: config.lifetime_seconds,
    apis: config.apis.map(describeApi),
    warnings: [
      ...(missing === null ? [] : [`the identity of the job cannot be looked at here: ${missing}; a job must have it`]),
      ...agentWarnings(config),
    ],
  };
}

/** Variables by which whoever runs outside of a job is known. */
function whatIsMissing(source: IdentityConfig, variables: Variables): string | null {
  if (source.source === 'file') return existsSync(source.token_file) ? null : `there is no file ${source.token_file}`;
  const names = 'variable' in source ? [source.variable] : identityVariables(source);
  const unset = names.filter((name) => !variables[name]);
  return unset.length === 0 ? null : `${unset.join(' and ')} ${unset.length === 1 ? 'is' : 'are'} not set`;
}

/** A CI system that must be asked is not asked. */
async function lookAtIdentity(found: NamedFiles, source: IdentityConfig, variables: Variables): Promise<void> {
  if (source.source === 'github' || source.source === 'buildkite') return;
  const key = `broker.identity.${source.source === 'file' ? 'token_file' : 'variable'}`;
  await found.readLater(key, () => fetchIdentityToken(source, { variables, timeoutMs: 0 }));
}

function tokensFrom({ broker, authorization_server: server }: AgentConfig): TokensFrom {
  if (broker !== undefined) {
    const { url, identity, workflow = null, environment = null } = broker;
    return { broker: url, identity, workflow, environment };
  }
  return {
    authorization_server: server?.issuer ?? '',
    client_id: server?.client_id ?? '',
    job: server?.job ?? {},
  };
}

function describeApi(api: AgentApiConfig): ApiDescription {
  const { name, url, listen } = api;
  const prefix = `SALLYPORT_${name.toUpperCase()}`;
  const own = { port: [`${prefix}_URL`, ...api.variables], socket: [`${prefix}_SOCKET`], none: [] }[listen];
  return {
    name,
    url,
    gateway: new URL(api.gateway ?? url).origin,
    resource: api.resource ?? url,
    scopes: api.scopes,
    authorization_details: api.authorization_details,
    listen,
    port: listen === 'port' ? api.port : null,
    variables: own,
    kubeconfig: api.kubeconfig,
  };
}
