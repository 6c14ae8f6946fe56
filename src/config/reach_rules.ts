import type { SettingProblem } from './problems.ts';

/** What these rules look at; the whole configuration fits. */
interface ReachRulesInput {
  readonly listen: { readonly address: string; readonly port: number };
  readonly admin: { readonly address: string; readonly port: number };
  readonly public_origin?: string | undefined;
  readonly routes: readonly {
    readonly name: string;
    readonly hosts?: readonly string[] | undefined;
    readonly path_prefix: string;
    readonly methods: readonly string[];
    readonly websocket: boolean;
    readonly allow: readonly string[];
    readonly upstream: { readonly url: string };
  }[];
}

type Route = ReachRulesInput['routes'][number];

/** Prefixes of what the gateway answers itself. */
const OWN = /^\/\.well-known\/(?:oauth-protected-resource|sallyport)(?:\/|$)/;

/** What could never be reached, or would go round in a circle. */
export function findReachProblems(config: ReachRulesInput): SettingProblem[] {
  const problems: SettingProblem[] = [];
  const { listen, admin, routes } = config;
  if (admin.port !== 0 && admin.port === listen.port && admin.address === listen.address) {
    problems.push({ path: ['admin', 'port'], message: `listen has ${listen.address}:${listen.port} already` });
  }
  for (const [index, route] of routes.entries()) {
    const message = unreachable(route, routes.slice(0, index));
    if (message !== null) problems.push({ path: ['routes', index, 'path_prefix'], message });
    if (route.websocket && !route.methods.includes('GET')) {
      const why =
        'a request to switch to WebSocket is a GET (RFC 6455 §4.1): add GET to methods, or leave websocket out';
      problems.push({ path: ['routes', index, 'websocket'], message: why });
    }
    if (circles(route, config)) {
      const why = 'this is the gateway itself: requests would go round in a circle; name the cloud API';
      problems.push({ path: ['routes', index, 'upstream', 'url'], message: why });
    }
  }
  return problems;
}

function unreachable({ path_prefix: prefix, hosts, allow }: Route, before: readonly Route[]): string | null {
  if (OWN.test(prefix)) return 'the gateway answers below this path itself: no request would reach the route';
  const dots = prefix.split('/').some((segment) => segment === '.' || segment === '..');
  if (dots && !allow.includes('dot_segments_in_keys'))
    return 'paths with dot segments are refused: no request would reach the route';
  const rival = before.find(
    (other) =>
      sameText(other.path_prefix, prefix) &&
      (hosts ?? [null]).every((host) => (other.hosts ?? [null]).includes(host as never)),
  );
  return rival === undefined
    ? null
    : `route ${rival.name} has the same hosts and path: no request would reach this one`;
}

/** A trailing slash makes no other prefix: whole segments are matched. */
function sameText(left: string, right: string): boolean {
  return left.replace(/\/$/, '') === right.replace(/\/$/, '');
}

function circles({ upstream }: Route, { listen, public_origin: origin }: ReachRulesInput): boolean {
  const url = new URL(upstream.url);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (origin !== undefined && url.origin === new URL(origin).origin) return true;
  const here = [
    listen.address,
    ...(listen.address === '0.0.0.0' || listen.address === '127.0.0.1' ? ['127.0.0.1', 'localhost'] : []),
  ];
  return listen.port !== 0 && port === listen.port && here.includes(url.hostname);
}
