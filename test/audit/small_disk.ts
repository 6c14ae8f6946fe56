import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of its own, small enough to be filled. */
export interface SmallDisk {
  readonly path: string;
  /** Makes it larger or smaller, while it is used. */
  resize(kilobytes: number): void;
  remove(): void;
}

/** Mounts a small file system in memory; null where this user may not mount. */
export function smallDisk(kilobytes: number): SmallDisk | null {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-disk-'));
  const mount = (options: string) =>
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'ignore' });
  try {
    mount(`size=${kilobytes}k`);
  } catch {
    rmSync(path, { recursive: true });
    return null;
  }
  return {
    path,
    resize: (size) => mount(`remount,size=${size}k`),
    remove: () => {
      execFileSync('umount', ['-l', path], { stdio: 'ignore' });
      rmSync(path, { recursive: true });
    },
  };
}

/** Whether this user may mount: root may, in most containers nobody may. */
export const canMount = (() => {
  const disk = smallDisk(64);
  disk?.remove();
  return disk !== null;
})();
