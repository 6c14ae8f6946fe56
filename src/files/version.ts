import { statSync } from 'node:fs';

/** The version of one file that is not there. */
export const NO_FILE = 'none';

/**
 * A text that changes whenever one of the files is replaced, written, removed, put back or given to others; links are followed. Take it before
 * the files are read: a change between the two is then seen by the next look, and not for ever missed.
 */
export function versionOf(...files: readonly string[]): string {
  return files
    .map((file) => {
      const status = statSync(file, { throwIfNoEntry: false });
      if (status === undefined) return NO_FILE;
      const { dev, ino, size, mode, mtimeMs, ctimeMs } = status;
      // ctime as well: a copy that keeps the time of the original changes nothing else.
      return `${dev} ${ino} ${size} ${mode} ${mtimeMs} ${ctimeMs}`;
    })
    .join();
}
