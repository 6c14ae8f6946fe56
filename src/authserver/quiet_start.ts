import type { Log } from '../telemetry/log.ts';

/**
 * Runs a step during which a library may write notices to the console, and turns them into lines of the log. For start-up only: what
 * anything else writes to the console meanwhile goes the same way.
 */
export async function quietly<T>(log: Log, step: () => Promise<T>): Promise<T> {
  const { info, warn } = console;
  const capture = (...words: unknown[]) => log.warn({ notice: words.map(String).join(' ') }, 'notice of oidc-provider');
  console.info = capture;
  console.warn = capture;
  try {
    return await step();
  } finally {
    console.info = info;
    console.warn = warn;
  }
}
