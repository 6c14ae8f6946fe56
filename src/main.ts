#!/usr/bin/env -S node --max-semi-space-size=8 --concurrent-marking-max-worker-num=1 --use-largepages=silent
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// In a checkout, stripping types costs each start a quarter of its time and 25 MB: what was compiled is kept.
if (import.meta.filename.endsWith('.ts')) {
  enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/sallyport'));
}
const { run } = await import('./cli/program.ts');

process.exitCode = await run(process.argv.slice(2));
