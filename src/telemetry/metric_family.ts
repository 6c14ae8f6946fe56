import type { Metric, Registry } from 'prom-client';

/** How the values of several processes become one: summed where nothing else is said. */
export type Aggregation = 'sum' | 'min' | 'max';

/** One line of the exposition: labels and a value; `metricName` where it differs from the family's, as in histograms. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly metricName?: string;
}

/** A metric whose values are kept elsewhere and read when somebody asks. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly aggregation?: Aggregation;
  samples(): readonly Sample[];
}

/**
 * Registers a family that counts nothing itself. prom-client's own counters look their labels up in a table on each increment (about a
 * microsecond); the hot path increments plain numbers instead, and prom-client only writes, aggregates and escapes them.
 */
export function registerFamily(registry: Registry, family: MetricFamily): void {
  const { name, help, type, aggregation } = family;
  const metric = {
    name,
    get: () => Promise.resolve({ name, help, type, aggregator: aggregation ?? 'sum', values: family.samples() }),
  };
  // The registry asks no more of a metric than a name and get(); its aggregated registries are made of such objects too.
  registry.registerMetric(metric as unknown as Metric);
}
