import type { Clock } from '../kernel/clock.ts';
import { StateFile } from '../net/state_file.ts';
import {
  type EndedKey,
  type EndedKeys,
  type EndedKeysHealth,
  type EndedKeysStats,
  EndedList,
  type KeyStanding,
  THUMBPRINT,
} from './ended_keys.ts';

/** What the memory store is made of. */
export interface MemoryEndedKeysOptions {
  /** Keys held at most; when full, no more are taken and none is forgotten early. */
  readonly limit: number;
  readonly clock: Clock;
  /** Where the list is kept; absent: nowhere, so that a restart forgets it. */
  readonly stateFile?: string | undefined;
}

/** The keys of ended jobs in the memory of one process, which is told of them; with a file, also by the process before it. */
export class MemoryEndedKeys implements EndedKeys {
  readonly #list: EndedList;
  readonly #limit: number;
  readonly #clock: Clock;
  readonly #file: StateFile | null;
  readonly #listeners: (() => void)[] = [];
  readonly #counts = { refused: 0, unavailable: 0 };

  constructor({ limit, clock, stateFile }: MemoryEndedKeysOptions) {
    this.#list = new EndedList(limit);
    this.#limit = limit;
    this.#clock = clock;
    this.#file = stateFile === undefined ? null : new StateFile(stateFile);
  }

  /** @throws Error when the file is not what this program wrote: what it forgot could not be refused */
  async start(): Promise<void> {
    if (this.#file === null) return;
    const kept = this.#file.read();
    if (kept !== undefined) this.#list.add(readKept(kept), this.#clock());
    await this.#file.write(() => this.#snapshot()); // That it can be written is known now.
  }

  judge(thumbprint: string): KeyStanding {
    const standing = this.peek(thumbprint);
    if (standing === 'ended') this.#counts.refused++;
    return standing;
  }

  peek(thumbprint: string): KeyStanding {
    return this.#list.has(thumbprint) ? 'ended' : 'live';
  }

  async end(keys: readonly EndedKey[]): Promise<void> {
    const now = this.#clock();
    this.#list.forgetExpired(now);
    const added = this.#list.add(keys, now);
    for (const listener of this.#listeners) listener();
    if (added === null) throw new Error(`the list of ended jobs is full (${this.#limit} keys)`);
    await this.#file?.write(() => this.#snapshot());
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  list(): EndedKey[] {
    return this.#list.entries(this.#clock());
  }

  health(): EndedKeysHealth {
    this.#list.forgetExpired(this.#clock());
    const { size } = this.#list;
    return { healthy: size < this.#limit, detail: `${size} of at most ${this.#limit} keys in memory` };
  }

  stats(): EndedKeysStats {
    const { healthy: up } = this.health();
    return { kind: 'memory', up, entries: this.#list.size, ...this.#counts, losses: 0 };
  }

  async close(): Promise<void> {
    await this.#file?.write(() => this.#snapshot()).catch(() => undefined);
  }

  #snapshot(): unknown {
    return { version: 1, ended_keys: this.list().map(({ thumbprint, expiresAt }) => [thumbprint, expiresAt]) };
  }
}

function readKept(kept: unknown): EndedKey[] {
  const { version, ended_keys: pairs } = kept as { version?: unknown; ended_keys?: unknown };
  if (version !== 1 || !Array.isArray(pairs))
    throw new Error('ended_jobs.state_file: not a list that this program wrote');
  return pairs.map((pair: unknown) => {
    const [thumbprint, expiresAt] = Array.isArray(pair) ? (pair as unknown[]) : [];
    if (typeof thumbprint !== 'string' || !THUMBPRINT.test(thumbprint) || typeof expiresAt !== 'number') {
      throw new Error('ended_jobs.state_file: an entry is not a thumbprint and its expiry');
    }
    return { thumbprint, expiresAt };
  });
}
