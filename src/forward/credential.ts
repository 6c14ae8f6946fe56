import { closeSync, constants, openSync, readSync } from 'node:fs';
import { versionOf } from '../files/version.ts';
import { type FileWatch, watchFiles } from '../files/watch.ts';

/** Header values that may be sent as they are; no control characters, nothing outside ASCII. */
const SENDABLE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
/** Bytes of a credential file at most; a larger one is not a credential. */
const MAXIMUM_BYTES = 16_384;
/** Milliseconds between two looks at the file. */
const INTERVAL_MS = 1000;

/** The request as it will be sent, for schemes that sign it. */
export interface OutgoingRequest {
  readonly method: string;
  /** What Host will say. */
  readonly authority: string;
  /** Path and query. */
  readonly path: string;
  /** Names and values in turn; a credential appends its own. */
  readonly headers: string[];
}

/** How the gateway authenticates at an upstream. Its value is never logged, recorded or answered. */
export interface UpstreamCredential {
  /** The header fields that it sets, folded; those of the caller are removed. */
  readonly names: readonly string[];
  /** False while the credential cannot be had; then nothing is sent. */
  readonly available: boolean;
  /** Adds the credential to the request; false when it cannot be had. Does not wait: what must be fetched is fetched in the background. */
  apply(request: OutgoingRequest): boolean;
  /** Ends what runs in the background. */
  stop(): void;
}

/** For upstreams that ask for none. */
export const noCredential: UpstreamCredential = {
  names: [],
  available: true,
  apply: () => true,
  stop: () => undefined,
};

/** Where the credential is read from. */
export interface FileCredentialOptions {
  readonly header: string;
  /** Absolute path. */
  readonly file: string;
  /** Told when the credential cannot be had, and when it can again; never with its value. */
  readonly onChange?: (available: boolean, problem: string | null) => void;
  /** Milliseconds between two looks at the file. */
  readonly intervalMs?: number;
}

/**
 * A header whose whole value stands in a file. Read now, and again within about a second of a change; replace the file by renaming, so
 * that no half of it is read. What the file says is what is used: a missing, empty, too large or unusable file means no credential, not
 * the previous one.
 */
export function createFileCredential(options: FileCredentialOptions): UpstreamCredential {
  return new FileCredential(options);
}

class FileCredential implements UpstreamCredential {
  readonly names: readonly string[];
  readonly #options: FileCredentialOptions;
  #value: string | null = null;
  #problem: string | null = null;
  readonly #watch: FileWatch;

  constructor(options: FileCredentialOptions) {
    this.#options = options;
    this.names = [options.header.toLowerCase().replaceAll('_', '-')];
    const { file, intervalMs: everyMs = INTERVAL_MS } = options;
    const version = versionOf(file);
    this.#read();
    this.#watch = watchFiles({ files: [file], version, everyMs }, () => this.#read());
  }

  get available(): boolean {
    return this.#value !== null;
  }

  apply(request: OutgoingRequest): boolean {
    if (this.#value === null) return false;
    request.headers.push(this.#options.header, this.#value);
    return true;
  }

  stop(): void {
    this.#watch.close();
  }

  #read(): void {
    const { value, problem } = readCredential(this.#options.file);
    const changed = problem !== this.#problem;
    this.#value = value;
    this.#problem = problem;
    if (changed) this.#options.onChange?.(value !== null, problem);
  }
}

function readCredential(file: string): { value: string | null; problem: string | null } {
  const refused = (problem: string) => ({ value: null, problem });
  let text: string;
  try {
    text = readBounded(file);
  } catch (error) {
    return refused((error as NodeJS.ErrnoException).code ?? 'unreadable');
  }
  if (text.length > MAXIMUM_BYTES) return refused(`larger than ${MAXIMUM_BYTES} bytes`);
  const value = text.replace(/\r?\n$/, '');
  if (value === '') return refused('empty');
  return SENDABLE.test(value) ? { value, problem: null } : refused('not one line of visible ASCII');
}

/** At most one byte more than a credential may have, and without waiting, so that neither a device nor a pipe holds up the gateway. */
function readBounded(file: string): string {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(MAXIMUM_BYTES + 1);
    let length = 0;
    for (;;) {
      const read = readSync(descriptor, buffer, length, buffer.length - length, null);
      length += read;
      if (read === 0 || length === buffer.length) return buffer.toString('latin1', 0, length);
    }
  } finally {
    closeSync(descriptor);
  }
}
