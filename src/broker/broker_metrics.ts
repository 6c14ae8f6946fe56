import type { MetricFamily, Sample } from '../telemetry/metric_family.ts';
import type { BrokerParts } from './parts.ts';

/** What the families read. */
type Measured = Pick<
  BrokerParts,
  'server' | 'workflows' | 'clients' | 'issuer' | 'tokens' | 'jobs' | 'ends' | 'endings'
>;

/** The metrics of a broker. Labels are bounded: outcomes are a closed list, names come from the configuration. */
export function brokerFamilies({
  server,
  workflows,
  clients,
  issuer,
  tokens,
  jobs,
  ends,
  endings,
}: Measured): MetricFamily[] {
  const sinks = (value: (state: { up: boolean; owed: number }) => number) => () =>
    endings.state().map((state) => ({ labels: { to: state.name }, value: value(state) }));
  return [
    counter(
      'sallyport_broker_token_requests_total',
      'Token requests by outcome: issued, or the reason of the refusal.',
      () => [...tokens.counts].map(([outcome, value]) => ({ labels: { outcome }, value })),
    ),
    gauge('sallyport_broker_requests_under_way', 'Token requests under way.', () => one(tokens.size)),
    gauge('sallyport_broker_authserver_requests', 'Requests to the authorization server under way.', () =>
      one(issuer.queue.running),
    ),
    gauge('sallyport_broker_queue_length', 'Token requests that wait for their turn.', () => one(issuer.queue.waiting)),
    gauge('sallyport_broker_authserver_known', 'Whether the metadata of the authorization server was read.', () =>
      one(Number(server.endpoints !== null)),
    ),
    gauge('sallyport_broker_workflows', 'Workflows that are configured.', () => one(workflows.all.length)),
    gauge('sallyport_broker_clients_usable', 'Workflows that have a client at the authorization server.', () =>
      one(clients.usable),
    ),
    gauge('sallyport_broker_workflows_refused', 'Whether the file of workflows as it is now was refused.', () =>
      one(Number(workflows.problem !== null)),
    ),
    gauge('sallyport_broker_jobs_live', 'Jobs that got a token and have not ended.', () => one(jobs.live)),
    counter(
      'sallyport_broker_jobs_ended_total',
      'Jobs that ended: by themselves, by the engine, or at their deadline.',
      () => Object.entries(ends.counts).map(([by, value]) => ({ labels: { by }, value })),
    ),
    gauge(
      'sallyport_broker_endings_owed',
      'Keys of ended jobs that somebody was not told yet.',
      sinks(({ owed }) => owed),
    ),
    gauge(
      'sallyport_broker_endings_up',
      'Whether those who must hear of ended jobs answer.',
      sinks(({ up }) => Number(up)),
    ),
  ];
}

function counter(name: string, help: string, samples: () => readonly Sample[]): MetricFamily {
  return { name, help, type: 'counter', samples };
}

function gauge(name: string, help: string, samples: () => readonly Sample[]): MetricFamily {
  return { name, help, type: 'gauge', aggregation: 'sum', samples };
}

function one(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}
