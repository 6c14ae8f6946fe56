import type { Aggregation, MetricFamily, Sample } from './metric_family.ts';
import { type ShadowState, shadowStateFamilies } from './shadow_metrics.ts';

/** Where the state of the gateway's parts is read, each time somebody asks for the metrics. What is absent is not shown. */
export interface MetricSources {
  /** Caches by name. */
  readonly caches?: () => Readonly<Record<string, CacheState>>;
  /** One for each class of replay protection that a route has. */
  readonly replay?: () => readonly ReplayState[];
  /** Where jobs can end before their tokens. */
  readonly endedJobs?: () => EndedJobsState;
  readonly policy?: () => PolicyState;
  /** The candidate policy, where one is configured. */
  readonly shadow?: () => ShadowState;
  /** The bundles that the policy is made of. */
  readonly bundles?: () => readonly BundleMetricsState[];
  readonly records?: () => RecordsState;
  /** Open connections of callers. */
  readonly connections?: () => number;
  /** Refusals that wait for their turn. */
  readonly refusals?: () => number;
  readonly underWay?: () => UnderWayState;
  readonly workers?: () => WorkersState;
}

/** What is under way towards upstreams. */
export interface UnderWayState {
  readonly exchanges: number;
  readonly upgrades: number;
}

/** Counts since start. */
export interface CacheState {
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
}

/** A store of used proofs; counts since start. */
export interface ReplayState {
  readonly kind: string;
  readonly up: boolean;
  /** Null where another program holds the keys. */
  readonly entries: number | null;
  readonly first: number;
  readonly used: number;
  readonly unavailable: number;
  /** How often used proofs may have been forgotten. */
  readonly losses: number;
}

/** The keys of ended jobs; counts since start. */
export interface EndedJobsState {
  readonly kind: string;
  readonly up: boolean;
  readonly entries: number;
  readonly refused: number;
  readonly unavailable: number;
  /** How often the store may have forgotten keys. */
  readonly losses: number;
}

/** The policy that decides, and how often it was replaced or could not be; counts since start. */
export interface PolicyState {
  readonly revision: string;
  /** Milliseconds since the Unix epoch. */
  readonly activatedAt: number;
  readonly activations: number;
  readonly failures: number;
}

/** One bundle of the policy; counts since start. */
export interface BundleMetricsState {
  readonly name: string;
  /** Null while there is none in use. */
  readonly revision: string | null;
  /** Null when the newest one is in use. */
  readonly problem: string | null;
  /** Milliseconds since the Unix epoch; null before the first. */
  readonly lastSuccessfulRequest: number | null;
  readonly counts: { readonly fresh: number; readonly unchanged: number; readonly failed: number };
  readonly activations: number;
  readonly refusals: number;
}

/** The records of requests; counts since start. */
export interface RecordsState {
  readonly available: boolean;
  /** Refusals counted in a summary record, since no more could be kept one by one. */
  readonly summarized: number;
  readonly sinks: readonly SinkState[];
}

/** One place where records go. */
export interface SinkState {
  readonly name: string;
  readonly up: boolean;
  /** Records in memory, not yet written. */
  readonly queued: number;
  readonly written: number;
  /** Records that went through the spool file. */
  readonly spooled: number;
  /** Writes that failed; each was tried again. */
  readonly failures: number;
}

/** The worker processes. */
export interface WorkersState {
  readonly configured: number;
  /** Those that take requests. */
  readonly ready: number;
  /** How many ended without being told to, since start. */
  readonly unexpectedEnds: number;
}

const summed = gauge('sum');
const least = gauge('min');
const most = gauge('max');

/** The families of the sources that there are. */
export function sourceFamilies(sources: MetricSources): MetricFamily[] {
  const { caches, replay, endedJobs, policy, shadow, bundles, records, connections, refusals, underWay, workers } =
    sources;
  return [
    ...(caches === undefined ? [] : cacheFamilies(caches)),
    ...(replay === undefined ? [] : replayFamilies(replay)),
    ...(endedJobs === undefined ? [] : endedJobsFamilies(endedJobs)),
    ...(policy === undefined ? [] : policyFamilies(policy)),
    ...(shadow === undefined ? [] : shadowStateFamilies(shadow)),
    ...(bundles === undefined ? [] : bundleFamilies(bundles)),
    ...(records === undefined ? [] : recordFamilies(records)),
    ...(connections === undefined
      ? []
      : [summed('sallyport_connections', 'Open connections of callers.', () => one(connections()))]),
    ...(refusals === undefined ? [] : [refusalFamily(refusals)]),
    ...(underWay === undefined ? [] : [underWayFamily(underWay)]),
    ...(workers === undefined ? [] : workerFamilies(workers)),
  ];
}

