/**
 * The thread that runs OPA, in a process of its own: unpacks `engine/opa.wasm.br`, checks it, starts it and answers one call at a time.
 * A call is synchronous and cannot be interrupted, so the host ends the whole process when it takes too long.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { brotliDecompressSync } from 'node:zlib';
import type { RegoEngineErrorCode } from './engine_error.ts';
import type { EngineCall, EngineMessage, EngineWorkerData } from './engine_protocol.ts';

/** The parts of Go's `wasm_exec.js` that are used here. */
interface GoProgram {
  readonly importObject: WebAssembly.Imports;
  exit: (code: number) => void;
  run(instance: WebAssembly.Instance): Promise<void>;
}

interface GoGlobals {
  Go: new () => GoProgram;
  fs: { writeSync(fd: number, bytes: Uint8Array): number };
  sallyportEngine?: (operation: string, request: string) => unknown;
}

/** How much of what a dying Go program prints is kept, in characters: the first lines say why. */
const LAST_WORDS_LIMIT = 2_000;

/** Room behind the unpacked module, so that zlib sees the end without another piece. */
const SPARE_BYTES = 4_096;

const globals = globalThis as unknown as GoGlobals;
const { engineFolder } = workerData as EngineWorkerData;
let lastWords = '';

function send(message: EngineMessage): void {
  parentPort?.postMessage(message);
}

function fatal(code: RegoEngineErrorCode, message: string): void {
  send({ kind: 'fatal', code, message });
}

function readEngineFile(name: string): Buffer {
  return readFileSync(new URL(name, engineFolder));
}

async function start(): Promise<void> {
  let manifest: { readonly brotli_sha256: string; readonly wasm_bytes: number };
  let compressed: Buffer;
  try {
    manifest = JSON.parse(readEngineFile('opa.json').toString('utf8')) as typeof manifest;
    compressed = readEngineFile('opa.wasm.br');
    await import(new URL('wasm_exec.js', engineFolder).href);
  } catch (error) {
    fatal('engine_missing', `cannot read the Rego engine: ${String(error)}`);
    return;
  }
  const sha256 = createHash('sha256').update(compressed).digest('hex');
  if (sha256 !== manifest.brotli_sha256) {
    const expected = manifest.brotli_sha256;
    fatal('engine_corrupt', `engine/opa.wasm.br has the SHA-256 ${sha256}, engine/opa.json says ${expected}`);
    return;
  }
  // wasm_exec.js sends what Go prints to the console; here it is kept to explain why the program died.
  globals.fs.writeSync = (_fd, bytes) => {
    lastWords = (lastWords + Buffer.from(bytes).toString('utf8')).slice(0, LAST_WORDS_LIMIT);
    return bytes.length;
  };
  try {
    const go = new globals.Go();
    go.exit = () => undefined;
    // In one piece, which is quicker than many small ones.
    const wasm = brotliDecompressSync(compressed, { chunkSize: manifest.wasm_bytes + SPARE_BYTES });
    const instance = new WebAssembly.Instance(await WebAssembly.compile(wasm), go.importObject);
    go.run(instance).then(
      () => fatal('engine_died', `the Rego engine stopped: ${lastWords}`),
      (error: unknown) => fatal('engine_died', `the Rego engine stopped: ${String(error)} ${lastWords}`),
    );
  } catch (error) {
    fatal('engine_start_failed', `the Rego engine did not start: ${String(error)} ${lastWords}`);
    return;
  }
  parentPort?.on('message', answer);
  send({ kind: 'ready' });
}

function answer(call: EngineCall): void {
  try {
    const result = globals.sallyportEngine?.(call.operation, call.request);
    if (typeof result === 'string') {
      send({ kind: 'answer', id: call.id, answer: result });
      return;
    }
    fatal('engine_died', `the Rego engine stopped during "${call.operation}": ${lastWords}`);
  } catch (error) {
    const hint = error instanceof RangeError ? ' (something in the request is nested too deep)' : '';
    fatal('engine_died', `the Rego engine stopped during "${call.operation}": ${String(error)}${hint} ${lastWords}`);
  }
}

await start();
