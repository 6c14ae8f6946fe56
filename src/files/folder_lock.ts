import { chmodSync, closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** SQLITE_BUSY: somebody else holds it. */
const BUSY = 5;
const NAME = 'lock';

/** A folder that only this process uses, until it lets go or ends. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes a folder for this process alone. Node.js has no lock on files of its own, but the SQLite that it carries has: the system lets go of it
 * when the process ends in whatever way, so that no lock is ever stale, and it holds between containers that share a folder, where numbers of
 * processes mean nothing.
 * @returns null when another process holds it. @throws Error when the folder cannot be written
 */
export function lockFolder(folder: string): FolderLock | null {
  const file = join(folder, NAME);
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
  chmodSync(file, 0o600);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    // Nothing is ever written: no file of a journal is needed beside it.
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE;');
  } catch (error) {
    database?.close();
    if ((error as { errcode?: number }).errcode === BUSY) return null;
    throw error;
  }
  const held = database;
  return { release: () => void (held.isOpen && held.close()) };
}
