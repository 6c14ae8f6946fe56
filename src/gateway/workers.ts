import cluster, { type Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { mergeStdout, stdoutIsPipe } from '../audit/merge_stdout.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import { NODE_FLAGS } from '../memory/heap.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import type { Log } from '../telemetry/log.ts';
import type { WorkersState } from '../telemetry/source_metrics.ts';
import type { RememberedDecision } from './decisions.ts';
import { closeLostConnections } from './lost_connections.ts';
import type { ToPrimary, ToWorker } from './messages.ts';
import { watchWorker } from './worker_watch.ts';

/** Milliseconds that a worker may take to answer a question. */
const ASK_MS = 1000;
/** Milliseconds that a worker may take to start. */
const START_MS = 30_000;
/** Milliseconds that a worker may take to write its last records and end after its grace time, before it is killed. */
const END_MS = 10_000;
/** Milliseconds that the rest of the output of a worker that ended may take. */
const OUTPUT_MS = 1000;
/** Milliseconds before a worker that ended is replaced, doubled each time one ends without having become ready, up to the most. */
const RESTART_MS = { first: 100, most: 10_000 } as const;

/** The worker beside this file: TypeScript in development, JavaScript once built. */
const WORKER_FILE = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url),
);

/** What workers are started with. */
export interface WorkersOptions {
  readonly config: GatewayConfig;
  readonly count: number;
  readonly log: Log;
  /** What workers make nonces with, so that each knows those of the others. */
  readonly nonceSecret: Uint8Array;
  /** The policy that a new worker starts with. */
  artifact(): PolicyArtifact;
  /** The candidate policy of the moment, where there is one. */
  shadow(): PolicyArtifact | null;
  /** The keys of ended jobs that a new worker starts with. */
  endedKeys(): readonly EndedKey[];
}

/** Where the workers are reached: the origin that callers use, and the address that all listen on. */
export interface Serving {
  readonly origin: string;
  readonly listening: string;
}

interface Question {
  readonly answer: (value: unknown) => void;
}

