import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * One JSON document in a file of mode 0600 that is replaced whole: written beside it, forced to the disk and renamed, so that a crash leaves
 * the old or the new one and never a part. Writes that are asked for while another is under way become one.
 */
export class StateFile {
  readonly #file: string;
  #writing: Promise<void> | null = null;
  #next: { readonly done: Promise<void>; snapshot: () => unknown } | null = null;

  constructor(file: string) {
    this.#file = file;
  }

  /** @returns what was written last; undefined when nothing was. @throws Error when it cannot be read, or is not JSON */
  read(): unknown {
    let text: string;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new Error(`${this.#file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
    }
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(
        `${this.#file}: expected one JSON document, as this program writes it; restore it, or move it away to start without it`,
      );
    }
  }

  /** Resolves when what `snapshot` returned after this call is on the disk. */
  write(snapshot: () => unknown): Promise<void> {
    if (this.#writing === null) {
      this.#writing = this.#replace(snapshot()).finally(() => {
        this.#writing = null;
      });
      return this.#writing;
    }
    if (this.#next !== null) {
      this.#next.snapshot = snapshot;
      return this.#next.done;
    }
    const after = this.#writing
      .catch(() => undefined)
      .then(() => {
        const { snapshot: newest } = this.#next as { snapshot: () => unknown };
        this.#next = null;
        return this.write(newest);
      });
    this.#next = { done: after, snapshot };
    return after;
  }

  async #replace(value: unknown): Promise<void> {
    const beside = `${this.#file}.${randomUUID()}`;
    try {
      const handle = await open(beside, 'wx', 0o600);
      try {
        await handle.writeFile(JSON.stringify(value));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(beside, this.#file);
      await syncFolder(dirname(this.#file));
    } catch (error) {
      await rm(beside, { force: true }).catch(() => undefined);
      throw new Error(`${this.#file}: cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
    }
  }
}

/** The new name is on the disk only when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