function refusalFamily(waiting: () => number): MetricFamily {
  return summed(
    'sallyport_refusals_waiting',
    'Refusals that wait, so that a flood of them takes no time from requests that are let through.',
    () => one(waiting()),
  );
}

function underWayFamily(state: () => UnderWayState): MetricFamily {
  return summed(
    'sallyport_under_way',
    'Requests that were sent to an upstream and are not over, answers that last included, and open WebSockets.',
    () => {
      const { exchanges: request, upgrades: websocket } = state();
      return Object.entries({ request, websocket }).map(([kind, value]) => ({ labels: { kind }, value }));
    },
  );
}

function cacheFamilies(caches: () => Readonly<Record<string, CacheState>>): MetricFamily[] {
  const each = (value: (state: CacheState) => number) => () =>
    Object.entries(caches()).map(([cache, state]) => ({ labels: { cache }, value: value(state) }));
  return [
    summed(
      'sallyport_cache_entries',
      'Entries of a cache.',
      each((state) => state.entries),
    ),
    counter(
      'sallyport_cache_hits_total',
      'Look-ups that a cache answered.',
      each((state) => state.hits),
    ),
    counter(
      'sallyport_cache_misses_total',
      'Look-ups that a cache could not answer.',
      each((state) => state.misses),
    ),
  ];
}

function replayFamilies(replay: () => readonly ReplayState[]): MetricFamily[] {
  const labelled = (value: (state: ReplayState) => number) => () =>
    replay().map((state) => ({ labels: { store: state.kind }, value: value(state) }));
  return [
    counter(
      'sallyport_replay_claims_total',
      'Claims on the single use of a proof, by outcome. store: how it is kept (memory, redis, node_nonce, or window_only, where every claim is the first).',
      () =>
        replay().flatMap(({ kind: store, first, used, unavailable }) =>
          Object.entries({ first, used, unavailable }).map(([outcome, value]) => ({
            labels: { store, outcome },
            value,
          })),
        ),
    ),
    least(
      'sallyport_replay_store_up',
      'Whether claims can be answered.',
      labelled((state) => Number(state.up)),
    ),
    summed('sallyport_replay_entries', 'Used proofs that are remembered in this program.', () =>
      replay().flatMap(({ kind: store, entries }) => (entries === null ? [] : [{ labels: { store }, value: entries }])),
    ),
    counter(
      'sallyport_replay_losses_total',
      'How often used proofs may have been forgotten, so that older ones were refused for a while.',
      labelled((state) => state.losses),
    ),
  ];
}

function endedJobsFamilies(state: () => EndedJobsState): MetricFamily[] {
  const labelled = (value: (state: EndedJobsState) => number) => () => {
    const seen = state();
    return [{ labels: { store: seen.kind }, value: value(seen) }];
  };
  return [
    most(
      'sallyport_ended_job_keys',
      'Keys of ended jobs that are remembered until their tokens have expired.',
      labelled(({ entries }) => entries),
    ),
    least(
      'sallyport_ended_jobs_up',
      'Whether it is known which jobs have ended; if not, requests are refused.',
      labelled(({ up }) => Number(up)),
    ),
    counter(
      'sallyport_ended_job_refusals_total',
      'Tokens refused: their job has ended, or that could not be known.',
      () => {
        const { kind: store, refused: ended, unavailable } = state();
        return Object.entries({ ended, unavailable }).map(([outcome, value]) => ({
          labels: { store, outcome },
          value,
        }));
      },
    ),
    counter(
      'sallyport_ended_jobs_losses_total',
      'How often the shared list had lost keys, which were written again.',
      labelled(({ losses }) => losses),
    ),
  ];
}

