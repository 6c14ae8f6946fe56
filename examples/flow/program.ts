import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NotAsExpected } from './story.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** Milliseconds for a program to be ready, and for a command to end. */
const READY_MS = 60_000;
const STOP_MS = 15_000;
const READY = /^ready: (\S+)(?: \(listens on (\S+), admin (\S+)\))?$/;

/** What programs get of this environment: nothing that leads them elsewhere, such as a proxy. */
export const ENVIRONMENT: Readonly<Record<string, string>> = Object.fromEntries(
  ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  }),
);

/** A line of a program's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** What a command left behind. */
export interface Finished {
  readonly code: number | null;
  readonly text: string;
  readonly errors: string;
}

/** One of the long-running programs, as its operator starts it: `sallyport NAME --config FILE`. */
export class Program {
  readonly name: string;
  origin = '';
  admin = '';
  /** Where it really listens. */
  port = 0;
  #text = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  private constructor(name: string, folder: string) {
    this.name = name;
    this.#child = spawn(process.execPath, [MAIN, name, '--config', `${name}.yaml`], {
      cwd: folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk;
    });
    this.#ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  /** Starts it and waits until it is ready. @throws Error with what it said, when it is not */
  static async start(name: string, folder: string, started: (program: Program) => void): Promise<Program> {
    const program = new Program(name, folder);
    started(program);
    const line = await program.logged((one) => READY.test(String(one['msg'])));
    const [, origin = '', listening = '', admin = ''] = READY.exec(String(line['msg'])) ?? [];
    program.origin = origin;
    program.admin = admin;
    program.port = Number(listening.slice(listening.lastIndexOf(':') + 1));
    return program;
  }

  /** The first line of the log that is so, once it is there. */
  async logged(matches: (line: LogLine) => boolean): Promise<LogLine> {
    for (let waited = 0; waited < READY_MS; waited += 20) {
      const line = this.#lines().find(matches);
      if (line !== undefined) return line;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) break;
      await sleep(20);
    }
    throw new Error(`sallyport ${this.name} did not say what was expected; it said:\n${this.#text.slice(-4000)}`);
  }

  /** Ends it by SIGTERM. @returns its exit code; null when it had to be killed */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    const code = await this.#ended;
    clearTimeout(late);
    return code;
  }

  #lines(): LogLine[] {
    const whole = this.#text.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'));
    return whole.map((line) => JSON.parse(line) as LogLine);
  }
}

/** Runs a command of `sallyport` to its end. */
export function sallyport(
  folder: string,
  argv: readonly string[],
  env: NodeJS.ProcessEnv = ENVIRONMENT,
): Promise<Finished> {
  return run([process.execPath, MAIN, ...argv], { cwd: folder, env });
}

/** Runs a command to its end. @throws NotAsExpected when there is no such command */
export function run(
  [command = '', ...argv]: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd?: string },
): Promise<Finished> {
  const child = spawn(command, argv, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const late = setTimeout(() => child.kill('SIGKILL'), READY_MS);
  let [text, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(late);
      reject(new NotAsExpected(error.code === 'ENOENT' ? `${command} is not on PATH` : `${command}: ${error.message}`));
    });
    child.once('close', (code) => {
      clearTimeout(late);
      resolve({ code, text, errors });
    });
  });
}
