import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { MachineUser } from './job_folder.ts';

/** A command to be run. */
export interface CommandRequest {
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  /** Null: as the user of the agent. */
  readonly user: MachineUser | null;
  /** Whether a person at a terminal started it: then Ctrl-C reaches the command by itself, and must not reach it twice. */
  readonly atTerminal: boolean;
}

/** Signals that are passed on. SIGUSR1 among them: unhandled it would open the agent's memory, key included, to a debugger. */
const PASSED_ON: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];
/** What a terminal sends to every process in the foreground. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT']);
/** What shells say: there is no such command; it cannot be run (POSIX.1-2017, Shell Command Language §2.8.2). */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/**
 * Runs a command with the terminal, input and output of this process, and passes signals on.
 * @returns its exit code; 128 + n when signal n ended it
 * @throws Error when it cannot be run, with `exitCode`
 */
export function runCommand({ argv, environment, user, atTerminal }: CommandRequest): Promise<number> {
  const [file, ...rest] = argv;
  const identity = user === null ? {} : { uid: user.uid, gid: user.gid };
  let child: ChildProcess | null = null;
  const early: NodeJS.Signals[] = [];
  const pass = (signal: NodeJS.Signals) => {
    if (atTerminal && FROM_TERMINAL.has(signal)) return;
    if (child === null) early.push(signal);
    else child.kill(signal);
  };
  // Before there is a command that could make somebody send one: unhandled it would end the agent and leave the command behind.
  for (const signal of PASSED_ON) process.on(signal, pass);
  const running = spawn(file, rest, { stdio: 'inherit', env: environment, ...identity });
  child = running;
  for (const signal of early) running.kill(signal);
  return new Promise<number>((resolve, reject) => {
    running.once('error', (error) => reject(new CommandNotRun(file, error as NodeJS.ErrnoException)));
    running.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  }).finally(() => {
    for (const signal of PASSED_ON) process.off(signal, pass);
  });
}

/** The command could not be started. */
export class CommandNotRun extends Error {
  override readonly name = 'CommandNotRun';
  readonly exitCode: number;

  constructor(file: string, error: NodeJS.ErrnoException) {
    const missing = error.code === 'ENOENT';
    super(missing ? `${file}: there is no such command` : `${file} cannot be run: ${error.message}`);
    this.exitCode = missing ? NOT_FOUND : NOT_EXECUTABLE;
  }
}
