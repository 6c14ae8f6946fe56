import type { ChildProcess } from 'node:child_process';
import { RegoEngineError, type RegoEngineErrorCode } from './engine_error.ts';
import { endEngineProcess, holdEngineProcess, startEngineProcess } from './engine_process.ts';
import type { EngineCall, EngineMessage } from './engine_protocol.ts';

/** How a {@link RegoEngine} behaves; all times in milliseconds. */
export interface RegoEngineOptions {
  /** How long the process is kept after its last call; it holds some hundred megabytes. Default 30,000. */
  readonly idleMs?: number;
  /** How long unpacking and starting OPA may take. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** How long a call may take once it runs, unless the call says otherwise. Default 60,000. */
  readonly callTimeoutMs?: number;
  /** Told when the process starts and when it is ready, so that a command can show why it waits. */
  readonly onProgress?: (progress: RegoEngineProgress) => void;
  /** The folder that holds `opa.wasm.br`, `opa.json`, `wasm_exec.js` and `capabilities.json`. Default: `engine/` of this package. */
  readonly engineFolder?: URL;
}

/** A step of the engine's start; `elapsedMs` counts from the beginning of the start. */
export interface RegoEngineProgress {
  readonly step: 'starting' | 'ready';
  readonly elapsedMs: number;
}

/** Options of one call. */
export interface RegoCallOptions {
  /** How long this call may take once it runs, in milliseconds. */
  readonly timeoutMs?: number;
}

interface Job extends EngineCall {
  readonly timeoutMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: RegoEngineError) => void;
}

interface EngineAnswer {
  readonly value?: unknown;
  readonly error?: { readonly code: RegoEngineErrorCode; readonly message: string };
}

/** Both `src/rego/` and `dist/rego/` lie two folders below the package. */
const ENGINE_FOLDER = new URL('../../engine/', import.meta.url);

/**
 * OPA's toolchain in a process of its own: started by the first call, ended when idle, so that the memory that OPA and V8 take for
 * compiling goes back whole. Calls are queued and run one at a time. A call that takes too long, or that kills the engine, fails alone;
 * the next one starts a new process. While no call is under way it does not keep this process alive, and it never outlives this one.
 */
export class RegoEngine {
  readonly #options: RegoEngineOptions;
  readonly #queue: Job[] = [];
  #process: ChildProcess | undefined;
  #ready = false;
  #running: Job | undefined;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  #lastId = 0;
  #closed = false;

  constructor(options: RegoEngineOptions = {}) {
    this.#options = { ...options };
  }

  /**
   * Runs one operation of `engine/`. The request is sent as JSON, `undefined` members are left out.
   * Rejects with {@link RegoEngineError} only.
   */
  call<Answer>(operation: string, request: unknown, options: RegoCallOptions = {}): Promise<Answer> {
    if (this.#closed) return Promise.reject(new RegoEngineError('engine_closed', 'the Rego engine was closed'));
    let text: string;
    try {
      text = JSON.stringify(request);
    } catch (error) {
      return Promise.reject(new RegoEngineError('bad_request', `${operation}: ${String(error)}`));
    }
    this.#lastId += 1;
    const call = { id: this.#lastId, operation, request: text };
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs ?? 60_000;
    return new Promise<Answer>((resolve, reject) => {
      this.#queue.push({ ...call, timeoutMs, resolve: resolve as (value: unknown) => void, reject });
      this.#next();
    });
  }

  /** Ends the process and fails the calls that wait. Further calls fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const engine = this.#process;
    this.#fail(new RegoEngineError('engine_closed', 'the Rego engine was closed'), true);
    if (engine !== undefined) await endEngineProcess(engine);
  }

  /** The folder that holds the engine's files. */
  get folder(): URL {
    return this.#options.engineFolder ?? ENGINE_FOLDER;
  }

  /** Whether a process of OPA exists at this moment. */
  get started(): boolean {
    return this.#process !== undefined;
  }

  #next(): void {
    if (this.#running !== undefined) return;
    if (this.#process === undefined) {
      if (this.#queue.length > 0) this.#start();
      return;
    }
    if (!this.#ready) return;
    const job = this.#queue.shift();
    if (job === undefined) {
      this.#rest(this.#process);
      return;
    }
    this.#running = job;
    holdEngineProcess(this.#process, true);
    this.#watch(job.timeoutMs, () => {
      const message = `"${job.operation}" took longer than ${job.timeoutMs} ms and was ended`;
      this.#fail(new RegoEngineError('engine_timeout', message), false);
    });
    this.#process.send({ id: job.id, operation: job.operation, request: job.request } satisfies EngineCall);
  }

  #start(): void {
    this.#startedAt = performance.now();
    this.#progress('starting');
    const engine = startEngineProcess(this.folder);
    this.#process = engine;
    this.#ready = false;
    // A process that was given up may still speak: only the current one is listened to.
    engine.on('message', (message: EngineMessage) => {
      if (engine === this.#process) this.#receive(message);
    });
    engine.on('error', (error) => {
      if (engine === this.#process) this.#fail(new RegoEngineError('engine_died', String(error)), !this.#ready);
    });
    engine.on('exit', (code, signal) => {
      const error = new RegoEngineError(
        'engine_died',
        `the Rego engine's process ended with ${signal ?? `code ${code}`}`,
      );
      if (engine === this.#process) this.#fail(error, !this.#ready);
    });
    const startTimeoutMs = this.#options.startTimeoutMs ?? 60_000;
    this.#watch(startTimeoutMs, () => {
      const message = `the Rego engine was not ready within ${startTimeoutMs} ms`;
      this.#fail(new RegoEngineError('engine_start_failed', message), true);
    });
  }

  #receive(message: EngineMessage): void {
    if (message.kind === 'ready') {
      this.#ready = true;
      clearTimeout(this.#timer);
      this.#progress('ready');
      this.#next();
    } else if (message.kind === 'fatal') {
      this.#fail(new RegoEngineError(message.code, message.message.trim()), !this.#ready);
    } else if (message.id === this.#running?.id) {
      const job = this.#running;
      this.#running = undefined;
      clearTimeout(this.#timer);
      const { value, error } = JSON.parse(message.answer) as EngineAnswer;
      if (error === undefined) job.resolve(value);
      else job.reject(new RegoEngineError(error.code, error.message));
      this.#next();
    }
  }

  /** Gives the process up. With `all`, the calls that wait fail too: another one would end the same way. */
  #fail(error: RegoEngineError, all: boolean): void {
    const engine = this.#process;
    const failed = this.#running === undefined ? [] : [this.#running];
    if (all) failed.push(...this.#queue.splice(0));
    this.#running = undefined;
    this.#process = undefined;
    this.#ready = false;
    clearTimeout(this.#timer);
    engine?.kill('SIGKILL');
    for (const job of failed) job.reject(error);
    this.#next();
  }

  /** Nothing to do: the engine no longer holds this process, and ends after a while. */
  #rest(engine: ChildProcess): void {
    holdEngineProcess(engine, false);
    this.#watch(this.#options.idleMs ?? 30_000, () => {
      this.#process = undefined;
      this.#ready = false;
      engine.kill('SIGKILL');
    });
    this.#timer?.unref();
  }

  #watch(afterMs: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, afterMs);
  }

  #progress(step: RegoEngineProgress['step']): void {
    this.#options.onProgress?.({ step, elapsedMs: performance.now() - this.#startedAt });
  }
}

let shared: RegoEngine | undefined;

/** The engine that this process's calls share unless they bring their own. */
export function sharedRegoEngine(): RegoEngine {
  shared ??= new RegoEngine();
  return shared;
}
