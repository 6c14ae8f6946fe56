import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type FolderLock, lockFolder } from '../files/folder_lock.ts';

/** Drafts of state files that a process which was killed left behind: they may hold keys. */
const DRAFT = /^(?:clients|jobs)\.json\.[0-9a-f-]{36}$/;

/** The folder of a broker's state, in its hands alone. */
export interface StateFolder extends FolderLock {
  readonly clients: string;
  readonly jobs: string;
}

/**
 * Opens the folder: makes it, takes it for this process, and removes what a killed process left half written.
 * @throws Error that says what to do: others may look into it, another broker uses it, it cannot be written
 */
export function openStateFolder(folder: string): StateFolder {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`state_folder: ${folder} cannot be made (${codeOf(error)})`);
  }
  mustBePrivate(folder);
  const lock = take(folder);
  for (const name of readdirSync(folder)) if (DRAFT.test(name)) rmSync(join(folder, name), { force: true });
  return { clients: join(folder, 'clients.json'), jobs: join(folder, 'jobs.json'), release: () => lock.release() };
}

/** @throws Error when the folder is there and is none, or others may look into it */
export function mustBePrivate(folder: string): void {
  const status = statSync(folder, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isDirectory()) throw new Error(`state_folder: ${folder} is not a folder`);
  if ((status.mode & 0o077) !== 0)
    throw new Error(`state_folder: others may read ${folder}, which holds private keys; chmod 700 ${folder}`);
}

function take(folder: string): FolderLock {
  let lock: FolderLock | null;
  try {
    lock = lockFolder(folder);
  } catch (error) {
    throw new Error(`state_folder: ${folder} cannot be locked (${codeOf(error)}); it must be writable`);
  }
  if (lock !== null) return lock;
  throw new Error(
    `state_folder: another broker uses ${folder}, and two would overwrite each other's clients and jobs; end that one, or give this one a folder of its own`,
  );
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error';
}
