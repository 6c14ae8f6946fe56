import type { AgentConfig } from '../config/agent_schema.ts';
import { isLoopback } from '../config/values.ts';

/** What a configuration of the agent allows and whoever writes it should know. */
export function agentWarnings(config: AgentConfig): string[] {
  const { broker, authorization_server: server, proxy, keep_identity: kept } = config;
  const urls = [broker?.url, server?.issuer, ...config.apis.map(({ gateway, url }) => gateway ?? url)];
  const plain = [...new Set(urls.filter((url) => url !== undefined && isPlain(url)))];
  return [
    ...plain.map((url) => `allow_plaintext: what is sent to ${url} crosses the network unencrypted, tokens included`),
    ...(kept && broker !== undefined
      ? ['keep_identity: whatever runs in the command can get tokens for a key of its own, and keep them after the job']
      : []),
    ...(proxy?.others === 'tunnel'
      ? [
          'proxy.others is tunnel: the tools of the job reach every other origin, too; the agent does not see what they send',
        ]
      : []),
    ...sharedVariables(config),
    ...config.apis
      .filter(({ listen, variables }) => listen !== 'port' && variables.length > 0)
      .map(
        ({ name, listen, variables }) => `api ${name}: ${variables.join(', ')} get no URL, since listen is ${listen}`,
      ),
  ];
}

function isPlain(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !isLoopback(hostname);
}

/** A variable can say one URL only. */
function sharedVariables({ apis }: AgentConfig): string[] {
  const named = apis.flatMap(({ name, listen, variables }) =>
    listen === 'port' ? [...new Set(variables)].map((variable) => ({ name, variable })) : [],
  );
  const shared = [...new Set(named.map(({ variable }) => variable))].map((variable) => {
    return { variable, names: named.filter((one) => one.variable === variable).map(({ name }) => name) };
  });
  return shared
    .filter(({ names }) => names.length > 1)
    .map(
      ({ variable, names }) =>
        `the variable ${variable} is for ${names.join(' and ')}: it gets the URL of ${names.at(-1)}`,
    );
}
