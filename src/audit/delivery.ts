import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../telemetry/log.ts';
import type { SinkState } from '../telemetry/source_metrics.ts';
import { LineQueue } from './line_queue.ts';
import { countLines, type Sink } from './sink.ts';
import type { Spool } from './spool.ts';
import { within } from './within.ts';

/** Milliseconds that records are collected before they are written together: one write costs as much as several records. */
const COLLECT_MS = 10;
/** Milliseconds until a write that failed is tried again, doubled each time, up to the most. */
const RETRY_MS = { first: 100, most: 5000 } as const;
/** Milliseconds that letting go of sink and spool may take once everything is written or given up. */
const END_MS = 1000;

/** What a delivery is made of. */
export interface DeliveryParts {
  readonly sink: Sink;
  /** Where records wait when the sink does not take them; null: in memory only. */
  readonly spool: Spool | null;
  readonly log: Log;
  /** Milliseconds that records are collected before they are written together. Absent: as long as suits a file. */
  readonly collectMs?: number;
  /** Called when there is room again after the delivery was full. */
  onRoom(): void;
}

/**
 * Brings records to one sink, in order, each once: collected, written whole, and tried again until the sink takes them. While it does not,
 * they wait in memory and, where there is one, in the spool. Nothing is dropped; whoever adds records looks at `full` before.
 *
 * The order of age is always: the batch that is being written, the spool, the queue.
 */
export class Delivery {
  readonly #sink: Sink;
  readonly #spool: Spool | null;
  readonly #log: Log;
  readonly #onRoom: () => void;
  readonly #collectMs: number;
  readonly #queue = new LineQueue();
  /** Taken from the queue, not yet in place. */
  #batch: Buffer | null = null;
  #up = true;
  #spoolUp = true;
  #wasFull = false;
  #running: Promise<void> | null = null;
  #spilling: Promise<void> | null = null;
  #closing = false;
  #givenUp = false;
  #wake: (() => void) | null = null;
  #retryMs: number = RETRY_MS.first;
  #written = 0;
  #spooled = 0;
  #failures = 0;