function policyFamilies(policy: () => PolicyState): MetricFamily[] {
  return [
    most('sallyport_policy_info', 'Revision of the policy that decides; always 1.', () => [
      { labels: { revision: policy().revision }, value: 1 },
    ]),
    least(
      'sallyport_policy_activated_timestamp_seconds',
      'When the policy that decides was put in place; of several processes the earliest.',
      () => one(policy().activatedAt / 1000),
    ),
    {
      // Every process counts them; the one that compiles for all sees each of them, and is never replaced.
      ...counter('sallyport_policy_reloads_total', 'Policies put in place, and policies refused.', () => {
        const { activations: success, failures: failure } = policy();
        return Object.entries({ success, failure }).map(([outcome, value]) => ({ labels: { outcome }, value }));
      }),
      aggregation: 'max',
    },
  ];
}

function bundleFamilies(bundles: () => readonly BundleMetricsState[]): MetricFamily[] {
  const outcomes = (of: (state: BundleMetricsState) => Readonly<Record<string, number>>) => () =>
    bundles().flatMap((state) =>
      Object.entries(of(state)).map(([outcome, value]) => ({ labels: { bundle: state.name, outcome }, value })),
    );
  return [
    most('sallyport_bundle_info', 'Revision of each bundle that is in use; always 1.', () =>
      bundles().flatMap(({ name: bundle, revision }) =>
        revision === null ? [] : [{ labels: { bundle, revision: revision.slice(0, 256) }, value: 1 }],
      ),
    ),
    least('sallyport_bundle_up', 'Whether the newest bundle was had and is in use.', () =>
      bundles().map(({ name: bundle, problem }) => ({ labels: { bundle }, value: Number(problem === null) })),
    ),
    least(
      'sallyport_bundle_last_success_timestamp_seconds',
      'When a bundle, or the word that there is nothing new, was last had from its source.',
      () =>
        bundles().flatMap(({ name: bundle, lastSuccessfulRequest: at }) =>
          at === null ? [] : [{ labels: { bundle }, value: at / 1000 }],
        ),
    ),
    counter(
      'sallyport_bundle_requests_total',
      'Answers of services that were asked for bundles: fresh, unchanged or failed.',
      outcomes(({ counts: { fresh, unchanged, failed } }) => ({ fresh, unchanged, failed })),
    ),
    counter(
      'sallyport_bundle_activations_total',
      'Bundles taken into use, and bundles refused.',
      outcomes(({ activations: success, refusals: failure }) => ({ success, failure })),
    ),
  ];
}

function recordFamilies(records: () => RecordsState): MetricFamily[] {
  const sinks = (value: (state: SinkState) => number) => () =>
    records().sinks.map((state) => ({ labels: { sink: state.name }, value: value(state) }));
  return [
    least('sallyport_records_available', 'Whether records can be kept; if not, requests are refused.', () =>
      one(Number(records().available)),
    ),
    counter('sallyport_records_summarized_total', 'Refusals counted in a summary record instead of one each.', () =>
      one(records().summarized),
    ),
    least(
      'sallyport_record_sink_up',
      'Whether a sink takes records.',
      sinks((state) => Number(state.up)),
    ),
    summed(
      'sallyport_records_queued',
      'Records in memory, not yet written.',
      sinks((state) => state.queued),
    ),
    counter(
      'sallyport_records_written_total',
      'Records written to a sink.',
      sinks((state) => state.written),
    ),
    counter(
      'sallyport_records_spooled_total',
      'Records that waited in the spool file.',
      sinks((state) => state.spooled),
    ),
    counter(
      'sallyport_record_write_failures_total',
      'Writes to a sink that failed and were tried again.',
      sinks((state) => state.failures),
    ),
  ];
}

function workerFamilies(workers: () => WorkersState): MetricFamily[] {
  return [
    summed('sallyport_workers_configured', 'Worker processes that there should be.', () => one(workers().configured)),
    summed('sallyport_workers_ready', 'Worker processes that take requests.', () => one(workers().ready)),
    counter('sallyport_worker_unexpected_ends_total', 'Worker processes that ended without being told to.', () =>
      one(workers().unexpectedEnds),
    ),
  ];
}

function counter(name: string, help: string, samples: () => readonly Sample[]): MetricFamily {
  return { name, help, type: 'counter', samples };
}

function gauge(aggregation: Aggregation) {
  return (name: string, help: string, samples: () => readonly Sample[]): MetricFamily => ({
    name,
    help,
    type: 'gauge',
    aggregation,
    samples,
  });
}

function one(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}
