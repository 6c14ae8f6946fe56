import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { EndedKey } from './ended_keys.ts';
import { PAGE, READ, SUFFIXES, WRITE } from './scripts.ts';

/** Where the list is in Redis. */
export interface SharedListOptions {
  /** Start of every key. */
  readonly prefix: string;
  /** Keys that Redis holds at most. */
  readonly limit: number;
}

/** What was read. */
export interface SharedChanges {
  readonly entries: readonly EndedKey[];
  /** Whether these are all entries there are: asked for, or since the list is another than before. */
  readonly complete: boolean;
}

/** Milliseconds that an entry stays in Redis after its expiry, for clocks that differ. */
const PRUNE_AFTER_MS = 60_000;

/** The list in Redis as one reader sees it: what it has read, and what came after. */
export class SharedList {
  readonly channel: string;
  readonly #client: Redis | Cluster;
  readonly #keys: readonly string[];
  readonly #limit: number;
  #epoch = '';
  #last = '0';

  constructor(client: Redis | Cluster, { prefix, limit }: SharedListOptions) {
    this.#client = client;
    this.#limit = limit;
    // One hash tag, so that all of it is in one slot of a cluster.
    this.channel = `${prefix}{ended_jobs}`;
    this.#keys = SUFFIXES.map((suffix) => `${this.channel}${suffix}`);
  }

  /** Reads what is new, or the whole. Rejects when Redis does not answer in time. */
  async read(whole: boolean, candidate: string): Promise<SharedChanges> {
    let epoch = whole ? '' : this.#epoch;
    let since = this.#last;
    let complete = whole;
    const entries: EndedKey[] = [];
    for (;;) {
      const answer = (await this.#eval(READ, [epoch, since, candidate])) as readonly string[];
      const [current = '', last = '0', ...rest] = answer;
      // Another list, or one that lost its end in a failover: everything is read, from its beginning.
      if (current !== epoch) complete = true;
      else if (Number(last) < Number(since)) {
        epoch = '';
        continue;
      }
      for (let i = 0; i < rest.length; i += 3) {
        entries.push({ thumbprint: rest[i] ?? '', expiresAt: Number(rest[i + 1]) });
      }
      const page = rest.length / 3;
      since = page === 0 ? last : (rest.at(-1) ?? last);
      epoch = current;
      if (page < PAGE) {
        this.#epoch = current;
        // Changes between the last page and now come with the next look.
        this.#last = page === 0 ? last : since;
        return { entries, complete };
      }
    }
  }

  /** Writes entries. @returns false when there is no room. Rejects when Redis does not answer in time */
  async write(keys: readonly EndedKey[], nowMs: number): Promise<boolean> {
    for (let from = 0; from < keys.length; from += PAGE) {
      const pairs = keys
        .slice(from, from + PAGE)
        .flatMap(({ thumbprint, expiresAt }) => [thumbprint, String(expiresAt)]);
      const settings = [randomUUID(), String(nowMs - PRUNE_AFTER_MS), String(this.#limit), this.channel];
      if ((await this.#eval(WRITE, [...settings, ...pairs])) !== 1) return false;
    }
    return true;
  }

  #eval(script: string, rest: readonly string[]): Promise<unknown> {
    return this.#client.eval(script, this.#keys.length, ...this.#keys, ...rest);
  }
}
