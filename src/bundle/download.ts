import { setTimeout as sleep } from 'node:timers/promises';
import type { PollingConfig } from '../config/policy_schema.ts';
import type { Service } from '../control_plane/service.ts';

/** What came of one request. */
export type DownloadOutcome =
  | { readonly kind: 'fresh'; readonly bytes: Buffer; readonly etag: string }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'failed'; readonly problem: string; readonly status: number };

/** How one bundle is fetched. */
export interface DownloadOptions {
  readonly service: Service;
  /** Path below the URL of the service. */
  readonly resource: string;
  readonly polling: PollingConfig;
  /** Bytes of the bundle as it comes. */
  readonly maxBytes: number;
  /** Whether changes to the bundle before may come in place of a whole one. */
  readonly deltas: boolean;
  /** Takes what came of a request. @returns false when a bundle that came could not be used */
  readonly take: (outcome: DownloadOutcome) => Promise<boolean>;
}

/** The content type by which a service says that it can hold answers back until there is something new. */
const LONG_POLLING = 'application/vnd.openpolicyagent.bundles';
/** Milliseconds before the first attempt after a failure, and by how much each further one is later. */
const BACK_OFF = { firstMs: 100, factor: 1.6, jitter: 0.2 } as const;
/** Milliseconds between two long polls: a service that does not hold its answers back is not asked all the time. */
const LONG_POLL_PAUSE_MS = 100;

/** Asks one service for one bundle, again and again (OPA bundle API). */
export class BundleDownload {
  readonly #options: DownloadOptions;
  readonly #end = new AbortController();
  #etag: string;
  #longPolling: boolean;
  #failures = 0;
  #wake: AbortController | null = null;
  #running: Promise<void> | null = null;

  /** @param etag of the bundle that is in use already; empty where there is none */
  constructor(options: DownloadOptions, etag: string) {
    this.#options = options;
    this.#etag = etag;
    this.#longPolling = options.polling.long_polling_seconds !== undefined;
  }

  /** Begins at once. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Asks now instead of when it would be time. */
  hurry(): void {
    this.#wake?.abort();
  }

  /** Forgets what it has, so that the whole bundle comes again. */
  forget(): void {
    this.#etag = '';
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const good = await this.#once();
      if (this.#end.signal.aborted) return;
      await this.#pause(this.#delayMs(good));
    }
  }

  async #pause(ms: number): Promise<void> {
    this.#wake = new AbortController();
    const signal = AbortSignal.any([this.#wake.signal, this.#end.signal]);
    await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
    this.#wake = null;
  }

  /** One request. Whatever went wrong, what is in use is not what the service last gave: the ETag is forgotten. @returns whether all went well */
  async #once(): Promise<boolean> {
    const outcome = await this.#ask();
    if (this.#end.signal.aborted) return false;
    const good = (await this.#options.take(outcome)) && outcome.kind !== 'failed';
    if (!good) this.#etag = '';
    else if (outcome.kind === 'fresh') this.#etag = outcome.etag;
    this.#failures = good ? 0 : this.#failures + 1;
    return good;
  }

  async #ask(): Promise<DownloadOutcome> {
    const { service, resource, polling, maxBytes, deltas } = this.#options;
    const wait = this.#longPolling ? (polling.long_polling_seconds ?? 0) : 0;
    const modes = deltas ? 'modes=snapshot,delta' : 'modes=snapshot';
    const headers = { 'if-none-match': this.#etag, prefer: wait > 0 ? `${modes};wait=${wait}` : modes };
    const request = { method: 'GET', path: resource, headers, maxBytes, waitMs: wait * 1000 } as const;
    const answer = await service.send({ ...request, signal: this.#end.signal });
    const from = service.urlOf(resource);
    if (!answer.ok) return { kind: 'failed', problem: `${from} ${answer.problem}`, status: 0 };
    const { status, headers: fields, body } = answer;
    if (status === 304) return this.#unchanged(fields.etag);
    if (status !== 200) return { kind: 'failed', problem: `${from} answered with status ${status}`, status };
    this.#longPolling = fields['content-type']?.split(';')[0]?.trim().toLowerCase() === LONG_POLLING;
    return { kind: 'fresh', bytes: body, etag: fields.etag ?? '' };
  }

  /** Only to somebody who has something can nothing be new. */
  #unchanged(etag: string | undefined): DownloadOutcome {
    if (this.#etag !== '') {
      this.#etag = etag ?? this.#etag;
      return { kind: 'unchanged' };
    }
    const { service, resource } = this.#options;
    const problem = `${service.urlOf(resource)} answered with status 304 to a request for whatever there is`;
    return { kind: 'failed', problem, status: 304 };
  }

  #delayMs(good: boolean): number {
    const { min_seconds: min, max_seconds: max } = this.#options.polling;
    if (!good) return backOffMs(this.#failures - 1, max * 1000);
    if (this.#longPolling) return LONG_POLL_PAUSE_MS;
    return (min + (max - min) * Math.random()) * 1000;
  }
}

/** Milliseconds to wait after a failure, as OPA does: more each time, a little by chance, never more than `mostMs`. */
export function backOffMs(retries: number, mostMs: number): number {
  const exact = Math.min(BACK_OFF.firstMs * BACK_OFF.factor ** retries, mostMs);
  return Math.min(exact * (1 + BACK_OFF.jitter * (2 * Math.random() - 1)), mostMs);
}
