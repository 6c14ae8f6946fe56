import type { MetricFamily, Sample } from '../telemetry/metric_family.ts';

/** What an authorization server counts. Every label comes from a closed list: endpoints, grants, errors of RFC 6749 and its extensions. */
export class AuthServerCounts {
  readonly #requests = new Map<string, Sample>();
  readonly #issued = new Map<string, Sample>();
  readonly #refused = new Map<string, Sample>();
  /** Times that the last writes of the storage may have been lost. */
  storageLosses = 0;
  /** Whether the storage answered when it was asked last. */
  storageUp = true;

  /** A request that was answered. */
  request(endpoint: string, status: number): void {
    count(this.#requests, { endpoint, status: String(status) });
  }

  /** A token that was issued. */
  issued(labels: { readonly grantType: string; readonly binding: string; readonly format: string }): void {
    count(this.#issued, { grant_type: labels.grantType, binding: labels.binding, format: labels.format });
  }

  /** A request for or about a token that was refused. */
  refused(endpoint: string, error: string): void {
    count(this.#refused, { endpoint, error });
  }

  /** What was counted. */
  get samples() {
    return {
      requests: [...this.#requests.values()],
      issued: [...this.#issued.values()],
      refused: [...this.#refused.values()],
    };
  }
}

/** The metrics of an authorization server. */
export function authserverFamilies(counts: AuthServerCounts): MetricFamily[] {
  return [
    counter('sallyport_authserver_requests_total', 'Requests by endpoint and status.', () => counts.samples.requests),
    counter(
      'sallyport_authserver_tokens_issued_total',
      'Access tokens that were issued, by grant, by what they are bound to (dpop, certificate, both) and by format.',
      () => counts.samples.issued,
    ),
    counter(
      'sallyport_authserver_refusals_total',
      'Requests to the token, introspection and revocation endpoints that were refused, by error.',
      () => counts.samples.refused,
    ),
    counter(
      'sallyport_authserver_storage_losses_total',
      'Times that the last writes of the storage may have been lost.',
      () => [{ labels: {}, value: counts.storageLosses }],
    ),
    {
      name: 'sallyport_authserver_storage_up',
      help: 'Whether the storage answers.',
      type: 'gauge',
      aggregation: 'min',
      samples: () => [{ labels: {}, value: Number(counts.storageUp) }],
    },
  ];
}

function counter(name: string, help: string, samples: () => readonly Sample[]): MetricFamily {
  return { name, help, type: 'counter', samples };
}

function count(samples: Map<string, Sample>, labels: Record<string, string>): void {
  const key = Object.values(labels).join(' ');
  samples.set(key, { labels, value: (samples.get(key)?.value ?? 0) + 1 });
}
