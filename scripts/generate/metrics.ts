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
};

/** docs/reference/metrics.md: every metric of the gateway, from the help texts that /metrics itself shows. */
export async function metricsPage(): Promise<string> {
  const { body } = await createMetrics({ version: '', sources: SOURCES, process: false }).render();
  const types = new Map([...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
  const rows = [...body.matchAll(/^# HELP (\S+) (.*)$/gm)].map(
    ([, name, help]) => `| \`${name}\` | ${types.get(name)} | ${help} |`,
  );
  return `<!-- Generated from src/telemetry by npm run generate. -->
# Metrics

\`/metrics\` on the admin port, in the format of Prometheus; with several processes it is one page for all of them. Labels are bounded: routes and operations come
from the configuration, reasons from [the closed list](reasons.md). Beside these there are the usual \`process_*\` and \`nodejs_*\` metrics.

| name | type | meaning |
|---|---|---|
${rows.sort().join('\n')}

To alert on: \`sallyport_replay_store_up == 0\`, \`sallyport_records_available == 0\`, an increase of \`sallyport_policy_reloads_total{outcome="failure"}\`, of
\`sallyport_replay_losses_total\`, and of \`sallyport_requests_total{status_class="5xx"}\`.
`;
}
