import type { RegoEngine, RegoEngineProgress } from '../rego/engine_host.ts';
import { untilStopped } from './until_stopped.ts';
import { exitCodeOf } from './usage_error.ts';

/** Where the work of a command that stays waits for signals: a listener alone keeps no process. */
const KEEP_ALIVE_MS = 2_147_483_647;

/** Milliseconds that a start may take before people are told why they wait. */
const QUIET_START_MS = 300;

/** How a command of `sallyport policy` is run. */
export interface PolicySession {
  readonly json: boolean;
}

/**
 * Runs the work of a command with an engine, and ends the engine with it; what the work returns is the exit code. Starting OPA takes a
 * moment, so people are told why they wait.
 */
export async function withEngine(session: PolicySession, work: (engine: RegoEngine) => Promise<number>): Promise<void> {
  endWithReader();
  const { RegoEngine } = await import('../rego/engine_host.ts');
  const engine = new RegoEngine(session.json ? {} : { onProgress: startTeller() });
  try {
    process.exitCode = await work(engine);
  } catch (error) {
    if (!session.json) throw error;
    sayJson({ ok: false, error: (error as Error).message });
    process.exitCode = exitCodeOf(error);
  } finally {
    await engine.close();
  }
}

/** Whoever read the output (`| head`) has what it wanted: that is the end, and no failure to tell of. */
function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}

/** Tells of a start that takes longer than people like to wait without a word. */
function startTeller(): (progress: RegoEngineProgress) => void {
  let timer: NodeJS.Timeout | undefined;
  let told = false;
  return ({ step, elapsedMs }) => {
    clearTimeout(timer);
    if (step === 'starting') {
      told = false;
      timer = setTimeout(() => {
        told = true;
        process.stderr.write("starting OPA's toolchain ...\n");
      }, QUIET_START_MS).unref();
    } else if (told) process.stderr.write(`ready after ${(elapsedMs / 1000).toFixed(1)} s\n`);
  };
}

/**
 * Does the work at once, and again after each change of the files, until SIGTERM or SIGINT. A failure is told and does not end it: the
 * author is in the middle of writing. @returns the exit code, 0
 */
export async function whileWatching(paths: readonly string[], work: () => Promise<number>): Promise<number> {
  const { watchPolicyFiles } = await import('../policy/watch.ts');
  let running: Promise<void> = Promise.resolve();
  const again = () => {
    running = running.then(async () => {
      const startedAt = performance.now();
      const code = await work().catch((error: Error) => {
        process.stderr.write(`${error.message}\n`);
        return 1;
      });
      const took = Math.round(performance.now() - startedAt);
      process.stderr.write(`${code === 0 ? 'ok' : 'not ok'} after ${took} ms; waiting for changes\n`);
    });
  };
  const watch = watchPolicyFiles(paths, again, { tests: true });
  const keepAlive = setInterval(() => undefined, KEEP_ALIVE_MS);
  const stopped = untilStopped();
  await watch.ready;
  again();
  await stopped;
  watch.close();
  clearInterval(keepAlive);
  await running;
  return 0;
}

/** Writes a line to standard output. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a value as JSON, for machines. */
export function sayJson(value: unknown): void {
  say(JSON.stringify(value, undefined, 2));
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
