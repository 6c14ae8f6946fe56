import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Cores as taskset takes them; undefined: any, on a machine that has only one. */
export interface Cores {
  /** The first, which a contender of one process has alone. */
  readonly own: string | undefined;
  /** The others: for load, upstream and Redis. */
  readonly others: string | undefined;
}

/** All of them, for what shall not have only those that this process has left itself. */
export function allCores(): string | undefined {
  return CORES === 1 ? undefined : `0-${CORES - 1}`;
}

/** Taken down before this process gives some away. */
const CORES = availableParallelism();

/** Shares the machine's cores between what is measured and the rest, to which this process goes. */
export function shareCores(): Cores {
  if (CORES === 1) return { own: undefined, others: undefined };
  const others = `1-${CORES - 1}`;
  spawnSync('taskset', ['-apc', others, String(process.pid)]);
  return { own: '0', others };
}
