import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { HOST } from './requests.ts';

/** What came of a batch of requests. */
export interface LoadResult {
  readonly seconds: number;
  /** How many answers had which status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Milliseconds from when each request was due to the end of its answer. */
  readonly latenciesMs: readonly number[];
}

/** How a batch is sent. */
export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  /** Requests per second that are due, evenly spread; absent: each connection sends when it has its answer. */
  readonly rate?: number;
  readonly tls?: LoadTls | undefined;
}

/** How callers connect over TLS, PEM. */
export interface LoadTls {
  readonly ca: string;
  /** The certificate of the caller and its key; absent: it has none. */
  readonly client?: { readonly cert: string; readonly key: string } | undefined;
}

const BATCH_LIMIT_MS = 60_000;
const NOTHING = Buffer.alloc(0);

/**
 * Sends every request once, over keep-alive connections, and waits for all answers; requests are whole HTTP/1.1 messages as bytes, one at a
 * time on a connection. With a rate, a request that finds no free connection waits, and its wait counts.
 */
export async function sendAll(requests: readonly Buffer[], options: LoadOptions): Promise<LoadResult> {
  const batch = new Batch(requests, options);
  const cut = setTimeout(() => batch.fail(new Error('the batch took too long')), BATCH_LIMIT_MS);
  try {
    return await batch.run();
  } finally {
    clearTimeout(cut);
    batch.close();
  }
}

class Batch {
  readonly #requests: readonly Buffer[];
  readonly #options: LoadOptions;
  readonly #lines: Line[] = [];
  readonly #idle: Line[] = [];
  readonly #statuses = new Map<number, number>();
  readonly #latencies: number[] = [];
  readonly #done = Promise.withResolvers<void>();
  #next = 0;
  #started = 0;
  #tick: NodeJS.Timeout | undefined;

  constructor(requests: readonly Buffer[], options: LoadOptions) {
    this.#requests = requests;
    this.#options = options;
  }

  async run(): Promise<LoadResult> {
    const { port, connections, rate, tls } = this.#options;
    for (let i = 0; i < connections; i++) this.#lines.push(await Line.open(port, this, tls));
    this.#started = performance.now();
    this.#idle.push(...this.#lines);
    if (rate === undefined) for (const line of this.#idle.splice(0)) this.#send(line, performance.now());
    else this.#pace(rate);
    await this.#done.promise;
    const seconds = (performance.now() - this.#started) / 1000;
    return { seconds, statuses: this.#statuses, latenciesMs: this.#latencies };
  }

  answered(line: Line, status: number, milliseconds: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    this.#latencies.push(milliseconds);
    if (this.#latencies.length === this.#requests.length) this.#done.resolve();
    else if (this.#options.rate === undefined) this.#send(line, performance.now());
    else this.#idle.push(line);
  }

  fail(error: Error): void {
    this.#done.reject(error);
  }

  close(): void {
    clearTimeout(this.#tick);
    for (const line of this.#lines) line.close();
  }

  #send(line: Line, due: number): void {
    const request = this.#requests[this.#next];
    if (request === undefined) return;
    this.#next++;
    line.send(request, due);
  }

  /** Sends what has fallen due; late timers make no request late, as the due time of those it finds is now. */
  #pace(rate: number): void {
    let seen = performance.now();
    const waiting: number[] = [];
    let owed = 0;
    const beat = () => {
      const now = performance.now();
      owed += ((now - seen) * rate) / 1000;
      seen = now;
      for (; owed >= 1; owed--) waiting.push(now);
      while (waiting.length > 0 && this.#idle.length > 0) this.#send(this.#idle.pop()!, waiting.shift()!);
      if (this.#next < this.#requests.length) this.#tick = setTimeout(beat, 1);
    };
    beat();
  }
}

/** One connection, and another where an answer closes it: reads answers that say their length. */
class Line {
  readonly #dial: () => Promise<Socket>;
  readonly #batch: Batch;
  #socket!: Socket;
  #due = 0;
  #status = 0;
  #missing = 0;
  #closes = false;
  #partial: Buffer = NOTHING;

  static async open(port: number, batch: Batch, tls: LoadTls | undefined): Promise<Line> {
    const to = { port, host: '127.0.0.1', noDelay: true };
    const line = new Line(batch, async () => {
      const socket =
        tls === undefined ? connect(to) : connectTls({ ...to, servername: HOST, ca: tls.ca, ...tls.client });
      await once(socket, tls === undefined ? 'connect' : 'secureConnect');
      return socket;
    });
    await line.#connect();
    return line;
  }

  private constructor(batch: Batch, dial: () => Promise<Socket>) {
    this.#dial = dial;
    this.#batch = batch;
  }

  async #connect(): Promise<void> {
    const socket = await this.#dial();
    this.#socket = socket;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', (error) => this.#batch.fail(error));
    socket.on('close', () => this.#batch.fail(new Error('a connection was closed')));
  }

  send(request: Buffer, due: number): void {
    this.#due = due;
    this.#socket.write(request);
  }

  close(): void {
    this.#socket.removeAllListeners('close').destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#missing > 0) this.#missing -= chunk.length;
    else {
      const bytes = this.#partial.length === 0 ? chunk : Buffer.concat([this.#partial, chunk]);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#partial = bytes;
        return;
      }
      this.#partial = NOTHING;
      const head = bytes.toString('latin1', 0, end + 2);
      const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
      if (length === undefined) {
        this.#batch.fail(new Error(`an answer without length: ${head}`));
        return;
      }
      this.#status = Number(head.slice(9, 12));
      this.#closes = /\r\nconnection: *close\r\n/i.test(head);
      this.#missing = Number(length) - (bytes.length - end - 4);
    }
    if (this.#missing === 0) this.#answered(performance.now() - this.#due);
    else if (this.#missing < 0) this.#batch.fail(new Error('more bytes than an answer has'));
  }

  #answered(milliseconds: number): void {
    const done = () => this.#batch.answered(this, this.#status, milliseconds);
    if (!this.#closes) {
      done();
      return;
    }
    this.close();
    this.#connect().then(done, (error) => this.#batch.fail(error));
  }
}
