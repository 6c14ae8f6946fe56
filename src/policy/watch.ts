import { type FSWatcher, promises as fs, statSync, watch } from 'node:fs';
import { dirname, join } from 'node:path';
import { listPolicyFiles } from './policy_files.ts';

/** Something that watches until it is closed. */
export interface PolicyWatch {
  /** Done when the state of the beginning is known: every change after that is told. */
  readonly ready: Promise<void>;
  close(): void;
}

/** How files are watched; all times in milliseconds. */
export interface WatchOptions {
  /** How long files must rest after a notice of the operating system: editors and copies write in steps. Default 100. */
  readonly settleMs?: number;
  /** How often files are looked at in any case. Network and container file systems give no notice. Default 5,000. */
  readonly pollMs?: number;
  /** Whether tests of policies count too: for those who run them. Default false. */
  readonly tests?: boolean;
}

/**
 * Calls `onChange` after the files of a policy changed: what is at `paths` (folders of Rego, files of data), by size, time and identity.
 * Notices of the operating system only make it look at once. A folder that cannot be read, or can be again, is a change too: whoever reads
 * it next says what is wrong. Does not keep the process alive.
 */
export function watchPolicyFiles(
  paths: readonly string[],
  onChange: () => void,
  options: WatchOptions = {},
): PolicyWatch {
  const { settleMs = 100, pollMs = 5_000, tests = false } = options;
  let closed = false;
  let known: string | undefined;
  let looking: Promise<void> = Promise.resolve();
  const look = () => {
    // One look after the other, so that none overtakes a newer one.
    looking = looking.then(async () => {
      const seen = closed ? known : await fingerprint(paths, tests);
      if (closed || seen === known) return;
      const first = known === undefined;
      known = seen;
      if (!first) onChange();
    });
  };
  let settling: NodeJS.Timeout | undefined;
  const watchers = paths.map((path) =>
    notices(path, () => {
      clearTimeout(settling);
      if (!closed) settling = setTimeout(look, settleMs).unref();
    }),
  );
  const poll = setInterval(look, pollMs).unref();
  look();
  return {
    ready: looking,
    close() {
      closed = true;
      clearInterval(poll);
      clearTimeout(settling);
      for (const watcher of watchers) watcher?.close();
    },
  };
}

/**
 * Where the system gives no notices (too many watches, no such folder), looking from time to time has to do. Of a file its folder is
 * watched: a watch on the file itself ends when another one takes its place.
 */
function notices(path: string, onNotice: () => void): FSWatcher | null {
  try {
    const recursive = statSync(path).isDirectory();
    const watcher = watch(recursive ? path : dirname(path), { recursive, persistent: false }, onNotice);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return null;
  }
}

async function fingerprint(paths: readonly string[], withTests: boolean): Promise<string> {
  const parts = await Promise.all(paths.map((path) => describe(path, withTests)));
  return parts.flat().join('\n');
}

async function describe(path: string, withTests: boolean): Promise<string[]> {
  try {
    const { isFolder, line } = await stat(path);
    if (!isFolder) return [line];
    const { modules, tests, data } = await listPolicyFiles(path);
    const counted = [...modules, ...(withTests ? tests : []), ...data];
    const files = await Promise.all(counted.map((file) => stat(join(path, file))));
    return files.map((file) => file.line);
  } catch (error) {
    return [`${path}: ${(error as Error).message}`];
  }
}

async function stat(path: string): Promise<{ isFolder: boolean; line: string }> {
  const found = await fs.stat(path);
  const { size, mtimeMs, ctimeMs, ino } = found;
  return { isFolder: found.isDirectory(), line: `${path} ${ino} ${size} ${mtimeMs} ${ctimeMs}` };
}
