import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A user of this machine, by number. */
export interface MachineUser {
  readonly uid: number;
  readonly gid: number;
}

/** The folder of one job: sockets, certificates of the job's CA, a kubeconfig. Only the user of the command can look into it. */
export class JobFolder {
  readonly path: string;
  readonly #owner: MachineUser | null;

  /** @param owner who the command runs as; null: the user of the agent */
  constructor(variables: Readonly<Record<string, string | undefined>>, owner: MachineUser | null) {
    // The runner's own folder for temporary files is emptied after each job.
    const parent = variables['RUNNER_TEMP'] || tmpdir();
    this.path = mkdtempSync(join(parent, 'sallyport-')); // 0700
    this.#owner = owner;
    if (owner !== null) chownSync(this.path, owner.uid, owner.gid);
  }

  /** Writes a file for its owner alone. @returns its path */
  write(name: string, text: string): string {
    const path = join(this.path, name);
    writeFileSync(path, text, { mode: 0o600 });
    this.hand(path);
    return path;
  }

  /** Hands a socket or file of the folder to the user of the command. */
  hand(path: string): void {
    if (this.#owner !== null) chownSync(path, this.#owner.uid, this.#owner.gid);
    chmodSync(path, 0o600);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
