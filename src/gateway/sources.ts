import type { Server } from 'node:http';
import { openConnections } from '../net/open_connections.ts';
import type { MetricSources } from '../telemetry/source_metrics.ts';

import type { PolicySource } from './policy_source.ts';
import type { Shadow } from './shadow.ts';

import type { Services } from './stages.ts';

/** Where the metrics read the state of the gateway's parts. */
export function metricSourcesOf(
  { tokens, proofs, stores, endedKeys, forwarder, auditor, refusals }: Services,
  { source, shadow }: { readonly source: PolicySource; readonly shadow: Shadow | null },
  server: Server,
): MetricSources {
  const { sockets } = openConnections(server);
  return {
    caches: () => ({ tokens: tokens.stats(), proof_keys: proofs.stats().keys }),
    replay: () => [...stores.values()].map((store) => ({ ...store.stats(), up: store.health().healthy })),
    ...(endedKeys !== null && { endedJobs: () => endedKeys.stats() }),
    policy: () => source.holder.status(),
    ...(source.bundles === undefined ? {} : { bundles: source.bundles }),
    ...(shadow === null ? {} : { shadow: () => shadow.status() }),
    records: () => auditor.stats(),
    connections: () => sockets.size,
    refusals: () => refusals.waiting,
    underWay: () => forwarder.stats(),
  };
}
