import { readdirSync, readFileSync } from 'node:fs';

const PAGE_BYTES = 4096;

/** What a process and all its descendants have used. */
export interface Usage {
  /** Microseconds of CPU, user and system, by process. */
  readonly cpuUs: ReadonlyMap<number, number>;
  /** Bytes of resident memory, pages shared between processes counted in each. */
  readonly rssBytes: number;
}

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly pages: number;
}

/** What the process tree that starts at `root` has used so far, from the operating system's accounting. */
export function usageOf(root: number): Usage {
  const all = readAll();
  const tree = new Set([root]);
  for (let before = 0; before !== tree.size; ) {
    before = tree.size;
    for (const { pid, parent } of all) if (tree.has(parent)) tree.add(pid);
  }
  const cpuUs = new Map<number, number>();
  let pages = 0;
  for (const stat of all) {
    if (!tree.has(stat.pid)) continue;
    cpuUs.set(stat.pid, cpuOf(stat.pid));
    pages += stat.pages;
  }
  return { cpuUs, rssBytes: pages * PAGE_BYTES };
}

/** Microseconds of CPU between two looks, of the processes that are there at the second. */
export function usedBetween(before: Usage, after: Usage): number {
  let used = 0;
  for (const [pid, cpuUs] of after.cpuUs) used += cpuUs - (before.cpuUs.get(pid) ?? 0);
  return used;
}

/** Nanoseconds on a core are the first field of a thread's schedstat; the ticks of /proc/PID/stat are too coarse for cheap programs. */
function cpuOf(pid: number): number {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number.parseInt(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1'), 10);
    }
  } catch {
    // A thread or all of them ended in between.
  }
  return nanoseconds / 1000;
}

function readAll(): Stat[] {
  const stats: Stat[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      stats.push(parseStat(readFileSync(`/proc/${name}/stat`, 'latin1')));
    } catch {
      // It ended in between.
    }
  }
  return stats;
}

/** proc(5): the name stands in parentheses and may hold anything; ppid is field 4, rss 24. */
function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid: Number.parseInt(line, 10),
    parent: field(4),
    pages: field(24),
  };
}
