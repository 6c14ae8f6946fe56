import { setTimeout as delay } from 'node:timers/promises';

/** Waits for something, but not longer than `ms` milliseconds. */
export async function within(ms: number, something: Promise<unknown> | null): Promise<void> {
  if (something === null) return;
  const late = new AbortController();
  await Promise.race([something, delay(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
}
