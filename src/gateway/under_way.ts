import { within } from '../audit/within.ts';
import { Roster } from '../kernel/roster.ts';
import type { Exchange } from './connections.ts';

/** The requests that are being served; each of them has its record still to come. */
export class UnderWay {
  readonly #exchanges = new Roster<Exchange>();
  readonly #none = Promise.withResolvers<void>();
  #stopping = false;

  get size(): number {
    return this.#exchanges.size;
  }

  begin(exchange: Exchange): void {
    this.#exchanges.add(exchange);
    if (this.#stopping) closeAfter(exchange);
  }

  end(exchange: Exchange): void {
    this.#exchanges.delete(exchange);
    this.#tellNone();
  }

  /**
   * From now on answers tell the caller that its connection is closed after them, so that it does not send another request while that
   * happens (RFC 9112 §9.6).
   */
  stop(): void {
    this.#stopping = true;
    for (const exchange of this.#exchanges.all()) closeAfter(exchange);
    this.#tellNone();
  }

  /** After `stop`: waits until every request was recorded, but not longer than `ms` milliseconds. */
  none(ms: number): Promise<void> {
    return within(ms, this.#none.promise);
  }

  #tellNone(): void {
    if (this.#stopping && this.#exchanges.size === 0) this.#none.resolve();
  }
}

function closeAfter({ response }: Exchange): void {
  if (response !== null && !response.headersSent) response.shouldKeepAlive = false;
}
