import { RecordReader, recordLines } from '../../src/demo/records.ts';
import type { JsonObject } from '../../src/oauth/strict_json.ts';
import type { Story } from './story.ts';

/** What a record says in short. */
export interface Summary {
  readonly outcome: string;
  readonly reason: string | undefined;
}

const PATIENCE_MS = 5000;

/** The records of the gateway, told in the order of the requests: each has exactly one. */
export class Records {
  /** How often each outcome was recorded. */
  readonly counts = new Map<string, number>();
  readonly #reader: RecordReader;
  readonly #story: Story;

  constructor(file: string, story: Story) {
    this.#reader = new RecordReader(file, 0);
    this.#story = story;
  }

  /** Tells the next records. Each must have the outcome `allowed`, or `refused` with the reason behind a colon. */
  async tell(outcomes: readonly string[]): Promise<Summary[]> {
    const summaries: Summary[] = [];
    for (const must of outcomes) {
      const record = await this.#reader.next(PATIENCE_MS);
      this.#story.ensure('the gateway records the request', record !== null);
      const summary = summaryOf(record ?? {});
      const { outcome, reason } = summary;
      const [what = '', ...rest] = recordLines(record ?? {});
      this.#story.row('record', what);
      for (const line of rest) this.#story.row('', line);
      const seen = reason === undefined ? outcome : `${outcome}: ${reason}`;
      this.#story.expect('the record', seen, must);
      this.counts.set(seen, (this.counts.get(seen) ?? 0) + 1);
      summaries.push(summary);
    }
    return summaries;
  }

  /** Sees to it that there is no record more than was told. */
  async finish(): Promise<void> {
    this.#story.expect('a record that belongs to no request', await this.#reader.next(0), null);
  }
}

function summaryOf(record: JsonObject): Summary {
  const { sallyport } = (record['custom'] ?? {}) as { sallyport?: { outcome?: string; reason?: string } };
  return { outcome: String(sallyport?.outcome), reason: sallyport?.reason };
}
