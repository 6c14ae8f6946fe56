/** Exit codes of every command. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** A command line that says too little, or two things that exclude each other. */
export class UsageError extends Error {}

/** The exit code of a command that ended with an error. */
export function exitCodeOf(error: unknown): number {
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}
