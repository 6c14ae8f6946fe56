import type { SettingProblem } from './problems.ts';

/** What these rules look at; the whole configuration fits. */
interface ReplayRulesInput {
  readonly processes: number | 'auto';
  readonly dpop: { readonly nonce: 'off' | 'required' };
  readonly replay: { readonly store: 'memory' | 'redis'; readonly redis?: unknown };
  readonly routes: readonly RouteReplay[];
}

interface RouteReplay {
  readonly name: string;
  readonly hosts?: readonly string[] | undefined;
  readonly path_prefix: string;
  readonly resource: string;
  readonly dpop_nonce?: 'off' | 'required' | undefined;
  readonly replay?: 'memory' | 'redis' | 'node_nonce' | 'window_only' | undefined;
}

/** What of replay protection and nonces does not fit together. */
export function findReplayProblems(config: ReplayRulesInput): SettingProblem[] {
  const problems: SettingProblem[] = [];
  const { store, redis } = config.replay;
  if (config.processes !== 1 && config.routes.some((route) => (route.replay ?? store) === 'memory')) {
    problems.push({
      path: ['processes'],
      message:
        'more than one process needs replay.store: redis, or replay: node_nonce on its routes, since the memory store sees the proofs of one process only',
    });
  }
  if (store === 'redis' && redis === undefined) {
    const message = 'replay.store is redis: say where it is, such as redis: { url: "redis://127.0.0.1:6379" }';
    problems.push({ path: ['replay', 'redis'], message });
  }
  for (const [index, route] of config.routes.entries()) {
    const message = problemOf(route, config);
    if (message !== null) problems.push({ path: ['routes', index, 'replay'], message });
  }
  return problems;
}

function problemOf(route: RouteReplay, { dpop, replay, routes }: ReplayRulesInput): string | null {
  const kind = route.replay ?? replay.store;
  if ((kind === 'memory' || kind === 'redis') && kind !== replay.store) {
    return `replay.store is ${replay.store}: name that, node_nonce or window_only, or leave it out`;
  }
  // The stricter setting must be said: a node knows the proofs with its own nonces only.
  if (kind === 'node_nonce' && (route.dpop_nonce ?? dpop.nonce) !== 'required') {
    return 'node_nonce needs dpop_nonce: required on this route, or dpop.nonce: required';
  }
  const rival = routes.find((other) => (other.replay ?? replay.store) !== kind && mayShareProofs(route, other));
  return rival === undefined
    ? null
    : `give it the same replay as route ${rival.name}, which serves the same resource and paths on other hosts: else one proof would pass once on each`;
}

/** Whether one proof could be for both: it names a path, and never the host that was asked. */
function mayShareProofs(one: RouteReplay, other: RouteReplay): boolean {
  const sameHosts = JSON.stringify(one.hosts) === JSON.stringify(other.hosts);
  const overlap = one.path_prefix.startsWith(other.path_prefix) || other.path_prefix.startsWith(one.path_prefix);
  return one.resource === other.resource && overlap && !sameHosts;
}