/** The worker processes: as many as configured, replaced when one ends, asked and told together. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #all = new Set<Worker>();
  readonly #ready = new Set<Worker>();
  readonly #questions = new Map<number, Question>();
  #lastQuestion = 0;
  #restartMs: number = RESTART_MS.first;
  /** Workers have pipes of their own as standard output, which are merged here. */
  readonly #mergesStdout = stdoutIsPipe();
  #unexpectedEnds = 0;
  #stopping = false;
  #started: { resolve(serving: Serving): void; reject(error: Error): void } | null = null;

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** Starts all workers. @returns what they serve, once every one of them is ready */
  start(): Promise<Serving> {
    const stdout = this.#mergesStdout ? 'pipe' : 'inherit';
    cluster.setupPrimary({
      exec: WORKER_FILE,
      execArgv: [...process.execArgv.filter((flag) => !NODE_FLAGS.includes(flag)), ...NODE_FLAGS],
      serialization: 'advanced',
      stdio: ['ignore', stdout, 'inherit', 'ipc'],
    });
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => this.#started?.reject(new Error(`a worker did not start within ${START_MS / 1000} seconds`)),
        START_MS,
      );
      this.#started = {
        resolve: (serving) => {
          clearTimeout(late);
          this.#started = null;
          resolve(serving);
        },
        reject: (error) => {
          clearTimeout(late);
          this.#started = null;
          void this.stop(0).then(() => reject(error));
        },
      };
      for (let i = 0; i < this.#options.count; i++) this.#fork();
    });
  }

  /** Tells every worker that is ready; one that is starting gets the newest policy with its start. */
  tell(message: ToWorker): void {
    for (const worker of this.#ready) send(worker, message);
  }

  /** Asks every worker. @returns the answers that came in time */
  async ask<T>(what: 'metrics' | 'readiness'): Promise<T[]> {
    const answers = await Promise.all(
      [...this.#ready].map((worker) => this.#askOne(worker, (id) => ({ kind: 'ask', id, what }))),
    );
    return answers.filter((answer) => answer !== null) as T[];
  }

  /** Tells every worker, also those that are starting. @returns whether all of them refuse the keys now */
  async endKeys(keys: readonly EndedKey[]): Promise<boolean> {
    const answers = await Promise.all(
      [...this.#all].map((worker) => this.#askOne(worker, (id) => ({ kind: 'end_keys', id, keys }))),
    );
    return answers.every((answer) => answer === true);
  }

  /** What one of the workers remembers of a decision; null when none does. */
  async findDecision(decision: string): Promise<RememberedDecision | null> {
    const answers = await Promise.all(
      [...this.#ready].map((worker) => this.#askOne(worker, (id) => ({ kind: 'decision', id, decision }))),
    );
    return (answers.find((answer) => answer !== null) ?? null) as RememberedDecision | null;
  }

  state(): WorkersState {
    return { configured: this.#options.count, ready: this.#ready.size, unexpectedEnds: this.#unexpectedEnds };
  }

  /** Stops all workers; what is left some time after `graceMs` milliseconds is killed. @returns whether all ended in order */
  async stop(graceMs: number): Promise<boolean> {
    this.#stopping = true;
    const all = [...this.#all];
    const ended = all.map(endOf);
    for (const worker of all) send(worker, { kind: 'stop' });
    const kill = setTimeout(() => {
      for (const worker of all) worker.process.kill('SIGKILL');
    }, graceMs + END_MS);
    const results = await Promise.all(ended);
    clearTimeout(kill);
    return results.every(Boolean);
  }

  #fork(): void {
    const worker = cluster.fork();
    const { stdout } = worker.process;
    this.#all.add(worker);
    closeLostConnections(worker.process);
    if (this.#mergesStdout && stdout !== null) mergeStdout(stdout, this.#options.log);
    worker.on('message', (message: ToPrimary) => this.#hear(worker, message));
    // Of node:cluster's own messages to a worker that has just died; its end is noticed by itself.
    worker.on('error', (error) =>
      this.#options.log.debug({ err: error, worker: worker.process.pid }, 'a worker is gone'),
    );
    worker.once('exit', (code, signal) => this.#ended(worker, code, signal));
  }

  #hear(worker: Worker, message: ToPrimary): void {
    switch (message.kind) {
      case 'hello': {
        const { config, nonceSecret, artifact, endedKeys } = this.#options;
        send(worker, { kind: 'start', config, artifact: artifact(), nonceSecret, endedKeys: endedKeys() });
        return;
      }
      case 'ready':
        this.#ready.add(worker);
        this.#restartMs = RESTART_MS.first;
        this.#options.log.info({ worker: worker.process.pid }, 'a worker is ready');
        // The policy may have changed while the worker was starting.
        send(worker, { kind: 'policy', artifact: this.#options.artifact() });
        this.#sendShadow(worker);
        this.#watch(worker);
        if (this.#ready.size === this.#options.count) this.#started?.resolve(message);
        return;
      case 'failed':
        this.#options.log.error({ worker: worker.process.pid, why: message.message }, 'a worker failed');
        this.#started?.reject(new Error(message.message));
        return;
      case 'find_decision':
        void this.findDecision(message.decision).then((value) => {
          send(worker, { kind: 'found_decision', id: message.id, value });
        });
        return;
      case 'answer':
        this.#questions.get(message.id)?.answer(message.value);
    }
  }

  #watch(worker: Worker): void {
    const ask = () => this.#askOne(worker, (id) => ({ kind: 'ask', id, what: 'readiness' }));
    const end = watchWorker(ask, () => {
      if (this.#stopping) return;
      this.#options.log.error({ worker: worker.process.pid }, 'a worker answers nothing any more; it is killed');
      worker.process.kill('SIGKILL');
    });
    worker.once('exit', end);
  }

  #sendShadow(worker: Worker): void {
    const artifact = this.#options.shadow();
    if (artifact !== null) send(worker, { kind: 'shadow', artifact });
  }

  #ended(worker: Worker, code: number | null, signal: string | null): void {
    this.#all.delete(worker);
    this.#ready.delete(worker);
    if (this.#stopping) return;
    if (this.#started !== null) {
      this.#started.reject(new Error(`a worker ended while starting (code ${code}, signal ${signal})`));
      return;
    }
    this.#options.log.error(
      { worker: worker.process.pid, code, signal },
      'a worker ended; its requests under way are lost, another takes its place',
    );
    this.#unexpectedEnds++;
    // It may have left the end of a record in a file that all share.
    this.tell({ kind: 'reopen' });
    setTimeout(() => {
      if (!this.#stopping) this.#fork();
    }, this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS.most);
  }

  #askOne(worker: Worker, question: (id: number) => ToWorker): Promise<unknown> {
    const id = ++this.#lastQuestion;
    return new Promise((resolve) => {
      const answer = (value: unknown) => {
        clearTimeout(late);
        this.#questions.delete(id);
        resolve(value);
      };
      const late = setTimeout(() => answer(null), ASK_MS);
      this.#questions.set(id, { answer });
      send(worker, question(id), () => answer(null));
    });
  }
}

/** Waits for the end of a worker, and for what it wrote. @returns whether it ended in order */
function endOf(worker: Worker): Promise<boolean> {
  const { process: child } = worker;
  return new Promise((resolve) => {
    child.once('exit', (code) => {
      // Nobody reads our own standard output.
      const unread = setTimeout(() => child.stdout?.destroy(), OUTPUT_MS);
      child.once('close', () => {
        clearTimeout(unread);
        resolve(code === 0);
      });
    });
  });
}

/** Sends a message; a worker that has just died does not get it, and `lost` is told. */
function send(worker: Worker, message: ToWorker, lost: () => void = () => undefined): void {
  if (!worker.isConnected()) lost();
  else
    worker.send(message, (error: Error | null) => {
      if (error !== null) lost();
    });
}
