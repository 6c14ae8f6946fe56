import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The program beside this file: TypeScript in development, JavaScript once built. */
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './engine_program.ts' : './engine_program.js',
  import.meta.url,
);

/**
 * V8 optimizes what runs often, in the background. For OPA that takes two seconds of processor time from whoever needs the cores, and
 * gains nothing measurable in the first builds (docs/decisions/0041-rego-toolchain.md).
 */
const WITHOUT_OPTIMIZING = ['--wasm-tiering-budget=2000000000', '--wasm-lazy-validation'];

/**
 * Starts OPA in a process of its own. It gets no environment (which may hold secrets) and none of the flags of this process, and shares
 * neither its input nor its output: all that it says comes as messages.
 * @param engineFolder where `opa.wasm.br` and the files beside it are
 */
export function startEngineProcess(engineFolder: URL): ChildProcess {
  return fork(fileURLToPath(PROGRAM), [engineFolder.href], {
    env: {},
    execArgv: WITHOUT_OPTIMIZING,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}

/** Whether this process stays alive for the sake of that one. */
export function holdEngineProcess(engine: ChildProcess, hold: boolean): void {
  if (hold) {
    engine.ref();
    engine.channel?.ref();
  } else {
    engine.unref();
    engine.channel?.unref();
  }
}

/** Ends the process, whatever it is doing, and waits until it is gone. */
export async function endEngineProcess(engine: ChildProcess): Promise<void> {
  if (engine.pid === undefined || engine.exitCode !== null || engine.signalCode !== null) return;
  holdEngineProcess(engine, true);
  const gone = once(engine, 'exit');
  engine.kill('SIGKILL');
  await gone;
}
