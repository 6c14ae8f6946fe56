import { AuthServerCounts, authserverFamilies } from '../../src/authserver/authserver_metrics.ts';
import { brokerFamilies } from '../../src/broker/broker_metrics.ts';
import type { MetricFamily } from '../../src/telemetry/metric_family.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import type { MetricSources } from '../../src/telemetry/source_metrics.ts';

const SOURCES: MetricSources = {
  caches: () => ({}),
  replay: () => [{ kind: 'memory', up: true, entries: 0, first: 0, used: 0, unavailable: 0, losses: 0 }],
  endedJobs: () => ({ kind: 'redis', up: true, entries: 0, refused: 0, unavailable: 0, losses: 0 }),
  policy: () => ({ revision: '', activatedAt: 0, activations: 0, failures: 0 }),
  shadow: () => ({ revision: null, failures: 0, skipped: 0, pendingFailure: null }),
  bundles: () => [],
  records: () => ({ available: true, summarized: 0, sinks: [] }),
  connections: () => 0,
  refusals: () => 0,
  underWay: () => ({ exchanges: 0, upgrades: 0 }),
};

/** docs/reference/metrics.md: every metric of the gateway, the broker and the authorization server, from the help texts that /metrics itself shows. */
export async function metricsPage(): Promise<string> {
  const { body } = await createMetrics({ version: '', sources: SOURCES, process: false }).render();
  const types = new Map([...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
  const rows = [...body.matchAll(/^# HELP (\S+) (.*)$/gm)].map(
    ([, name, help]) => `| \`${name}\` | ${types.get(name)} | ${help} |`,
  );
  // Nothing is read before a scrape.
  const rowOf = ({ name, type, help }: MetricFamily) => `| \`${name}\` | ${type} | ${help} |`;
  const broker = brokerFamilies({} as Parameters<typeof brokerFamilies>[0]).map(rowOf);
  const authserver = authserverFamilies(new AuthServerCounts()).map(rowOf);
  return `<!-- Generated from src/telemetry, src/broker/broker_metrics.ts and src/authserver/authserver_metrics.ts by npm run generate. -->
# Metrics

\`/metrics\` on the admin port, in the format of Prometheus; with several processes it is one page for all of them. Labels are bounded: routes and operations come
from the configuration, reasons from [the closed list](reasons.md). Beside these there are the usual \`process_*\` and \`nodejs_*\` metrics.

| name | type | meaning |
|---|---|---|
${rows.sort().join('\n')}

To alert on: \`sallyport_replay_store_up == 0\`, \`sallyport_records_available == 0\`, an increase of \`sallyport_policy_reloads_total{outcome="failure"}\`, of
\`sallyport_replay_losses_total\`, and of \`sallyport_requests_total{status_class="5xx"}\`.

## The broker

\`/metrics\` on its own admin port. Reasons are those of [its closed list](broker.md#refusals).

| name | type | meaning |
|---|---|---|
${broker.sort().join('\n')}

To alert on: \`sallyport_broker_authserver_known == 0\`, \`sallyport_broker_endings_up == 0\`, \`sallyport_broker_endings_owed > 0\` that lasts, \`sallyport_broker_workflows_refused == 1\`, and an increase of
\`sallyport_broker_token_requests_total\` with \`outcome\` \`identity_used\`, \`state_unwritable\`, \`records_unwritable\`, \`client_refused\` or \`token_unbound\`.

## The authorization server

\`/metrics\` on its own admin port, where the configuration has \`admin\`.

| name | type | meaning |
|---|---|---|
${authserver.sort().join('\n')}

To alert on: \`sallyport_authserver_storage_up == 0\`, an increase of \`sallyport_authserver_storage_losses_total\`, of \`sallyport_authserver_requests_total{status=~"5.."}\`, and of
\`sallyport_authserver_refusals_total{error="invalid_client"}\`.
`;
}
