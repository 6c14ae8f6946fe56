import { dirname } from 'node:path';
import type { BrokerConfig } from '../config/broker_schema.ts';
import { loadWorkflows } from '../config/load_broker.ts';
import { NamedFiles } from '../config/named_files.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import { readBearerToken } from '../net/bearer_token_file.ts';
import { authorityOf } from '../net/listen.ts';
import { readServerTls } from '../net/tls.ts';
import { problemOfKeysFile } from '../oauth/key_loader.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { mustBePrivate } from './state_folder.ts';

/** What a configuration of the broker would serve. */
export interface BrokerDescription {
  readonly origin: string;
  readonly listen: string;
  readonly authorization_server: string;
  /** Whether clients are registered there, or every workflow names its own. */
  readonly registration: boolean;
  readonly issuers: readonly { readonly issuer: string; readonly audience: readonly string[] }[];
  /** Who is told of jobs that have ended. */
  readonly ended_jobs: readonly string[];
  readonly workflows: readonly WorkflowDescription[];
  /** What is allowed and should be known. */
  readonly warnings: readonly string[];
}

/** What one workflow may ask for, and by what its jobs are known. */
export interface WorkflowDescription {
  readonly name: string;
  readonly match: WorkflowConfig['match'];
  /** Null: one is registered. */
  readonly client_id: string | null;
  readonly resources: readonly string[];
  readonly scopes: readonly string[];
  readonly authorization_details: readonly unknown[];
  /** Null: any, and none. */
  readonly environments: readonly string[] | null;
}

/**
 * Reads whatever the configuration names, as a start would, without listening and without asking anybody.
 * @throws ConfigError or Error that says what stands in the way
 */
export async function describeBroker(config: BrokerConfig, file: string): Promise<BrokerDescription> {
  const { listen, admin, authorization_server: server, workload_issuers: issuers, ended_jobs: ended } = config;
  const found = new NamedFiles(file);
  for (const [key, tls] of [
    ['listen.tls', listen.tls],
    ['admin.tls', admin.tls],
  ] as const) {
    if (tls !== undefined) found.read(key, () => readServerTls({ ...tls, client_certificates: 'none' }));
  }
  for (const [key, path] of filesOf(config)) found.mustExist(key, path);
  found.read('state_folder', () => mustBePrivate(config.state_folder)); // Absent, it is made at the first start.
  for (const [key, token] of tokensOf(config)) if (token !== undefined) found.read(key, () => readBearerToken(token));
  const workflows = found.read('workflows_file', () => loadWorkflows(config.workflows_file, config)) ?? [];
  for (const [index, { client }] of workflows.entries()) {
    if (client === undefined) continue;
    const key = `workflows[${index}].client.private_key_file`;
    found.read(key, () => new SigningKeyFile(client.private_key_file), config.workflows_file);
  }
  for (const [index, { jwks_file: keys }] of issuers.entries()) {
    const key = `workload_issuers[${index}].jwks_file`;
    // Keys of a network are not asked for.
    const problem = found.mustExist(key, keys) ? await problemOfKeysFile(keys) : null;
    if (problem !== null) found.problem(key, `${keys}: ${problem}`);
  }
  found.finish();
  return {
    origin:
      config.public_origin ??
      `${listen.tls === undefined ? 'http' : 'https'}://${authorityOf(listen.address, listen.port)}`,
    listen: authorityOf(listen.address, listen.port),
    authorization_server: server.issuer,
    registration: server.registration !== undefined,
    issuers: issuers.map(({ issuer, audience }) => ({ issuer, audience })),
    ended_jobs: [...(ended?.redis === undefined ? [] : ['redis']), ...(ended?.gateways ?? []).map(({ url }) => url)],
    workflows: workflows.map(describeWorkflow),
    warnings: warningsOf(config, workflows),
  };
}

/** The description as people read it, line by line. */
export function printBrokerDescription(description: BrokerDescription): string[] {
  return [
    `origin    ${description.origin} (listens on ${description.listen})`,
    `server    ${description.authorization_server}${description.registration ? ', where a client is registered for each workflow' : ''}`,
    ...description.issuers.map(({ issuer, audience }) => `issuer    ${issuer}, audience ${audience.join(' or ')}`),
    `told      of ended jobs: ${description.ended_jobs.join(', ') || 'nobody'}`,
    ...description.workflows.flatMap((workflow) => [
      '',
      `workflow  ${workflow.name}: ${matchOf(workflow.match)}`,
      `          client       ${workflow.client_id ?? 'registered'}`,
      `          environments ${workflow.environments?.join(', ') ?? 'any, and none'}`,
      `          resources    ${workflow.resources.join(', ')}`,
      `          scopes       ${workflow.scopes.join(' ') || 'none'}`,
      ...workflow.authorization_details.map((item) => `          details      ${JSON.stringify(item)}`),
    ]),
    ...(description.warnings.length === 0 ? [] : ['']),
    ...description.warnings.map((warning) => `warning   ${warning}`),
  ];
}

/** What is allowed and should be known; the broker says it at start, too. */
export function warningsOf(config: Pick<BrokerConfig, 'ended_jobs'>, workflows: readonly WorkflowConfig[]): string[] {
  return [
    ...(config.ended_jobs === undefined
      ? ['ended_jobs is not configured: tokens of jobs that have ended are good until they expire']
      : []),
    ...workflows
      .filter(({ match }) => match.repository !== undefined && match.repository_id === undefined)
      .map(
        ({ name }) => `workflow ${name} matches by the name of a repository, which may change hands: add repository_id`,
      ),
  ];
}

function describeWorkflow(workflow: WorkflowConfig): WorkflowDescription {
  const { name, match, client, resources, scopes, authorization_details: details, environments } = workflow;
  return {
    name,
    match,
    client_id: client?.client_id ?? null,
    resources,
    scopes,
    authorization_details: details,
    environments: environments ?? null,
  };
}

function matchOf({ claims = {}, ...members }: WorkflowConfig['match']): string {
  return Object.entries({ ...members, ...claims })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${[value].flat().join(' or ')}`)
    .join(', ');
}

function filesOf(config: BrokerConfig): [string, string | undefined][] {
  const { registration } = config.authorization_server;
  const { redis } = config.ended_jobs ?? {};
  const folder = config.records_file === undefined ? undefined : dirname(config.records_file);
  return [
    ['authorization_server.registration.software_statement_file', registration?.software_statement_file],
    ['ended_jobs.redis.password_file', redis?.password_file],
    ['ended_jobs.redis.ca_file', redis?.tls?.ca_file],
    ['records_file', folder],
  ];
}

function tokensOf({
  admin,
  authorization_server: server,
  ended_jobs: ended,
}: BrokerConfig): [string, string | undefined][] {
  return [
    ['admin.api_token_file', admin.api_token_file],
    ['authorization_server.registration.initial_access_token_file', server.registration?.initial_access_token_file],
    ...(ended?.gateways ?? []).map(({ api_token_file: file }, index): [string, string] => [
      `ended_jobs.gateways[${index}].api_token_file`,
      file,
    ]),
  ];
}
