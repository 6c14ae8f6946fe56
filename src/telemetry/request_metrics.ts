import type { Evidence } from '../kernel/context.ts';
import { Distribution } from './distribution.ts';
import type { MetricFamily, Sample } from './metric_family.ts';

const STAGES = ['request', 'token', 'proof', 'policy', 'forward'] as const;
const STATUS_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** Label value where there is no route, operation or reason. */
const NONE = 'none';
/** Label value of operations past the limit. */
const OTHER = 'other';
/** Pairs of route and operation that are counted apart, per process; the rest is counted together. */
const OPERATIONS_LIMIT = 2000;

/** Requests by reason; for each reason one number for each status class. */
type ByReason = Map<string, Float64Array>;

/** What was exchanged with the upstream of one route. */
interface UpstreamCounts {
  readonly responses: Float64Array;
  requestBytes: number;
  responseBytes: number;
  incomplete: number;
}

/**
 * Counts finished requests. The labels are bounded: routes and operations come from the configuration, reasons from the closed list, and an
 * operation counts only once its caller has shown a valid token, so nobody without one can make series.
 */
export class RequestMetrics {
  readonly #byRoute = new Map<string, Map<string, ByReason>>();
  readonly #upstreams = new Map<string, UpstreamCounts>();
  readonly #stages = STAGES.map(() => new Distribution());
  readonly #total = new Distribution();
  #operations = 0;

  /** @param milliseconds from the arrival of the request to its end */
  observe(evidence: Evidence, milliseconds: number): void {
    const route = (evidence.context?.route ?? evidence.route)?.name ?? NONE;
    const operation = evidence.token === undefined ? NONE : (evidence.context?.operation?.name ?? NONE);
    increment(this.#reasons(route, operation), evidence.denial?.reason ?? NONE, evidence.status);
    if (evidence.upstream !== undefined) countUpstream(this.#upstreams, route, evidence.upstream);
    const { timings } = evidence;
    for (let index = 0; index < STAGES.length; index++) {
      const spent = timings[STAGES[index] as (typeof STAGES)[number]];
      // A stage that was not reached took no time at all, and would only push the quantiles down.
      if (spent > 0) this.#stages[index]?.observe(spent / 1000);
    }
    this.#total.observe(milliseconds > 0 ? milliseconds / 1000 : 0);
  }

  families(): MetricFamily[] {
    const stageSeconds = 'sallyport_stage_seconds';
    const totalSeconds = 'sallyport_request_seconds';
    return [
      {
        name: 'sallyport_requests_total',
        help: 'Finished requests. operation is none until the token was found valid; reason is none for requests that were let through.',
        type: 'counter',
        samples: () => this.#requestSamples(),
      },
      {
        name: stageSeconds,
        help: 'Seconds spent in each stage, by requests that reached it.',
        type: 'histogram',
        samples: () => STAGES.flatMap((stage, index) => this.#stages[index]?.samples(stageSeconds, { stage }) ?? []),
      },
      {
        name: totalSeconds,
        help: 'Seconds from the arrival of a request to its end, the upstream included.',
        type: 'histogram',
        samples: () => this.#total.samples(totalSeconds, {}),
      },
      ...this.#upstreamFamilies(),
    ];
  }

  #reasons(route: string, operation: string): ByReason {
    let operations = this.#byRoute.get(route);
    if (operations === undefined) {
      operations = new Map();
      this.#byRoute.set(route, operations);
    }
    const known = operations.get(operation);
    if (known !== undefined) return known;
    if (this.#operations >= OPERATIONS_LIMIT && operation !== NONE && operation !== OTHER)
      return this.#reasons(route, OTHER);
    this.#operations++;
    const reasons: ByReason = new Map();
    operations.set(operation, reasons);
    return reasons;
  }

  #requestSamples(): Sample[] {
    const samples: Sample[] = [];
    for (const [route, operations] of this.#byRoute) {
      for (const [operation, reasons] of operations) {
        for (const [reason, counts] of reasons) {
          STATUS_CLASSES.forEach((status_class, index) => {
            const value = counts[index] ?? 0;
            if (value > 0) samples.push({ labels: { route, operation, reason, status_class }, value });
          });
        }
      }
    }
    return samples;
  }

  #upstreamFamilies(): MetricFamily[] {
    const family = (name: string, help: string, value: (counts: UpstreamCounts) => number): MetricFamily => ({
      name,
      help,
      type: 'counter',
      samples: () => [...this.#upstreams].map(([route, counts]) => ({ labels: { route }, value: value(counts) })),
    });
    return [
      {
        name: 'sallyport_upstream_responses_total',
        help: 'Answers of the upstream by status class; none: no answer came.',
        type: 'counter',
        samples: () => this.#upstreamSamples(),
      },
      family('sallyport_upstream_request_bytes_total', 'Bytes of body sent upstream.', (counts) => counts.requestBytes),
      family(
        'sallyport_upstream_response_bytes_total',
        'Bytes of body received from the upstream.',
        (counts) => counts.responseBytes,
      ),
      family(
        'sallyport_upstream_incomplete_total',
        'Exchanges with the upstream whose answer was not passed on to its end.',
        (counts) => counts.incomplete,
      ),
    ];
  }

  #upstreamSamples(): Sample[] {
    return [...this.#upstreams].flatMap(([route, { responses }]) =>
      STATUS_CLASSES.flatMap((status_class, index) => {
        const value = responses[index] ?? 0;
        return value > 0 ? [{ labels: { route, status_class }, value }] : [];
      }),
    );
  }
}

function increment(reasons: ByReason, reason: string, status: number): void {
  let counts = reasons.get(reason);
  if (counts === undefined) {
    counts = new Float64Array(STATUS_CLASSES.length);
    reasons.set(reason, counts);
  }
  addOne(counts, status);
}

function addOne(counts: Float64Array, status: number): void {
  const index = status >= 100 && status < 600 ? Math.trunc(status / 100) : 0;
  counts[index] = (counts[index] as number) + 1;
}

function countUpstream(
  upstreams: Map<string, UpstreamCounts>,
  route: string,
  upstream: NonNullable<Evidence['upstream']>,
): void {
  let counts = upstreams.get(route);
  if (counts === undefined) {
    counts = {
      responses: new Float64Array(STATUS_CLASSES.length),
      requestBytes: 0,
      responseBytes: 0,
      incomplete: 0,
    };
    upstreams.set(route, counts);
  }
  addOne(counts.responses, upstream.status);
  counts.requestBytes += upstream.requestBytes;
  counts.responseBytes += upstream.responseBytes;
  if (!upstream.complete) counts.incomplete++;
}
