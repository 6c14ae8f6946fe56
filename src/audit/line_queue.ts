/** Records that wait in memory at most. */
export const QUEUE_RECORDS = 10_000;
/** Characters of records that wait in memory at most. */
export const QUEUE_CHARACTERS = 67_108_864;
/** Characters of records that are taken at once. */
const BATCH_CHARACTERS = 262_144;

/** Records in memory, first in, first out. The limits are kept by whoever adds: what is added is never dropped. */
export class LineQueue {
  #lines: string[] = [];
  #characters = 0;

  get length(): number {
    return this.#lines.length;
  }

  get empty(): boolean {
    return this.#lines.length === 0;
  }

  /** Whether so many wait that no more should be added. */
  get full(): boolean {
    return this.#lines.length >= QUEUE_RECORDS || this.#characters >= QUEUE_CHARACTERS;
  }

  /** Whether so many wait that the queue would soon be full. */
  get filling(): boolean {
    return this.#lines.length * 2 >= QUEUE_RECORDS || this.#characters * 2 >= QUEUE_CHARACTERS;
  }

  /** Whether a whole batch waits. */
  get holdsBatch(): boolean {
    return this.#characters >= BATCH_CHARACTERS;
  }

  add(line: string): void {
    this.#lines.push(line);
    this.#characters += line.length;
  }

  /** Takes the oldest lines, a quarter of a megabyte of them, at least one. */
  take(): string[] {
    if (this.#characters <= BATCH_CHARACTERS) {
      const all = this.#lines;
      this.#lines = [];
      this.#characters = 0;
      return all;
    }
    let count = 0;
    let characters = 0;
    for (; count < this.#lines.length && (count === 0 || characters < BATCH_CHARACTERS); count++) {
      characters += this.#lines[count]?.length ?? 0;
    }
    this.#characters -= characters;
    return this.#lines.splice(0, count);
  }

  /** Puts lines back that take() gave, in front of those that came since. */
  putBack(lines: readonly string[]): void {
    this.#lines = lines.concat(this.#lines);
    for (const line of lines) this.#characters += line.length;
  }
}
