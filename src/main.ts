#!/usr/bin/env -S node --max-semi-space-size=8
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Stripping types and compiling anew costs each start a quarter of its time and 25 MB. Where the folder cannot be written, nothing is kept.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/sallyport'));
const { run } = await import('./cli/program.ts');

process.exitCode = await run(process.argv.slice(2));
