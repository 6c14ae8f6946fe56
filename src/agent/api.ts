import type { AgentApiConfig } from '../config/agent_schema.ts';
import type { GatewayLink } from './gateway_link.ts';
import type { HeldToken } from './held_token.ts';

/** One API that the job's tools may call, with its token and the way to its gateway. */
export interface Api {
  readonly name: string;
  readonly config: AgentApiConfig;
  /** Origin by which tools know it. */
  readonly origin: string;
  /** The value of Host. */
  readonly host: string;
  /** Path of its base URL, without a slash at the end; empty for the root. */
  readonly basePath: string;
  readonly gateway: GatewayLink;
  readonly token: HeldToken;
}

/** Makes an API of its configuration. */
export function makeApi(config: AgentApiConfig, gateway: GatewayLink, token: HeldToken): Api {
  const url = new URL(config.url);
  const basePath = url.pathname.replace(/\/$/, '');
  return { name: config.name, config, origin: url.origin, host: url.host, basePath, gateway, token };
}

/** The API that an absolute target of this origin belongs to: the longest base path that covers whole segments of it. */
export function apiFor(apis: readonly Api[], origin: string, target: string): Api | null {
  const [path = ''] = target.split('?', 1);
  let best: Api | null = null;
  for (const api of apis) {
    const covers = path === api.basePath || path.startsWith(`${api.basePath}/`);
    if (api.origin === origin && covers && (best === null || api.basePath.length > best.basePath.length)) best = api;
  }
  return best;
}

/** Turns a URL of an API into the same place below a local base URL; any other text stays as it is. */
export function localUrl(api: Api, base: string): (url: string) => string {
  return (text) => {
    if (!text.startsWith(api.origin)) return text;
    const rest = text.slice(api.origin.length);
    if (rest !== '' && !/^[/?#]/.test(rest)) return text;
    const [path = ''] = rest.split(/[?#]/, 1);
    if (path !== api.basePath && !path.startsWith(`${api.basePath}/`)) return text;
    return base + rest.slice(api.basePath.length);
  };
}
