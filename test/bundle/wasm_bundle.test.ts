import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildPolicy } from '../../src/rego/build.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { startTestPolicy } from '../support/bundle_gateway.ts';
import { decisionModule, opaBundle } from '../support/bundles.ts';

const engine = new RegoEngine();
afterAll(() => engine.close());
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-wasm-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function wasmOf(text: string, entrypoint = 'sallyport/decision') {
  const modules = [{ path: 'p.rego', text }];
  const built = await buildPolicy({ modules, entrypoints: [entrypoint], capabilities: 'opa' }, engine);
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  return { module: built.wasm, entrypoints: built.entrypoints };
}

async function start(bundles: Record<string, Buffer>) {
  const named = Object.entries(bundles).map(([name, bytes]) => {
    writeFileSync(join(folder, name), bytes);
    return { name, file: name };
  });
  return startTestPolicy({ bundles: named, watch: false }, {}, folder);
}

describe('a bundle that brings the decision as WASM', () => {
  it('is used as it is: the module decides, not the Rego beside it; data comes from the bundles', async () => {
    const wasm = await wasmOf('package sallyport\n\ndecision := {"allow": data.tables.open}\n');
    const main = await opaBundle({ modules: [decisionModule(false)], roots: ['sallyport'], wasm }, engine);
    const tables = await opaBundle({ modules: [], data: { tables: { open: true } }, roots: ['tables'] }, engine);
    const policy = await start({ main, tables });
    expect(policy.allows()).toBe(true);
    await policy.close();
  });

  it('is refused when it needs a built-in function that the gateway does not have, by its name', async () => {
    const wasm = await wasmOf('package sallyport\n\ndecision := http.send({"method": "get", "url": input.u})\n');
    const main = await opaBundle({ modules: [], wasm }, engine);
    await expect(start({ main })).rejects.toThrow(/http\.send/);
  });

  it('is refused when it answers another rule, and says which ones it has', async () => {
    const wasm = await wasmOf('package other\n\nx := 1\n', 'other/x');
    const main = await opaBundle({ modules: [], wasm }, engine);
    await expect(start({ main })).rejects.toThrow(/no sallyport\/decision: the bundles hold WASM for other\/x only/);
  });

  it('is refused beside Rego of another bundle, which it would not see', async () => {
    const wasm = await wasmOf('package sallyport\n\ndecision := {"allow": true}\n');
    const main = await opaBundle({ modules: [], roots: ['sallyport'], wasm }, engine);
    const more = await opaBundle(
      { modules: [{ path: 'm.rego', text: 'package more\n\nx := 1\n' }], roots: ['more'] },
      engine,
    );
    await expect(start({ main, more })).rejects.toThrow(/does not see the rules of the bundle more/);
  });
});
