import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Cores as taskset takes them; undefined: any, on a machine that has only one. */
export interface Cores {
  /** The first, which a contender of one process has alone. */
  readonly own: string | undefined;
  /** The others: for load, upstream and Redis. */
  readonly others: string | undefined;
}

/** Shares the machine's cores between what is measured and the rest, to which this process goes. */
export function shareCores(): Cores {
  const cores = availableParallelism();
  if (cores === 1) return { own: undefined, others: undefined };
  const others = `1-${cores - 1}`;
  spawnSync('taskset', ['-apc', others, String(process.pid)]);
  return { own: '0', others };
}
