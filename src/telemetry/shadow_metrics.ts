import type { Evidence } from '../kernel/context.ts';
import { Distribution } from './distribution.ts';
import type { MetricFamily } from './metric_family.ts';

/** The candidate policy; counts since start. */
export interface ShadowState {
  /** Null while there is none. */
  readonly revision: string | null;
  /** Candidates that could not be used. */
  readonly failures: number;
  /** Requests that it should have judged and could not: it was too slow, or its thread had ended. */
  readonly skipped: number;
  /** Why the newest candidate was not taken; null when it judges. */
  readonly pendingFailure: string | null;
}

/** Series of differences per process; the words of policies are their own, so what is beyond that is counted together. */
const SERIES_LIMIT = 500;
const OTHER = 'other';

/** Counts what a candidate policy said of requests that the live one decided. */
export class ShadowMetrics {
  readonly #differences = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();
  readonly #seconds = new Distribution();
  #judged = 0;

  observe({ shadow, context }: Evidence): void {
    if (shadow === undefined) return;
    this.#judged++;
    this.#seconds.observe(shadow.milliseconds / 1000);
    if (shadow.difference === 'none') return;
    const { difference, live, candidate } = shadow;
    const operation = context?.operation?.name ?? 'none';
    const route = context?.route.name ?? 'none';
    const series = this.#series({ route, operation, difference, live, candidate });
    series.value++;
  }

  families(): MetricFamily[] {
    const seconds = 'sallyport_shadow_seconds';
    return [
      {
        name: 'sallyport_shadow_judged_total',
        help: 'Requests that the candidate policy judged too.',
        type: 'counter',
        samples: () => [{ labels: {}, value: this.#judged }],
      },
      {
        name: 'sallyport_shadow_differences_total',
        help: 'Requests that the candidate policy judged differently: allows, refuses, reasons, requires, obligations or fails. live and candidate: allow, or the first reason code of that policy, or else the reason of the gateway.',
        type: 'counter',
        samples: () => [...this.#differences.values()],
      },
      {
        name: seconds,
        help: 'Seconds of an evaluation of the candidate policy, in a thread of its own.',
        type: 'histogram',
        samples: () => this.#seconds.samples(seconds, {}),
      },
    ];
  }

  #series(labels: Readonly<Record<string, string>>): { value: number } {
    const key = Object.values(labels).join('\n');
    let series = this.#differences.get(key);
    if (series !== undefined) return series;
    if (this.#differences.size >= SERIES_LIMIT && labels['operation'] !== OTHER) {
      const { difference = OTHER } = labels;
      return this.#series({ route: OTHER, operation: OTHER, difference, live: OTHER, candidate: OTHER });
    }
    series = { labels, value: 0 };
    this.#differences.set(key, series);
    return series;
  }
}

/** The state of the candidate, each time somebody asks. */
export function shadowStateFamilies(state: () => ShadowState): MetricFamily[] {
  return [
    {
      name: 'sallyport_shadow_info',
      help: 'Revision of the candidate policy; always 1.',
      type: 'gauge',
      aggregation: 'max',
      samples: () => {
        const { revision } = state();
        return revision === null ? [] : [{ labels: { revision }, value: 1 }];
      },
    },
    {
      name: 'sallyport_shadow_failures_total',
      help: 'Candidate policies that could not be used.',
      type: 'counter',
      aggregation: 'max',
      samples: () => [{ labels: {}, value: state().failures }],
    },
    {
      name: 'sallyport_shadow_skipped_total',
      help: 'Requests that the candidate policy should have judged and could not: it was too slow, or its thread had ended.',
      type: 'counter',
      samples: () => [{ labels: {}, value: state().skipped }],
    },
  ];
}
