import cluster from 'node:cluster';
import { randomUUID } from 'node:crypto';
import type { AuditConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Evidence } from '../kernel/context.ts';
import type { Log } from '../telemetry/log.ts';
import type { RecordsState } from '../telemetry/source_metrics.ts';
import { Delivery } from './delivery.ts';
import { leastLine, type RecordFrame, type RecordMoment, recordFrame, recordLine, summaryLine } from './record.ts';
import type { Sink } from './sink.ts';
import { openFileSink } from './sink_file.ts';
import { openStdoutSink } from './sink_stdout.ts';
import { openUploadSink, type UploadParts } from './sink_upload.ts';
import { Spool } from './spool.ts';

/** Milliseconds that writing the last records may take when nothing else is said. */
const CLOSE_MS = 5000;
/** Milliseconds that records are collected before they are uploaded together. */
const UPLOAD_COLLECT_MS = 500;

/** Stage 6: one record per request, in every sink. */
export interface Auditor {
  /** Takes the record of a finished request. Never throws, never waits. */
  record(evidence: Evidence): void;
  /** Whether the record of one more request can be kept; if not, the request must be refused with gateway.record_unavailable. */
  available(): boolean;
  /** Opens files anew under their names, for log rotation (SIGHUP). */
  reopen(): void;
  stats(): RecordsState;
  /**
   * Writes what waits, or leaves it in the spool, and lets go.
   * @param withinMs milliseconds that this may take, for each of several steps
   * A second call changes nothing.
   * @returns how many records are lost; 0 unless a sink was down to the end and there is no spool
   */
  close(withinMs?: number): Promise<number>;
}

/** What an auditor is made of. */
export interface AuditorOptions {
  readonly config: AuditConfig;
  /** What tells records of this gateway from others; `id`, a name of this process, is added where it is missing. */
  readonly labels: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** The rule that is asked, as a path below data. Absent: sallyport/decision. */
  readonly entrypoint?: string;
  /** The name that the policy has in records. Absent: policy. */
  readonly bundle?: string;
  /** What a sink of the type opa needs. Absent: there is none. */
  readonly uploads?: UploadParts;
}

/** Opens the sinks. @throws Error that names the sink and says what to do, when one cannot be opened */
export function createAuditor(options: AuditorOptions): Auditor {
  const { config, labels, clock, log, entrypoint = 'sallyport/decision', bundle = 'policy', uploads } = options;
  const frame = recordFrame({ labels: { id: randomUUID(), ...labels }, entrypoint, bundle });
  return new SinkAuditor(frame, { config, clock, log, uploads });
}

type SinkConfig = AuditConfig['sinks'][number];
type Parts = Pick<AuditorOptions, 'config' | 'clock' | 'log'> & { readonly uploads: UploadParts | undefined };

class SinkAuditor implements Auditor {
  readonly #frame: RecordFrame;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #blocks: boolean;
  readonly #deliveries: readonly Delivery[];
  /** Records made by this process. */
  #number = 0;
  /** Refusals since memory was full, to be told in one record. */
  #unrecorded = { count: 0, first: 0, last: 0 };
  #summarized = 0;
  #closed: Promise<number> | null = null;

  constructor(frame: RecordFrame, parts: Parts) {
    this.#frame = frame;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#blocks = parts.config.on_failure === 'block';
    this.#deliveries = openDeliveries(parts, () => this.#tellUnrecorded());
  }

  record(evidence: Evidence): void {
    if (
      evidence.denial?.reason === 'gateway.record_unavailable' &&
      this.#deliveries.some((delivery) => delivery.full)
    ) {
      this.#countUnrecorded(evidence.receivedAt);
      return;
    }
    if (this.#closed !== null) {
      this.#log.error(
        { decision_id: evidence.id },
        'a request ended after the records were closed; its record is lost',
      );
      return;
    }
    this.#number++;
    this.#add(this.#line(evidence, { number: this.#number, finishedAt: this.#clock() }));
  }

  available(): boolean {
    for (const delivery of this.#deliveries) {
      if (delivery.full || (this.#blocks && !delivery.up)) return false;
    }
    return true;
  }

  reopen(): void {
    for (const delivery of this.#deliveries) delivery.reopen();
  }

  stats(): RecordsState {
    return {
      available: this.available(),
      summarized: this.#summarized,
      sinks: this.#deliveries.map((delivery) => delivery.state()),
    };
  }

  close(withinMs: number = CLOSE_MS): Promise<number> {
    this.#closed ??= this.#end(withinMs);
    return this.#closed;
  }

  async #end(withinMs: number): Promise<number> {
    this.#tellUnrecorded();
    const lost = await Promise.all(this.#deliveries.map((delivery) => delivery.close(withinMs)));
    const total = lost.reduce((sum, count) => sum + count, 0);
    if (total > 0) this.#log.error({ records: total }, 'records could not be written and are lost');
    return total;
  }

  #add(line: string): void {
    for (const delivery of this.#deliveries) delivery.add(line);
  }

  /** What nobody expected must not cost the record. */
  #line(evidence: Evidence, moment: RecordMoment): string {
    try {
      return recordLine(evidence, this.#frame, moment);
    } catch (error) {
      this.#log.error({ err: error, decision_id: evidence.id }, 'a record could not be made whole');
      return leastLine(evidence, this.#frame, moment);
    }
  }

  #countUnrecorded(at: number): void {
    const { count, first } = this.#unrecorded;
    this.#unrecorded = { count: count + 1, first: count === 0 ? at : first, last: at };
    this.#summarized++;
  }

  /** Memory is bounded, so refusals for want of room are not kept one by one; but they are never passed over in silence. */
  #tellUnrecorded(): void {
    if (this.#unrecorded.count === 0) return;
    const refused = { id: randomUUID(), ...this.#unrecorded };
    this.#unrecorded = { count: 0, first: 0, last: 0 };
    this.#number++;
    this.#add(summaryLine(refused, this.#frame, { number: this.#number, finishedAt: this.#clock() }));
  }
}

function openDeliveries({ config, log, uploads }: Parts, onRoom: () => void): Delivery[] {
  const names = new Map<string, number>();
  return config.sinks.map((sink, index) => {
    const number = (names.get(sink.type) ?? 0) + 1;
    names.set(sink.type, number);
    const name = number === 1 ? sink.type : `${sink.type}_${number}`;
    const spool = openSpool({ config, log }, index === 0 ? '' : `.${name}`);
    if (sink.type === 'opa') {
      if (uploads === undefined) throw new Error(`audit.sinks[${index}]: nothing here can upload records`);
      return new Delivery({
        sink: openUploadSink(name, uploads, index),
        spool,
        log,
        onRoom,
        collectMs: UPLOAD_COLLECT_MS,
      });
    }
    return new Delivery({ sink: openSink({ name, index }, sink, log), spool, log, onRoom });
  });
}

function openSink(
  { name, index }: { name: string; index: number },
  sink: Exclude<SinkConfig, { type: 'opa' }>,
  log: Log,
): Sink {
  if (sink.type === 'stdout') return openStdoutSink(name);
  try {
    return openFileSink(name, sink.path, log);
  } catch (error) {
    throw new Error(`audit.sinks[${index}].path: ${(error as Error).message}`, { cause: error });
  }
}

/** Each sink has a spool of its own, since one may be down while the others are not. */
function openSpool({ config, log }: Pick<Parts, 'config' | 'log'>, suffix: string): Spool | null {
  if (config.on_failure !== 'spool' || config.spool_file === undefined) return null;
  return new Spool({ path: config.spool_file + suffix, isWorker: cluster.isWorker, log });
}
