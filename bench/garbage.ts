/** How V8 collected, and what it freed and kept in the young generation, by what `--trace-gc` printed; bytes. */
export interface Garbage {
  /** Of the young generation. */
  readonly collections: number;
  /** Of the whole heap. */
  readonly full: number;
  readonly freed: number;
  /** What outlived its young years, good or not: the next full collection has to look at it. */
  readonly kept: number;
}

/** ` Scavenge 47.0 (66.4) -> 42.8 (66.4) MB`: the heap before and after, in units of 1024 · 1024 bytes. */
const SCAVENGE = /: Scavenge ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/;
const FULL = /: Mark-Compact/;
const MB = 1_048_576;

/** Adds up the collections of the young generation. Between two of them the heap only grows, by what was allocated. */
export function readGarbage(printed: string): Garbage {
  let collections = 0;
  let full = 0;
  let freed = 0;
  let kept = 0;
  let last: number | null = null;
  for (const line of printed.split('\n')) {
    const sizes = SCAVENGE.exec(line);
    if (sizes === null) {
      if (!FULL.test(line)) continue;
      // What is there after it is where counting begins anew.
      full++;
      last = null;
      continue;
    }
    const [before, after] = [Number(sizes[1]) * MB, Number(sizes[2]) * MB];
    collections++;
    freed += before - after;
    if (last !== null) kept += after - last;
    last = after;
  }
  return { collections, full, freed, kept };
}
