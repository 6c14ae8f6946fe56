import type { IdentityConfig } from '../config/agent_schema.ts';
import type { AgentDescription, ApiDescription, TokensFrom } from './describe.ts';

/** The description as people read it, line by line. */
export function printAgentDescription(description: AgentDescription): string[] {
  const { proxy, placeholders, ca_file: caFile } = description;
  return [
    ...printTokensFrom(description.tokens_from),
    `key       ${description.key}, made anew for each job`,
    ...(proxy === null
      ? []
      : [
          `proxy     port ${portOf(proxy.port)}; other origins are ${proxy.others === 'refuse' ? 'refused' : 'passed through'}`,
        ]),
    ...(placeholders.length === 0 ? [] : [`exports   credentials without worth for ${placeholders.join(', ')}`]),
    ...(caFile === null ? [] : [`trusts    ${caFile}, besides the system's CAs`]),
    `ends      after ${description.lifetime_seconds} s at the latest`,
    ...description.apis.flatMap((api) => ['', ...printApi(api)]),
    ...(description.warnings.length === 0 ? [] : ['']),
    ...description.warnings.map((warning) => `warning   ${warning}`),
  ];
}

function printTokensFrom(from: TokensFrom): string[] {
  if ('broker' in from) {
    const environment = from.environment === null ? '' : `, environment ${from.environment}`;
    return [
      `broker    ${from.broker}: workflow ${from.workflow ?? 'as the identity token names it'}${environment}`,
      `identity  ${identityOf(from.identity)}`,
    ];
  }
  const stated = Object.entries(from.job).map(([name, value]) => `${name} ${value}`);
  return [
    `server    ${from.authorization_server}, as client ${from.client_id}`,
    ...(stated.length === 0 ? [] : [`states    ${stated.join(', ')}`]),
  ];
}

function identityOf(identity: IdentityConfig): string {
  if (identity.source === 'file') return `in the file ${identity.token_file}`;
  if ('variable' in identity) return `${identity.source}, in the variable ${identity.variable}`;
  return `asked of ${identity.source}, audience ${identity.audience}`;
}

function printApi(api: ApiDescription): string[] {
  const ways = { port: `port ${portOf(api.port)}`, socket: 'a Unix socket', none: 'the proxy only' };
  return [
    `api       ${api.name}: ${api.url} → ${api.gateway}`,
    `          resource   ${api.resource}`,
    `          scopes     ${api.scopes.join(' ') || 'none'}`,
    ...api.authorization_details.map((item) => `          details    ${JSON.stringify(item)}`),
    `          reached by ${ways[api.listen]}${api.kubeconfig ? ', kubeconfig' : ''}`,
    ...(api.variables.length === 0 ? [] : [`          variables  ${api.variables.join(', ')}`]),
  ];
}

function portOf(port: number | null): string {
  return port === 0 || port === null ? '(any free one)' : String(port);
}
