import { chmodSync, chownSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A user of this machine, by number. */
export interface MachineUser {
  readonly uid: number;
  readonly gid: number;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The folder of one job: sockets, certificates of the job's CA, a kubeconfig. Only the user of the command can look into it. Where that is
 * another user than the agent's, the folder stays the agent's: who could change its entries would have root write, and give away, whatever
 * a link of that name leads to.
 */
export class JobFolder {
  readonly path: string;
  readonly #owner: MachineUser | null;

  /**
   * @param owner who the command runs as; null: the user of the agent
   * @throws Error when there is no folder for temporary files that only root can change
   */
  constructor(variables: Variables, owner: MachineUser | null) {
    this.#owner = owner?.uid === process.getuid?.() ? null : owner;
    // The runner's own folder for temporary files is emptied after each job.
    const parent = this.#owner === null ? variables['RUNNER_TEMP'] || tmpdir() : guardedParent(variables);
    this.path = mkdtempSync(join(parent, 'sallyport-')); // 0700
    if (this.#owner === null) return;
    chownSync(this.path, -1, this.#owner.gid);
    chmodSync(this.path, 0o710);
  }

  /** Writes a file for its owner alone. @returns its path */
  write(name: string, text: string): string {
    const path = join(this.path, name);
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
    this.hand(path);
    return path;
  }

  /** Hands a socket or file of the folder to the user of the command. */
  hand(path: string): void {
    chmodSync(path, 0o600);
    if (this.#owner !== null) chownSync(path, this.#owner.uid, this.#owner.gid);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The first folder for temporary files in which nobody but root can put another in the place of ours. */
function guardedParent(variables: Variables): string {
  const candidates = [variables['RUNNER_TEMP'] || tmpdir(), tmpdir(), '/tmp'];
  const found = candidates.find(isGuarded);
  if (found !== undefined) return realpathSync(found);
  throw new Error(
    `--user: expected a folder for temporary files that only root can change, found ${candidates.join(', ')}; set TMPDIR to one`,
  );
}

/** Whether it, and every folder above it, is root's, and others cannot write there or are kept from what is not theirs (sticky). */
function isGuarded(folder: string): boolean {
  try {
    let path = realpathSync(folder);
    for (;;) {
      const { uid, mode } = statSync(path);
      if (uid !== 0 || ((mode & 0o022) !== 0 && (mode & 0o1000) === 0)) return false;
      if (path === dirname(path)) return true;
      path = dirname(path);
    }
  } catch {
    return false;
  }
}
