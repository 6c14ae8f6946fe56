import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

/** The smallest WASM module there is. */
const EMPTY_MODULE = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);

/** Stands for Go's `wasm_exec.js`: `echo` answers, `hang` never does, `die` ends the program, `trap` throws. */
const PROGRAM = `
globalThis.fs = { writeSync() {} };
globalThis.Go = class {
  importObject = {};
  run() {
    return new Promise((ended) => {
      globalThis.sallyportEngine = (operation, request) => {
        if (operation === 'hang') for (;;);
        if (operation === 'trap') throw new WebAssembly.RuntimeError('unreachable');
        if (operation === 'die') {
          globalThis.fs.writeSync(2, new TextEncoder().encode('fatal error: stack overflow'));
          ended();
          return undefined;
        }
        if (operation === 'refuse') return JSON.stringify({ error: { code: 'bad_request', message: request } });
        return JSON.stringify({ value: { operation, request: JSON.parse(request) } });
      };
    });
  }
};
`;

/** A folder like `engine/`, with a program whose failures can be asked for; `remove` deletes it. */
export function makeEngineFolder(program: string = PROGRAM): { readonly folder: URL; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-engine-'));
  const compressed = brotliCompressSync(EMPTY_MODULE);
  const sha256 = createHash('sha256').update(compressed).digest('hex');
  writeFileSync(join(path, 'opa.wasm.br'), compressed);
  writeFileSync(join(path, 'opa.json'), JSON.stringify({ brotli_sha256: sha256, wasm_bytes: EMPTY_MODULE.length }));
  writeFileSync(join(path, 'wasm_exec.js'), program);
  writeFileSync(join(path, 'package.json'), '{"type": "module"}');
  const folder = pathToFileURL(`${path}/`);
  return { folder, remove: () => rmSync(path, { recursive: true, force: true }) };
}
