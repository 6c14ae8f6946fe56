import { open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { printable } from '../oauth/refusal_text.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';

const POLL_MS = 25;
const CHUNK = 262_144;

/** Reads the records that the gateway appends to a file, one after the other. */
export class RecordReader {
  readonly #file: string;
  #offset: number;
  #pending = '';

  /** Begins at `offset` bytes: the length of the file before the first record of interest. */
  constructor(file: string, offset: number) {
    this.#file = file;
    this.#offset = offset;
  }

  /** The next record, or null when none comes within `timeoutMs` milliseconds. */
  async next(timeoutMs: number): Promise<JsonObject | null> {
    for (let waited = 0; ; waited += POLL_MS) {
      const line = await this.#line();
      if (line !== null) {
        const json = parseJsonObject(line, { maxBytes: CHUNK });
        return json.ok ? json.value : null;
      }
      if (waited >= timeoutMs) return null;
      await delay(POLL_MS);
    }
  }

  async #line(): Promise<string | null> {
    if (!this.#pending.includes('\n')) this.#pending += await this.#more();
    const end = this.#pending.indexOf('\n');
    if (end === -1) return null;
    const line = this.#pending.slice(0, end);
    this.#pending = this.#pending.slice(end + 1);
    return line;
  }

  async #more(): Promise<string> {
    const handle = await open(this.#file, 'r').catch(() => null);
    if (handle === null) return '';
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(CHUNK), 0, CHUNK, this.#offset);
      // Whole lines only, so that no character is cut in two.
      const whole = buffer.subarray(0, bytesRead).lastIndexOf(10) + 1;
      this.#offset += whole;
      return buffer.subarray(0, whole).toString('utf8');
    } finally {
      await handle.close();
    }
  }
}

/** What a security team looks at first in a record: what became of which operation, and whose it was. */
export function recordLines(record: JsonObject): string[] {
  const custom = isJsonObject(record['custom']) ? record['custom']['sallyport'] : null;
  if (!isJsonObject(custom)) return ['a record without a summary'];
  const { operation, job, client, reason } = custom;
  const what = isJsonObject(operation)
    ? `${String(operation['name'])} on ${String(operation['resource'])}`
    : `${String(custom['method'])} ${String(custom['path'])}`;
  const outcome = `${String(custom['outcome'])}${reason === undefined ? '' : ` (${String(reason)})`}`;
  const who = client === undefined ? 'client not established' : `client ${String(client)}`;
  const run = isJsonObject(job) ? `, job ${String(job['run_id'])} of ${String(job['repository'])}` : '';
  return [`${outcome}: ${what}`, `${who}${run}, decision ${String(record['decision_id'])}`].map((line) =>
    printable(line),
  );
}
