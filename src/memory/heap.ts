import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * What Node.js is told on its command line, since it reads that before any program runs: how large V8 lets the young generation grow, in MB
 * for each half; that one thread marks what is alive beside the requests, since the four that V8 takes left a fifth of a core to them, for 50 ms
 * each time (docs/decisions/0065-half-load.md); and that the code of Node.js itself lies in large pages where the system has them, which saves
 * a tenth of a request. The scripts, the image and the first line of main.ts say the same for a gateway of one process.
 */
export const NODE_FLAGS: readonly string[] = [
  '--max-semi-space-size=8',
  '--concurrent-marking-max-worker-num=1',
  '--use-largepages=silent',
];

/**
 * Has V8 collect its old generation once it has grown by a third. Left to itself it waits until it is four times as large, which on a machine
 * with much memory keeps hundreds of megabytes of garbage in each process (docs/decisions/0061-memory-of-a-process.md). It begins to mark what
 * is alive when most of that room is used, not as soon as less of it is left than the young generation has. And has it optimize
 * for good what ran a thousand times instead of three thousand: what is hot here is hot in every request
 * (docs/decisions/0064-warm-sooner.md).
 */
export function tuneV8(): void {
  setFlagsFromString('--heap-growing-percent=30');
  setFlagsFromString('--incremental-marking-soft-trigger=80');
  setFlagsFromString('--incremental-marking-hard-trigger=95');
  setFlagsFromString('--invocation-count-for-turbofan=1000');
}

type Collect = (options: { type: 'minor' } | { type: 'major'; flavor: 'last-resort' }) => void;

let opened: Collect | null = null;

/** Collects the young generation: a third of a millisecond, unless much of it is in use. */
export function collectYoung(): void {
  openCollector()({ type: 'minor' });
}

/** Collects everything and gives what is free back to the operating system: tens of milliseconds. */
export function collectAll(): void {
  openCollector()({ type: 'major', flavor: 'last-resort' });
}

/** V8 gives its collector to programs only in contexts that are made while the flag is set. */
function openCollector(): Collect {
  if (opened === null) {
    setFlagsFromString('--expose-gc');
    opened = runInNewContext('gc') as Collect;
    setFlagsFromString('--no-expose-gc');
  }
  return opened;
}
