import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

/** The command line, running as a process of its own. */
export interface Program {
  readonly child: ChildProcess;
  /** Standard output so far. */
  text(): string;
  /** Standard error so far. */
  errors(): string;
  /** Resolves when standard output or standard error holds these words; rejects when the program ends before. */
  says(words: string): Promise<void>;
  /** The exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>;
}

/** Runs `sallyport …` as a user does, in a folder. The caller ends it. */
export function runSallyport(directory: string, ...argv: string[]): Program {
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const says = (words: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (text.includes(words) || errors.includes(words)) resolve();
      };
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      void ended.then(() => reject(new Error(`ended without saying "${words}":\n${text}\n${errors}`)));
      look();
    });
  return { child, text: () => text, errors: () => errors, says, ended };
}
