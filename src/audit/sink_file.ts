import { closeSync, constants, fsync, openSync, statSync } from 'node:fs';
import type { Log } from '../telemetry/log.ts';
import { type Appended, appendLines, endTornLine, takeBack } from './descriptor.ts';
import type { Sink, Written } from './sink.ts';

/** Readable by the owner alone: records say who did what. */
const MODE = 0o600;
/** The descriptor is as good as before: the disk or the quota is full. */
const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * A sink that appends to a file, which several processes may share, on a local file system. A named pipe or a device will do too.
 * @throws Error that names the file and what is wrong with it
 */
export function openFileSink(name: string, path: string, log: Log): Sink {
  return new FileSink({ name, path, log, fd: open(path) });
}

interface FileSinkParts {
  readonly name: string;
  readonly path: string;
  readonly log: Log;
  readonly fd: number;
}

class FileSink implements Sink {
  readonly name: string;
  readonly #path: string;
  readonly #log: Log;
  #fd: number;
  #writing: Promise<Written> | null = null;
  #closed = false;
  /** The file is to be opened anew before the next write. */
  #stale = false;
  /** The end of the file may be an unfinished line. */
  #doubtful = true;

  constructor(parts: FileSinkParts) {
    this.name = parts.name;
    this.#path = parts.path;
    this.#log = parts.log;
    this.#fd = parts.fd;
  }

  async write(lines: Buffer): Promise<Written> {
    this.#writing = this.#append(lines);
    const written = await this.#writing;
    this.#writing = null;
    if (this.#stale && !this.#closed) this.#tryOpenAnew();
    return written;
  }

  reopen(): void {
    this.#stale = true;
    if (this.#writing === null) this.#tryOpenAnew();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    // Pipes and devices cannot be synced, which does no harm.
    await new Promise<void>((resolve) => fsync(this.#fd, () => resolve()));
    closeSync(this.#fd);
  }

  async #append(lines: Buffer): Promise<Written> {
    try {
      // The number of a closed descriptor may be another file's by now.
      if (this.#closed) throw new Error('the sink is closed');
      if (this.#stale) this.#openAnew();
      if (this.#doubtful) this.#endTornLine();
      const appended = await appendLines(this.#fd, lines, () => this.#closed);
      if (appended.error !== null) this.#repair(lines, appended, appended.error);
      return appended;
    } catch (error) {
      return { bytes: 0, error: error as Error };
    }
  }

  #endTornLine(): void {
    if (endTornLine(this.#fd))
      this.#log.warn({ file: this.#path }, 'the file ended in an unfinished line; it was ended');
    this.#doubtful = false;
  }

  /** After a failed write nothing must be left of a line that is not whole: it is written again, whole. */
  #repair(lines: Buffer, { bytes, torn }: Appended, error: NodeJS.ErrnoException): void {
    if (!FULL.has(error.code)) this.#stale = true;
    if (torn === 0) return;
    this.#doubtful = true;
    if (takeBack(this.#fd, lines.subarray(bytes, bytes + torn))) return;
    this.#log.error({ file: this.#path, bytes: torn }, 'a record was torn; it is written again, whole');
  }

  /** A file that cannot be opened anew is no reason to lose the old one: it is written on. */
  #tryOpenAnew(): void {
    try {
      this.#openAnew();
    } catch (error) {
      this.#log.error(
        { file: this.#path, err: error },
        'the file with the records cannot be opened anew; the old one is kept',
      );
    }
  }

  #openAnew(): void {
    const fd = open(this.#path);
    closeSync(this.#fd);
    this.#fd = fd;
    this.#stale = false;
    this.#doubtful = true;
  }
}

function open(path: string): number {
  const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;
  const found = statSync(path, { throwIfNoEntry: false });
  // Only of a regular file the end can be looked at. A pipe opened for reading too would never say that nobody reads it.
  const access = found === undefined || found.isFile() ? O_RDWR : O_WRONLY;
  try {
    // Not waiting for the reader of a named pipe: without one this fails at once.
    return openSync(path, access | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK, MODE);
  } catch (error) {
    throw new Error(`${path} cannot be opened for records: ${explain(error as NodeJS.ErrnoException)}`, {
      cause: error,
    });
  }
}

function explain(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'its folder does not exist; make it first';
    case 'EACCES':
      return 'not permitted; the gateway must be able to read and write it, and to make it in its folder';
    case 'EISDIR':
      return 'it is a folder; name a file';
    case 'ENXIO':
      return 'it is a named pipe that nobody reads; start the reader first';
    default:
      return error.message;
  }
}
