import type { AgentConfig } from '../config/agent_schema.ts';
import { loadAgentConfig, parseAgentConfig } from '../config/load_agent.ts';
import { ConfigError } from '../config/problems.ts';

/** What stood on the command line, or in the variables of the flags. */
export interface AgentFlags {
  readonly config?: string;
  readonly broker?: string;
  readonly identity?: string;
  readonly audience?: string;
  readonly workflow?: string;
  readonly environment?: string;
  readonly issuer?: string;
  readonly clientId?: string;
  readonly clientKeyFile?: string;
  readonly api?: string;
  readonly gateway?: string;
  readonly resource?: string;
  readonly scope?: string;
  readonly authorizationDetails?: string;
  readonly variable?: string;
  readonly proxy?: boolean | string;
}

const SHAPING = [
  'broker',
  'identity',
  'audience',
  'workflow',
  'environment',
  'issuer',
  'clientId',
  'clientKeyFile',
  'api',
  'gateway',
  'resource',
  'scope',
  'authorizationDetails',
  'variable',
  'proxy',
] as const satisfies readonly (keyof AgentFlags)[];

/** The configuration of a file, or of flags, strict either way. @throws ConfigError that says which of them and what was expected */
export function configOf(flags: AgentFlags): AgentConfig {
  const given = SHAPING.filter((name) => flags[name] !== undefined);
  if (flags.config === undefined) return parseAgentConfig(valueFrom(flags), 'flags');
  if (given.length === 0) return loadAgentConfig(flags.config);
  throw problem(
    `--config says everything; take ${given.map(flagOf).join(', ')} away, or --config (variables named SALLYPORT_AGENT_… count)`,
  );
}

function valueFrom(flags: AgentFlags): Record<string, unknown> {
  const { broker, issuer, api } = flags;
  if (broker === undefined && issuer === undefined) throw problem('expected --config, or --broker, or --issuer');
  if (api === undefined) throw problem('expected --api with --broker or --issuer: what the tools of the job call');
  return withoutUndefined({
    version: 1,
    broker:
      broker &&
      withoutUndefined({
        url: broker,
        identity: identityOf(flags),
        workflow: flags.workflow,
        environment: flags.environment,
      }),
    authorization_server:
      issuer && withoutUndefined({ issuer, client_id: flags.clientId, private_key_file: flags.clientKeyFile }),
    apis: [
      withoutUndefined({
        name: 'api',
        url: api,
        gateway: flags.gateway,
        resource: flags.resource,
        scopes: listOf(flags.scope, /\s+/),
        authorization_details: detailsOf(flags.authorizationDetails),
        variables: listOf(flags.variable, /[\s,]+/),
      }),
    ],
    proxy: flags.proxy === undefined || flags.proxy === 'false' || flags.proxy === '' ? undefined : {},
  });
}

/** `env:NAME` and `file:PATH`, or the name of a CI system. */
function identityOf({ identity = 'github', audience, broker }: AgentFlags): Record<string, unknown> {
  if (identity.startsWith('env:')) return { source: 'environment', variable: identity.slice(4) };
  if (identity.startsWith('file:')) return { source: 'file', token_file: identity.slice(5) };
  // What brokers expect unless they are told otherwise: their own URL.
  return identity === 'github' || identity === 'buildkite'
    ? { source: identity, audience: audience ?? broker }
    : { source: identity };
}

function detailsOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw problem('--authorization-details: expected a JSON array');
  }
}

function listOf(text: string | undefined, between: RegExp): string[] | undefined {
  return text?.split(between).filter((part) => part !== '');
}

function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function problem(message: string): ConfigError {
  return new ConfigError([{ file: 'sallyport agent', line: null, column: null, key: '', message }]);
}
