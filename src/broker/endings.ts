import type { BrokerEndedJobsConfig } from '../config/broker_schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { GatewayPort } from './gateway_port.ts';

/** Somebody who must hear which jobs have ended. */
export interface EndingSink {
  readonly name: string;
  /** Rejects when it is not certain that the keys are refused. */
  deliver(keys: readonly EndedKey[]): Promise<void>;
  /** Whether it may have forgotten what it was told. */
  forgot(): Promise<boolean>;
  readonly up: boolean;
  close(): Promise<void>;
}

/** Milliseconds that the end of a job waits for all of them. */
const ANSWER_MS = 5000;
/** Milliseconds between two looks for what is owed, and whether somebody forgot. */
const LOOK_EVERY_MS = 1000;
/** Milliseconds until a delivery that failed is tried again, doubled up to the most. */
const RETRY_MS = { first: 250, most: 10_000 } as const;
/** Keys of one delivery. */
const AT_ONCE = 1000;

interface Owed {
  readonly keys: Map<string, EndedKey>;
  delay: number;
  at: number;
  working: Promise<void> | null;
}

/** Tells Redis and the gateways which keys have ended: at once, and again until each of them has it or the tokens have expired. */
export class Endings {
  readonly #sinks: readonly EndingSink[];
  readonly #owed: ReadonlyMap<EndingSink, Owed>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #known: () => readonly EndedKey[];
  readonly #timer: NodeJS.Timeout;

  private constructor(sinks: readonly EndingSink[], { clock, log, known }: EndingsOptions) {
    this.#sinks = sinks;
    this.#owed = new Map(sinks.map((sink) => [sink, { keys: new Map(), delay: 0, at: 0, working: null }]));
    this.#clock = clock;
    this.#log = log;
    this.#known = known;
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS).unref();
    // Whoever started meanwhile may not know them.
    this.#owe(known());
  }

  /** @throws Error that says which Redis cannot be used, or which file, and what to do */
  static async start(config: BrokerEndedJobsConfig | undefined, options: EndingsOptions): Promise<Endings> {
    const sinks: EndingSink[] = (config?.gateways ?? []).map((gateway) => new GatewayPort(gateway));
    if (config?.redis !== undefined) {
      const { startRedisSink } = await import('./ending_sink_redis.ts');
      sinks.push(await startRedisSink(config.redis, config.limit, options.clock));
    }
    return new Endings(sinks, options);
  }

  /** Ends keys. @returns whether everybody has them; if not, they are told again in the background */
  async end(keys: readonly EndedKey[]): Promise<boolean> {
    this.#owe(keys);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ANSWER_MS);
    await Promise.race([late, Promise.all(this.#sinks.map((sink) => this.#deliver(sink)))]);
    clearTimeout(timer);
    return keys.every(({ thumbprint }) => [...this.#owed.values()].every((owed) => !owed.keys.has(thumbprint)));
  }

  /** Who is told, whether it answers, and how many keys it is owed. */
  state(): { readonly name: string; readonly up: boolean; readonly owed: number }[] {
    return this.#sinks.map((sink) => ({ name: sink.name, up: sink.up, owed: this.#owed.get(sink)?.keys.size ?? 0 }));
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#sinks.map((sink) => sink.close()));
  }

  #owe(keys: readonly EndedKey[]): void {
    for (const owed of this.#owed.values()) for (const key of keys) owed.keys.set(key.thumbprint, key);
  }

  async #look(): Promise<void> {
    await Promise.all(
      this.#sinks.map(async (sink) => {
        const owed = this.#owed.get(sink) as Owed;
        if (await sink.forgot()) for (const key of this.#known()) owed.keys.set(key.thumbprint, key);
        if (owed.keys.size > 0 && owed.at <= performance.now()) await this.#deliver(sink);
      }),
    );
  }

  /** Delivers everything that is owed; one delivery to each at a time. */
  async #deliver(sink: EndingSink): Promise<void> {
    const owed = this.#owed.get(sink) as Owed;
    // What was owed since the one under way began goes with the next.
    if (owed.working !== null) await owed.working;
    owed.working ??= this.#deliverAll(sink, owed).finally(() => {
      owed.working = null;
    });
    await owed.working;
  }

  async #deliverAll(sink: EndingSink, owed: Owed): Promise<void> {
    while (owed.keys.size > 0) {
      const now = this.#clock();
      for (const key of owed.keys.values()) if (key.expiresAt <= now) owed.keys.delete(key.thumbprint);
      const keys = [...owed.keys.values()].slice(0, AT_ONCE);
      if (keys.length === 0) return;
      try {
        await sink.deliver(keys);
      } catch (error) {
        if (owed.delay === 0)
          this.#log.error(
            { err: error, to: sink.name, owed: owed.keys.size },
            'ended jobs could not be told; tried again',
          );
        owed.delay = Math.min(Math.max(owed.delay * 2, RETRY_MS.first), RETRY_MS.most);
        owed.at = performance.now() + owed.delay;
        return;
      }
      for (const key of keys) if (owed.keys.get(key.thumbprint) === key) owed.keys.delete(key.thumbprint);
      if (owed.delay > 0) this.#log.info({ to: sink.name }, 'ended jobs are told again');
      owed.delay = 0;
    }
  }
}

/** What the endings are kept with. */
export interface EndingsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The keys of all jobs that have ended and whose tokens may still be good. */
  readonly known: () => readonly EndedKey[];
}
