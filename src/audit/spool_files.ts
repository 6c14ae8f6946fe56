import { existsSync, readdirSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';

/** What follows the base name: the process, and a number where it took the file over. */
const OWNER = /^(\d{1,10})(?:\.\d{1,10})?$/;

/**
 * The file that this process spools into. Processes must not share one, since each cuts off what it has delivered: workers add their
 * process number.
 */
export function spoolPath(base: string, isWorker: boolean): string {
  return isWorker ? `${base}.${process.pid}` : base;
}

/**
 * Takes over what processes that are gone have left in their spool files, by renaming, so that of several processes that start at once
 * one gets each. Files of a process number that is in use stay.
 * @returns the files that now are this process's, in the order of their names
 */
export function adoptSpools(base: string, isWorker: boolean): string[] {
  const folder = dirname(base);
  const start = `${basename(base)}.`;
  const left = readdirSync(folder).filter((name) => {
    const owner = name.startsWith(start) ? OWNER.exec(name.slice(start.length))?.[1] : undefined;
    return owner !== undefined && !isAlive(Number(owner));
  });
  if (isWorker && existsSync(base)) left.unshift(basename(base));
  return left.sort().flatMap((name) => adopt(join(folder, name), base));
}

function adopt(from: string, base: string): string[] {
  let number = 0;
  while (existsSync(`${base}.${process.pid}.${number}`)) number++;
  const to = `${base}.${process.pid}.${number}`;
  try {
    renameSync(from, to);
    return [to];
  } catch (error) {
    // Another process was first.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Whether another process has this number. Our own number on a file means one that had it before us. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
