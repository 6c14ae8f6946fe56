import type { Log } from '../telemetry/log.ts';
import type { Service } from './service.ts';

/** Milliseconds within which several things that happen are one report. */
const COLLECT_MS = 500;
/** Milliseconds until a report that was not taken is tried again. */
const RETRY_MS = 10_000;
const ANSWER_LIMIT_BYTES = 65_536;

/** What reports are made with. */
export interface StatusReportsParts {
  readonly service: Service;
  readonly partition?: string | undefined;
  /** What is reported, read when a report is sent. */
  readonly status: () => object;
  readonly log: Log;
}

/** Tells a control plane what is in use here and what went wrong (OPA status API). */
export class StatusReports {
  readonly #parts: StatusReportsParts;
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> = Promise.resolve();
  #failing = false;
  #closed = false;

  constructor(parts: StatusReportsParts) {
    this.#parts = parts;
  }

  /** Something happened: it is reported soon. */
  changed(afterMs: number = COLLECT_MS): void {
    if (this.#closed || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#sending = this.#sending.then(() => this.#send());
    }, afterMs).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#sending;
  }

  async #send(): Promise<void> {
    if (this.#closed) return;
    const { service, partition, status, log } = this.#parts;
    const path = partition === undefined ? 'status' : `status/${partition}`;
    const headers = { 'content-type': 'application/json' };
    const body = Buffer.from(JSON.stringify(status()));
    const answer = await service.send({ method: 'POST', path, headers, body, maxBytes: ANSWER_LIMIT_BYTES });
    const good = answer.ok && answer.status >= 200 && answer.status < 300;
    if (!good) this.changed(RETRY_MS);
    if (good !== this.#failing) return;
    this.#failing = !good;
    const why = answer.ok ? `answered with status ${answer.status}` : answer.problem;
    if (good) log.info({ service: service.name }, 'status reports are taken again');
    else log.error({ service: service.name, why }, 'a status report was not taken; it is sent again');
  }
}
