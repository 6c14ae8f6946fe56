import { type FileHandle, open } from 'node:fs/promises';
import type { Clock } from '../kernel/clock.ts';

/** What happened, to whom; never a token. */
export interface BrokerEvent {
  readonly event: 'token_issued' | 'token_refused' | 'job_ended';
  readonly [member: string]: unknown;
}

/** The records of what was issued to whom: a JSON line each. A token is handed out only when its record was written. */
export class Records {
  readonly #path: string | null;
  readonly #clock: Clock;
  #file: Promise<FileHandle> | null = null;
  #lines: string[] = [];
  #writing: Promise<void> | null = null;
  #healthy = true;

  /** `path`: null for standard output. */
  constructor(path: string | null, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Whether the last write went well. */
  get healthy(): boolean {
    return this.#healthy;
  }

  /** Opens the file. @throws Error when it cannot be */
  async start(): Promise<void> {
    await this.#write('');
  }

  /** Resolves when the record was handed to the system; lines that come meanwhile are written together. */
  async write(event: BrokerEvent): Promise<void> {
    this.#lines.push(`${JSON.stringify({ time: new Date(this.#clock()).toISOString(), ...event })}\n`);
    if (this.#writing !== null) await this.#writing.catch(() => undefined);
    this.#writing ??= this.#flush().finally(() => {
      this.#writing = null;
    });
    await this.#writing;
  }

  /** Uses another file of the same name from now on, for rotation. */
  async reopen(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await (await file)?.close();
  }

  async close(): Promise<void> {
    await this.#writing?.catch(() => undefined);
    await this.reopen();
  }

  async #flush(): Promise<void> {
    const text = this.#lines.join('');
    this.#lines = [];
    try {
      await this.#write(text);
      this.#healthy = true;
    } catch (error) {
      this.#healthy = false;
      throw error;
    }
  }

  async #write(text: string): Promise<void> {
    if (this.#path === null) {
      await new Promise<void>((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
      });
      return;
    }
    this.#file ??= open(this.#path, 'a', 0o600);
    try {
      await (await this.#file).appendFile(text);
    } catch (error) {
      const file = this.#file;
      this.#file = null;
      void file?.then((handle) => handle.close()).catch(() => undefined);
      throw new Error(
        `records_file ${this.#path}: cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
      );
    }
  }
}
