import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Clock } from '../kernel/clock.ts';
import { type AskRule, eventForUpload } from './event_mask.ts';
import type { Sink, Written } from './sink.ts';

/** A control plane that takes records. */
export interface Upload {
  /** Sends a compressed JSON array of events. @returns null when it was taken, or why not */
  send(body: Uint8Array): Promise<Error | null>;
  close(): void;
}

/** What uploading needs. */
export interface UploadParts {
  readonly clock: Clock;
  /** Prepares the control plane of `audit.sinks[index]`. @throws Error that says what cannot be used */
  open(index: number): Upload;
  /** Asks the policy in force. */
  readonly ask: AskRule;
}

/** Compressed bytes of one upload: what OPA's control planes are made for. */
const CHUNK_LIMIT_BYTES = 32_768;
/** Bytes of lines that are compressed together at first; records shrink to about a tenth. */
const FIRST_TRY_BYTES = 262_144;

const compress = promisify(gzip);

/** A sink that sends records to a control plane, as OPA sends its decision logs: `POST /logs`, gzip, a JSON array. */
export function openUploadSink(name: string, parts: UploadParts, index: number): Sink {
  return new UploadSink(name, parts, parts.open(index));
}

class UploadSink implements Sink {
  readonly name: string;
  readonly #parts: UploadParts;
  readonly #upload: Upload;

  constructor(name: string, parts: UploadParts, upload: Upload) {
    this.name = name;
    this.#parts = parts;
    this.#upload = upload;
  }

  async write(lines: Buffer): Promise<Written> {
    let bytes = 0;
    try {
      while (bytes < lines.length) {
        const part = await this.#chunk(lines.subarray(bytes));
        const error = part.body === null ? null : await this.#upload.send(part.body);
        if (error !== null) return { bytes, error };
        bytes += part.bytes;
      }
      return { bytes, error: null };
    } catch (error) {
      return { bytes, error: error as Error };
    }
  }

  reopen(): void {}

  close(): Promise<void> {
    this.#upload.close();
    return Promise.resolve();
  }

  /** As many of the first lines as fit into one upload, at least one; no body where none of them is to be sent. */
  async #chunk(lines: Buffer): Promise<{ bytes: number; body: Buffer | null }> {
    for (let limit = FIRST_TRY_BYTES; ; limit >>= 2) {
      const bytes = firstLines(lines, limit);
      const events = this.#events(lines.subarray(0, bytes));
      if (events.length === 0) return { bytes, body: null };
      const body = await compress(`[${events.join(',')}]`);
      if (body.length <= CHUNK_LIMIT_BYTES || bytes === firstLines(lines, 0)) return { bytes, body };
    }
  }

  #events(lines: Buffer): string[] {
    const { ask, clock } = this.#parts;
    const events: string[] = [];
    for (const line of lines.toString('utf8').split('\n')) {
      const event = line === '' ? null : eventForUpload(line, ask, clock());
      if (event !== null) events.push(event);
    }
    return events;
  }
}

/** Bytes of the whole lines at the beginning that have at most `limit` bytes; always one line. */
function firstLines(lines: Buffer, limit: number): number {
  if (lines.length <= limit) return lines.length;
  const end = limit === 0 ? -1 : lines.lastIndexOf(0x0a, limit - 1);
  return (end >= 0 ? end : lines.indexOf(0x0a)) + 1;
}
