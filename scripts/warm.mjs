/**
 * Compiles the programs into the cache that a start in a checkout reads (src/main.ts), so that the first start takes no longer and no more
 * memory than those after it. Part of `npm ci`; without it, the first start does the same.
 */
import { spawnSync } from 'node:child_process';
import * as modules from 'node:module';
import { fileURLToPath } from 'node:url';

const SOURCES = new URL('../src/', import.meta.url);
const PROGRAMS = [
  'gateway/processes.ts',
  'demo/demo.ts',
  'authserver/authserver.ts',
  'broker/broker.ts',
  'agent/agent.ts',
  'config/load.ts',
  'config/load_authserver.ts',
  'config/load_broker.ts',
  'config/load_agent.ts',
];

// `npm ci --omit=dev` brings no Node.js of its own, and an older one reads no TypeScript: then there is nothing to be started from the sources.
if (process.features.typescript) {
  const cache = fileURLToPath(new URL('../node_modules/.cache/sallyport', import.meta.url));
  spawnSync(process.execPath, [...process.execArgv, fileURLToPath(new URL('main.ts', SOURCES)), '--version'], {
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
  });
  modules.enableCompileCache(cache);
  for (const program of PROGRAMS) await import(new URL(program, SOURCES).href);
  await warmTrials();
  modules.flushCompileCache();
}
process.exit();

/** Policies are tried in threads, for which V8's settings, and so what it compiles, are others than at the start. */
async function warmTrials() {
  const { tuneV8 } = await import(new URL('memory/heap.ts', SOURCES).href);
  const { tryPolicy } = await import(new URL('policy/trial.ts', SOURCES).href);
  tuneV8();
  const nothing = { wasm: new Uint8Array(), data: '{}', entrypoint: 'none', bundles: [], revision: '', digest: '' };
  await tryPolicy({ artifact: nothing, samples: [{ input: '{}', nowMs: 0 }], budgetMs: 1 }).catch(() => {}); // What no policy is cannot be used; it was compiled all the same.
}
