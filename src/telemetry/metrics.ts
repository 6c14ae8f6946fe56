import { version as nodeVersion } from 'node:process';
import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client';
import type { Evidence } from '../kernel/context.ts';
import { type MetricFamily, registerFamily } from './metric_family.ts';
import { RequestMetrics } from './request_metrics.ts';
import { ShadowMetrics } from './shadow_metrics.ts';
import { type MetricSources, sourceFamilies } from './source_metrics.ts';

/** The metrics of one process. */
export interface Metrics {
  /** Counts one finished request. @param finishedAt milliseconds since the Unix epoch */
  observe(evidence: Evidence, finishedAt: number): void;
  /** The values as plain data, to be sent to the process that serves them (aggregateMetrics). */
  snapshot(): Promise<MetricsSnapshot>;
  /** The values of this process as Prometheus reads them. */
  render(): Promise<RenderedMetrics>;
}

/** The metrics of one process as plain data. Opaque: made by snapshot(), read by aggregateMetrics(). */
export type MetricsSnapshot = readonly object[];

/** What is answered on /metrics. */
export interface RenderedMetrics {
  readonly contentType: string;
  readonly body: string;
}

/** What the metrics are made of. */
export interface MetricsOptions {
  /** Version of the program. */
  readonly version: string;
  /** Where the state of the gateway's parts is read when somebody asks. */
  readonly sources?: MetricSources;
  /** Whether CPU, memory, event loop and garbage collection of the process are measured too. Absent: yes. */
  readonly process?: boolean;
}

/** Makes the metrics of this process; nothing is shared between two calls. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  const requests = new RequestMetrics();
  const shadow = options.sources?.shadow === undefined ? null : new ShadowMetrics();
  const families = [
    buildInfo(options.version),
    ...requests.families(),
    ...(shadow?.families() ?? []),
    ...sourceFamilies(options.sources ?? {}),
  ];
  for (const family of families) registerFamily(registry, family);
  if (options.process ?? true) collectDefaultMetrics({ register: registry });
  return {
    observe: (evidence, finishedAt) => {
      requests.observe(evidence, finishedAt - evidence.receivedAt);
      shadow?.observe(evidence);
    },
    snapshot: () => registry.getMetricsAsJSON(),
    render: () => render(registry),
  };
}

/** The metrics of a program that is no gateway: its own families, and those of the process. */
export function createFamilyMetrics(version: string, families: readonly MetricFamily[]): Pick<Metrics, 'render'> {
  const registry = new Registry();
  for (const family of [buildInfo(version), ...families]) registerFamily(registry, family);
  collectDefaultMetrics({ register: registry });
  return { render: () => render(registry) };
}

/** The metrics of several processes as one: counters and sizes summed, states at their worst. */
export function aggregateMetrics(snapshots: readonly MetricsSnapshot[]): Promise<RenderedMetrics> {
  return render(AggregatorRegistry.aggregate([...snapshots]));
}

async function render(registry: Registry): Promise<RenderedMetrics> {
  return { contentType: registry.contentType, body: await registry.metrics() };
}

function buildInfo(version: string): MetricFamily {
  return {
    name: 'sallyport_build_info',
    help: 'Version of the program and of Node.js; always 1.',
    type: 'gauge',
    aggregation: 'max',
    samples: () => [{ labels: { version, node_version: nodeVersion }, value: 1 }],
  };
}
