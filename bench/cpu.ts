import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat in a second: 100 on every Linux that Node.js runs on (sysconf _SC_CLK_TCK). */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** What a process and all its descendants have used. */
export interface Usage {
  /** Microseconds of CPU, user and system, with ended and waited-for children. */
  readonly cpuUs: number;
  /** Bytes of resident memory, pages shared between processes counted in each. */
  readonly rssBytes: number;
}

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
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
  let ticks = 0;
  let pages = 0;
  for (const stat of all) {
    if (!tree.has(stat.pid)) continue;
    ticks += stat.ticks;
    pages += stat.pages;
  }
  return { cpuUs: (ticks * 1_000_000) / TICKS_PER_SECOND, rssBytes: pages * PAGE_BYTES };
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

/** proc(5): the name stands in parentheses and may hold anything; ppid is field 4, utime to cstime 14 to 17, rss 24. */
function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid: Number.parseInt(line, 10),
    parent: field(4),
    ticks: field(14) + field(15) + field(16) + field(17),
    pages: field(24),
  };
}
