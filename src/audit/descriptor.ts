import { fstatSync, ftruncateSync, readSync, write, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { wholeLines } from './sink.ts';

/** Milliseconds until a descriptor that would block (a pipe whose reader is behind) is tried again. */
const AGAIN_MS = 10;

/** How far a write to a descriptor came. */
export interface Appended {
  /** Bytes of whole lines in place. */
  readonly bytes: number;
  /** Bytes in place of a line that did not get there whole. */
  readonly torn: number;
  readonly error: Error | null;
}

/**
 * Appends to a descriptor, in one system call where the system takes it all: with O_APPEND lines of several processes then do not mix
 * (POSIX write: no other write intervenes). Waits while the descriptor would block, unless `stopped`.
 */
export async function appendLines(fd: number, lines: Buffer, stopped: () => boolean): Promise<Appended> {
  let done = 0;
  let short = false;
  while (done < lines.length) {
    try {
      // The rest after a short write at once, on this thread: the less time others have to write in between the better.
      const written = short ? writeSync(fd, lines, done) : await writeSome(fd, lines, done);
      done += written;
      short = true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && !stopped()) {
        await delay(AGAIN_MS);
        continue;
      }
      const bytes = wholeLines(lines, done);
      return { bytes, torn: done - bytes, error: error as Error };
    }
  }
  return { bytes: done, torn: 0, error: null };
}

/** Cuts off the end of a regular file if it still is `fragment`. @returns false when others have written after it */
export function takeBack(fd: number, fragment: Buffer): boolean {
  const { size } = fstatSync(fd);
  const start = size - fragment.length;
  if (start < 0) return false;
  const tail = Buffer.alloc(fragment.length);
  readSync(fd, tail, 0, tail.length, start);
  if (!tail.equals(fragment)) return false;
  ftruncateSync(fd, start);
  return true;
}

/** Ends a line that an earlier process left unfinished, so that the next record starts on its own. @returns whether there was one */
export function endTornLine(fd: number): boolean {
  const status = fstatSync(fd);
  if (!status.isFile() || status.size === 0) return false;
  const last = Buffer.alloc(1);
  readSync(fd, last, 0, 1, status.size - 1);
  if (last.toString() === '\n') return false;
  writeSync(fd, '\n');
  return true;
}

function writeSome(fd: number, lines: Buffer, from: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, lines, from, lines.length - from, null, (error, written) => {
      if (error === null) resolve(written);
      else reject(error);
    });
  });
}
