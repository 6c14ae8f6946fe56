#!/usr/bin/env node
import { run } from './cli/program.ts';

/** Milliseconds that the rest of a program's output may take. */
const END_MS = 2000;

process.exitCode = await run(process.argv.slice(2));
// An output that nobody reads must not keep the process.
setTimeout(() => process.exit(), END_MS).unref();
