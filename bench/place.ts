import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';
const READY_MS = 20_000;
const STOP_MS = 5000;
/** Programs that are ending may still write. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 } as const;

/** A program that runs for the benchmark, and listens. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
}

/** What a program is started with. */
export interface ProgramStart {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Where it listens once it is ready. */
  readonly port: number;
  /** CPUs that it may use, as taskset takes them; absent: all. */
  readonly cpus?: string | undefined;
  /** Variables of its environment, beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The folder and the child processes of one run. Whatever was started here ends here, also when the run fails. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
  readonly #children = new Set<ChildProcess>();

  constructor() {
    // SIGTERM, since a killed Apache or nginx would leave its own children behind.
    process.once('exit', () => {
      for (const child of this.#children) child.kill('SIGTERM');
    });
  }

  /** Starts a program and waits until it listens. Fails with the end of what it printed. */
  async start({ name, command, args, port, cpus, env }: ProgramStart): Promise<Program> {
    const printed = join(this.folder, `${name.replace(/[^a-z0-9]+/gi, '_')}.log`);
    const output = openSync(printed, 'w');
    const pinned = cpus === undefined ? [command, ...args] : ['taskset', '-c', cpus, command, ...args];
    const child = spawn(pinned[0] as string, pinned.slice(1), {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    closeSync(output);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    const until = performance.now() + READY_MS;
    while (!(await Promise.race([listens(port), failed]))) {
      if (child.exitCode !== null || performance.now() > until) {
        child.kill('SIGKILL');
        throw new Error(`${name} did not start: ${readFileSync(printed, 'utf8').slice(-2000)}`);
      }
      await sleep(50);
    }
    return { name, pid: child.pid as number, port };
  }

  /** Ends everything, gently and then not, and removes the folder. */
  async close(): Promise<void> {
    const ending = [...this.#children].map(
      (child) =>
        new Promise<void>((resolve) => {
          const cut = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
          child.once('exit', () => {
            clearTimeout(cut);
            resolve();
          });
          child.kill('SIGTERM');
        }),
    );
    await Promise.all(ending);
    rmSync(this.folder, REMOVAL);
  }
}

/** A port that nothing listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, HOST, () => {
      const address = server.address();
      server.close(() => (address === null || typeof address === 'string' ? reject() : resolve(address.port)));
    });
  });
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
