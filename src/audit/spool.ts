import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  read,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { Log } from '../telemetry/log.ts';
import { appendLines } from './descriptor.ts';
import { wholeLines } from './sink.ts';
import { adoptSpools, spoolPath } from './spool_files.ts';

/** Bytes that are read at once; more than the longest record. */
const CHUNK_BYTES = 262_144;
/** Readable by the owner alone, like the records. */
const MODE = 0o600;
const NOTHING = Buffer.alloc(0);
/** What stands in the place of records that were delivered. */
const BLANK = Buffer.alloc(CHUNK_BYTES, '\n');

/** Where a spool is, and for whom. */
export interface SpoolOptions {
  readonly path: string;
  /** Whether several processes of this program run, each with a spool of its own. */
  readonly isWorker: boolean;
  readonly log: Log;
}

/** A file that is read, and how far it is delivered. */
interface Source {
  readonly path: string;
  readonly fd: number;
  offset: number;
}

/**
 * Records that wait on disk until their sink takes them again: first in, first out, what an earlier process left before all. When the
 * process dies while it delivers, the next one delivers the last chunk again, with the same decision_ids; nothing is lost.
 */
export class Spool {
  readonly #path: string;
  readonly #log: Log;
  /** Files that hold records, the oldest first; this process's own, if any, is the last. */
  readonly #files: string[];
  readonly #target: number;
  #source: Source | null = null;
  #appending: Promise<unknown> | null = null;

  /** @throws Error when the folder cannot be read, or the files in it not be taken over or written */
  constructor({ path, isWorker, log }: SpoolOptions) {
    this.#path = spoolPath(path, isWorker);
    this.#log = log;
    try {
      this.#files = adoptSpools(path, isWorker);
      if ((statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) > 0) this.#files.push(this.#path);
      this.#target = openSync(this.#path, 'a+', MODE);
      this.#cutTornEnd();
    } catch (error) {
      throw new Error(`audit.spool_file: ${path} cannot be used: ${(error as Error).message}`, { cause: error });
    }
    if (!this.empty) log.warn({ files: this.#files }, 'records of an earlier run wait in the spool');
  }

  get empty(): boolean {
    return this.#files.length === 0;
  }

  /** Adds whole lines, all or none. Calls must not overlap. @throws Error when they cannot be written */
  async append(lines: Buffer): Promise<void> {
    const { size } = fstatSync(this.#target);
    const appending = appendLines(this.#target, lines, () => true);
    this.#appending = appending;
    const { error } = await appending;
    this.#appending = null;
    if (error === null) {
      if (this.#files.at(-1) !== this.#path) this.#files.push(this.#path);
      return;
    }
    // This process alone writes the file, so what came after `size` is from this call.
    ftruncateSync(this.#target, size);
    throw error;
  }

  /** The oldest whole lines, a quarter of a megabyte of them at most; nothing when the spool is empty. */
  async peek(): Promise<Buffer> {
    for (let path = this.#files[0]; path !== undefined; path = this.#files[0]) {
      this.#source ??= { path, fd: openSync(path, 'r+'), offset: 0 };
      const source = this.#source;
      const chunk = await readSome(source.fd, source.offset);
      const blank = blanks(chunk);
      const whole = wholeLines(chunk, chunk.length);
      if (whole > blank) {
        source.offset += blank;
        return chunk.subarray(blank, whole);
      }
      await this.#forget(source, blank, chunk.length);
    }
    return NOTHING;
  }

  /** Forgets the first `bytes` bytes of what peek() gave: they are delivered. */
  async advance(bytes: number): Promise<void> {
    const source = this.#source;
    if (source === null || bytes === 0) return;
    while (this.#appending !== null) await this.#appending;
    const delivered = source.offset;
    source.offset += bytes;
    // The next run must not deliver them again.
    writeSync(source.fd, BLANK, 0, bytes, delivered);
    if (source.offset >= fstatSync(source.fd).size) this.#finish(source);
  }

  /** Lets go of the files; those that hold records stay for the next run. */
  close(): void {
    if (this.#source !== null) closeSync(this.#source.fd);
    closeSync(this.#target);
    if (!this.#files.includes(this.#path)) unlinkSync(this.#path);
  }

  /** Passes over blanks, and ends the file where no whole line is left. */
  async #forget(source: Source, blank: number, length: number): Promise<void> {
    source.offset += blank;
    if (blank === length && length > 0) return;
    while (this.#appending !== null) await this.#appending;
    if (fstatSync(source.fd).size > source.offset + length - blank) return;
    if (length > blank)
      this.#log.error({ file: source.path, bytes: length }, 'the spool ended in an unfinished record');
    this.#finish(source);
  }

  /** The oldest file is delivered: one that was taken over goes, our own is emptied and used again. */
  #finish(source: Source): void {
    if (source.path === this.#path) ftruncateSync(source.fd, 0);
    else unlinkSync(source.path);
    closeSync(source.fd);
    this.#source = null;
    this.#files.shift();
  }

  /** What follows the last line end is the beginning of a record whose process died while it wrote it. */
  #cutTornEnd(): void {
    const { size } = fstatSync(this.#target);
    const tail = Buffer.alloc(Math.min(size, CHUNK_BYTES));
    readSync(this.#target, tail, 0, tail.length, size - tail.length);
    const torn = tail.length - wholeLines(tail, tail.length);
    if (torn === 0) return;
    this.#log.error({ file: this.#path, bytes: torn }, 'the spool ended in an unfinished record');
    ftruncateSync(this.#target, size - torn);
  }
}

function blanks(chunk: Buffer): number {
  let count = 0;
  while (chunk[count] === 0x0a) count++;
  return count;
}

function readSome(fd: number, offset: number): Promise<Buffer> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  return new Promise((resolve, reject) => {
    read(fd, chunk, 0, chunk.length, offset, (error, length) => {
      if (error === null) resolve(chunk.subarray(0, length));
      else reject(error);
    });
  });
}