  constructor(parts: DeliveryParts) {
    this.#sink = parts.sink;
    this.#spool = parts.spool;
    this.#log = parts.log;
    this.#onRoom = parts.onRoom;
    this.#collectMs = parts.collectMs ?? COLLECT_MS;
    if (this.#spool?.empty === false) this.#start();
  }

  /** Whether the last write succeeded. */
  get up(): boolean {
    return this.#up;
  }

  /** Whether no more records should be added, since memory is bounded. */
  get full(): boolean {
    return this.#queue.full;
  }

  /** Adds one line, line end included. */
  add(line: string): void {
    this.#queue.add(line);
    if (this.#queue.full) this.#wasFull = true;
    if (this.#running === null) this.#start();
    else if (!this.#up || this.#queue.filling) this.#spill();
  }

  state(): SinkState {
    return {
      name: this.#sink.name,
      up: this.#up,
      queued: this.#queue.length + this.#inBatch(),
      written: this.#written,
      spooled: this.#spooled,
      failures: this.#failures,
    };
  }

  reopen(): void {
    this.#sink.reopen();
  }

  /**
   * Writes what waits, or leaves it in the spool, and lets go.
   * @param withinMs milliseconds that this may take
   * @returns how many records could neither be written nor spooled
   */
  async close(withinMs: number): Promise<number> {
    this.#closing = true;
    this.#wake?.();
    if (this.#running === null && !this.#queue.empty) this.#start();
    await within(withinMs, this.#running);
    this.#givenUp = true;
    this.#wake?.();
    // Ends a write that still waits for its reader; what it held goes the way of every write that failed.
    await within(END_MS, this.#sink.close());
    await within(END_MS, this.#running);
    await within(END_MS, this.#spilling);
    this.#spool?.close();
    return this.#queue.length + this.#inBatch();
  }

  #start(): void {
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    if (!this.#closing) await delay(this.#collectMs);
    while (await this.#deliver()) {
      if (this.#givenUp) break;
      // What waits for the sink waits on disk now: the next run of the program goes on.
      if (this.#closing && !this.#up && this.#spool !== null && this.#spoolUp) break;
      if (!this.#up) await this.#pause();
      else if (!this.#closing && !this.#queue.holdsBatch) await delay(this.#collectMs);
    }
    this.#running = null;
    if (!this.#queue.empty && !this.#closing) this.#start();
  }

  /** One write. @returns false when nothing was there to be written */
  async #deliver(): Promise<boolean> {
    try {
      const lines = await this.#next();
      if (lines === null) return false;
      await this.#write(lines);
    } catch (error) {
      // The spool cannot be read.
      await this.#failed(error as Error);
    }
    return true;
  }

  /** The oldest records; null when nothing waits. */
  async #next(): Promise<Buffer | null> {
    if (this.#batch !== null) return this.#batch;
    await this.#spilling;
    if (this.#spool !== null && !this.#spool.empty) return this.#spool.peek();
    if (this.#queue.empty) return null;
    this.#batch = Buffer.from(this.#queue.take().join(''));
    this.#tellRoom();
    return this.#batch;
  }

  async #write(lines: Buffer): Promise<void> {
    const { bytes, error } = await this.#sink.write(lines);
    if (bytes > 0) {
      this.#written += countLines(lines.subarray(0, bytes));
      if (this.#batch === null) await this.#spool?.advance(bytes);
      else this.#batch = bytes < lines.length ? lines.subarray(bytes) : null;
    }
    if (error === null) this.#recovered();
    else await this.#failed(error);
  }

  #recovered(): void {
    this.#retryMs = RETRY_MS.first;
    if (this.#up) return;
    this.#up = true;
    this.#log.info({ sink: this.#sink.name, spooled: this.#spooled }, 'records can be written again');
  }

  async #failed(error: Error): Promise<void> {
    this.#failures++;
    if (this.#up) {
      this.#up = false;
      this.#log.error(
        { sink: this.#sink.name, err: error },
        'records cannot be written; they are kept and tried again',
      );
    }
    await this.#spilling;
    const spool = this.#spool;
    if (spool === null) return;
    // Behind newer records the batch would be out of order, so then it stays in memory; but at the end better late than lost.
    if (this.#batch !== null && (spool.empty || this.#closing) && (await this.#keep(spool, this.#batch))) {
      this.#batch = null;
    }
    this.#spill();
    await this.#spilling;
  }

  /** Moves records from memory to the spool, for as long as the sink is down or memory fills up. */
  #spill(): void {
    const spool = this.#spool;
    if (spool === null || this.#spilling !== null) return;
    // The batch is older, and could not be spooled.
    if (!this.#up && this.#batch !== null && spool.empty) return;
    this.#spilling = this.#spillInto(spool).finally(() => {
      this.#spilling = null;
    });
  }

  async #spillInto(spool: Spool): Promise<void> {
    if (!this.#closing) await delay(COLLECT_MS);
    while (!this.#queue.empty && (!this.#up || this.#queue.filling)) {
      const lines = this.#queue.take();
      if (!(await this.#keep(spool, Buffer.from(lines.join(''))))) {
        this.#queue.putBack(lines);
        return;
      }
      this.#tellRoom();
    }
  }

  /** @returns whether the lines are in the spool now */
  async #keep(spool: Spool, lines: Buffer): Promise<boolean> {
    try {
      await spool.append(lines);
      this.#spooled += countLines(lines);
      this.#spoolUp = true;
      return true;
    } catch (error) {
      if (this.#spoolUp) this.#log.error({ err: error }, 'records cannot be spooled; they are kept in memory');
      this.#spoolUp = false;
      return false;
    }
  }

  #pause(): Promise<void> {
    const ms = this.#closing ? RETRY_MS.first : this.#retryMs;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS.most);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #tellRoom(): void {
    if (!this.#wasFull || this.#queue.full) return;
    this.#wasFull = false;
    this.#onRoom();
  }

  #inBatch(): number {
    return this.#batch === null ? 0 : countLines(this.#batch);
  }
}
