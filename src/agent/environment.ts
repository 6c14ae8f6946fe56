import type { AgentConfig } from '../config/agent_schema.ts';
import { ADDING, REPLACING } from './ca_bundle.ts';
import { identityVariables, type Variables } from './identity.ts';
import { noProxyFor } from './no_proxy.ts';

/** Environment variables that the command gets; null: it does not get this one. */
export type Exported = Record<string, string | null>;

/** Where an API is found. */
export interface ApiPlace {
  readonly name: string;
  readonly variables: readonly string[];
  /** Local base URL; null where there is none. */
  readonly url: string | null;
  /** Path of the Unix socket; null where there is none. */
  readonly socket: string | null;
}

/** Where forward mode is found. */
export interface ProxyPlace {
  readonly port: number;
  /** Files of certificates. */
  readonly bundle: string;
  readonly added: string;
  /** Host names of the APIs. */
  readonly hosts: readonly string[];
  /** Whether an API is reached by plain HTTP. */
  readonly plain: boolean;
}

/** What there is to be told to the command. */
export interface Places {
  readonly apis: readonly ApiPlace[];
  readonly proxy: ProxyPlace | null;
  readonly kubeconfig: string | null;
  readonly secret: string;
  /** What stands where tools insist on credentials. */
  readonly placeholder: string;
  /** Path of the socket by which the agent is told to end. */
  readonly control: string;
}

/** The variables by which the tools of the job find the agent, and those that are kept from them. */
export function exportedVariables(config: AgentConfig, places: Places, variables: Variables): Exported {
  const exported: Exported = { SALLYPORT_AGENT: places.control };
  for (const { name, url, socket, variables: names } of places.apis) {
    const prefix = `SALLYPORT_${name.toUpperCase()}`;
    if (url !== null) for (const variable of [`${prefix}_URL`, ...names]) exported[variable] = url;
    if (socket !== null) exported[`${prefix}_SOCKET`] = socket;
  }
  if (places.proxy !== null) Object.assign(exported, proxyVariables(places.proxy, places.secret));
  Object.assign(exported, noProxyFor({ variables, exported, hosts: places.proxy?.hosts ?? [] }));
  if (places.kubeconfig !== null) exported['KUBECONFIG'] = places.kubeconfig;
  for (const kind of config.placeholders) Object.assign(exported, PLACEHOLDERS[kind](places.placeholder));
  if (config.broker !== undefined && !config.keep_identity) {
    for (const name of identityVariables(config.broker.identity)) exported[name] = null;
  }
  return exported;
}

/** Tools that insist on credentials get some without worth beyond the local ports, where they are taken as proof of being of this job. */
const PLACEHOLDERS: Readonly<Record<AgentConfig['placeholders'][number], (placeholder: string) => Exported>> = {
  aws: (placeholder) => ({
    AWS_ACCESS_KEY_ID: placeholder,
    AWS_SECRET_ACCESS_KEY: 'placeholder',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_SESSION_TOKEN: null,
    AWS_SECURITY_TOKEN: null,
    AWS_PROFILE: null,
    AWS_DEFAULT_PROFILE: null,
    AWS_ROLE_ARN: null,
    AWS_WEB_IDENTITY_TOKEN_FILE: null,
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: null,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: null,
  }),
  google: (placeholder) => ({
    CLOUDSDK_AUTH_ACCESS_TOKEN: placeholder,
    GOOGLE_OAUTH_ACCESS_TOKEN: placeholder,
    GOOGLE_APPLICATION_CREDENTIALS: null,
    GOOGLE_CREDENTIALS: null,
  }),
};

function proxyVariables({ port, bundle, added, plain }: ProxyPlace, secret: string): Exported {
  const url = `http://agent:${secret}@127.0.0.1:${port}`;
  // NODE_USE_ENV_PROXY: fetch and node:https of Node.js 24 look at HTTPS_PROXY only then.
  const exported: Exported = { HTTPS_PROXY: url, https_proxy: url, NODE_USE_ENV_PROXY: '1' };
  if (plain) Object.assign(exported, { HTTP_PROXY: url, http_proxy: url });
  for (const name of REPLACING) exported[name] = bundle;
  for (const name of ADDING) exported[name] = added;
  return exported;
}

/** The environment of the command: the agent's own, with what is exported. */
export function environmentOf(variables: Variables, exported: Exported): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...variables, ...exported })) {
    if (typeof value === 'string') environment[name] = value;
  }
  return environment;
}
