import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until a condition holds, looking every few milliseconds; fails with its name after ten seconds, or as many as are given. */
export async function eventually(name: string, holds: () => boolean | Promise<boolean>, seconds = 10): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`did not happen: ${name}`);
    await sleep(10);
  }
}
