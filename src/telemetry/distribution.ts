import type { Sample } from './metric_family.ts';

/** Upper bounds in seconds: from the tens of microseconds that a check takes to the half minute that an upstream may. */
const BOUNDS: readonly number[] = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  5, 10, 30,
];

/** How long something took, counted by upper bounds. */
export class Distribution {
  readonly #counts = new Float64Array(BOUNDS.length + 1);
  #sum = 0;

  /** Counts one duration in seconds. */
  observe(seconds: number): void {
    let index = 0;
    while (index < BOUNDS.length && seconds > (BOUNDS[index] as number)) index++;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sum += seconds;
  }

  /** The cumulative buckets, sum and count of a Prometheus histogram. */
  samples(name: string, labels: Readonly<Record<string, string>>): Sample[] {
    let count = 0;
    const buckets = [...this.#counts].map((own, index) => {
      count += own;
      const le = index < BOUNDS.length ? String(BOUNDS[index]) : '+Inf';
      return { labels: { ...labels, le }, value: count, metricName: `${name}_bucket` };
    });
    return [
      ...buckets,
      { labels, value: this.#sum, metricName: `${name}_sum` },
      { labels, value: count, metricName: `${name}_count` },
    ];
  }
}
