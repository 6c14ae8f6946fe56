import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { deny } from '../kernel/denial.ts';
import type { PolicyArtifact } from './artifact.ts';
import { type ActivationOptions, tryArtifact } from './load.ts';
import type { Judgement } from './shadow_difference.ts';

/** What the thread is asked: an input document as JSON text, and the request's time in milliseconds since the Unix epoch. */
export interface ShadowQuestion {
  readonly id: number;
  readonly input: string;
  readonly nowMs: number;
}

/** What the thread says. */
export interface ShadowAnswer {
  readonly id: number;
  readonly judgement: Judgement;
  /** How long the evaluation took. */
  readonly milliseconds: number;
}

/** What comes from the thread; `ready` once, first. */
export type ShadowMessage = 'ready' | ShadowAnswer;

/** What a candidate made of a request. */
export type ShadowVerdict = Omit<ShadowAnswer, 'id'>;

/** Bounds of a candidate. */
export interface ShadowOptions extends ActivationOptions {
  /** Milliseconds that one evaluation may take before its thread is ended. Default 1,000. */
  readonly timeoutMs?: number;
  /** Milliseconds without a candidate after its thread ended. Default 10,000. */
  readonly restMs?: number;
}

interface Waiting {
  readonly length: number;
  readonly settle: (verdict: ShadowVerdict | null) => void;
}

/** Milliseconds that the thread may take to start. */
const START_MS = 20_000;
const TIMEOUT_MS = 1000;
const REST_MS = 10_000;
/** Questions that wait for one process's candidate, and UTF-16 units of input in them; beyond that requests are not judged by it. */
const WAITING_LIMIT = 1000;
const WAITING_LENGTH = 8_388_608;

/** The worker beside this file: TypeScript in development, JavaScript once built. */
const WORKER_FILE = new URL(
  import.meta.url.endsWith('.ts') ? './shadow_worker.ts' : './shadow_worker.js',
  import.meta.url,
);

/**
 * A candidate policy in a thread of its own, so that neither its time nor its failure reaches a request: an evaluation that takes too
 * long costs the candidate its thread, and one that comes faster than it can judge is left out.
 */
export class ShadowPolicy {
  readonly #artifact: PolicyArtifact;
  readonly #timeoutMs: number;
  readonly #restMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #waitingLength = 0;
  #worker: Worker | null = null;
  #ready = false;
  #timer: NodeJS.Timeout | undefined;
  #restUntil = 0;
  #lastId = 0;
  #retired = false;

  private constructor(artifact: PolicyArtifact, { timeoutMs = TIMEOUT_MS, restMs = REST_MS }: ShadowOptions) {
    this.#artifact = artifact;
    this.#timeoutMs = timeoutMs;
    this.#restMs = restMs;
  }

  /** Tries a candidate as a live policy is tried, and starts its thread. @throws Error that says why it cannot be used */
  static async start(artifact: PolicyArtifact, options: ShadowOptions = {}): Promise<ShadowPolicy> {
    await tryArtifact(artifact, options);
    const shadow = new ShadowPolicy(artifact, options);
    await once(shadow.#begin(), 'message', { signal: AbortSignal.timeout(START_MS) });
    return shadow;
  }

  get revision(): string {
    return this.#artifact.revision;
  }

  /** Asks the candidate. @returns null where it cannot be asked now; else what it says, or null when its thread ended before it could say */
  judge(input: string, nowMs: number): Promise<ShadowVerdict | null> | null {
    if (this.#retired || this.#waiting.size >= WAITING_LIMIT) return null;
    if (this.#waitingLength + input.length > WAITING_LENGTH) return null;
    if (this.#worker === null) {
      if (performance.now() >= this.#restUntil) this.#begin();
      return null;
    }
    if (!this.#ready) return null;
    const id = ++this.#lastId;
    if (this.#waiting.size === 0) this.#watch();
    this.#waitingLength += input.length;
    const { promise, resolve } = Promise.withResolvers<ShadowVerdict | null>();
    this.#waiting.set(id, { length: input.length, settle: resolve });
    this.#worker.postMessage({ id, input, nowMs } satisfies ShadowQuestion);
    return promise;
  }

  /** Takes no more questions, and ends the thread when those it has are answered. */
  retire(): void {
    this.#retired = true;
    if (this.#waiting.size === 0) this.#end();
  }

  #begin(): Worker {
    // No flags of this process: the thread is none of theirs.
    const worker = new Worker(WORKER_FILE, { workerData: this.#artifact, execArgv: [] });
    worker.unref();
    const failed = (why: string) => {
      if (worker === this.#worker) this.#giveUp(why);
    };
    worker.on('message', (message: ShadowMessage) => {
      if (worker !== this.#worker) return;
      if (message === 'ready') this.#ready = true;
      else this.#receive(message);
    });
    worker.on('error', (error) => failed(String(error)));
    worker.on('exit', (code) => failed(`its thread ended with code ${code}`));
    this.#worker = worker;
    this.#ready = false;
    return worker;
  }

  #receive({ id, judgement, milliseconds }: ShadowAnswer): void {
    this.#settle(id, { judgement, milliseconds });
    if (this.#waiting.size > 0) this.#timer?.refresh();
    else if (this.#retired) this.#end();
    else clearTimeout(this.#timer);
  }

  #settle(id: number, verdict: ShadowVerdict | null): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    this.#waitingLength -= waiting.length;
    waiting.settle(verdict);
  }

  /** Questions are answered in turn, so the first that waits is the one that the thread failed at. */
  #giveUp(why: string): void {
    this.#end();
    this.#restUntil = performance.now() + this.#restMs;
    const [first, ...others] = this.#waiting.keys();
    const judgement = deny('policy.failed', why);
    if (first !== undefined) this.#settle(first, { judgement, milliseconds: this.#timeoutMs });
    for (const id of others) this.#settle(id, null);
  }

  #end(): void {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#giveUp(`its evaluation took longer than ${this.#timeoutMs} ms`),
      this.#timeoutMs,
    );
  }
}
