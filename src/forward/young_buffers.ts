import { collectYoung } from '../memory/heap.ts';

/** Bytes of bodies between two collections. At 32 MB V8 begins a full collection for what lies outside its heap, in vain. */
const COLLECT_EVERY = 8_000_000;

let passed = 0;

/**
 * Counts bytes of bodies that pass through. Each part of a stream is a buffer outside the heap of V8, which sees but a few bytes of it and
 * lets them pile up until it collects the whole heap; collecting the young generation, which takes a third of a millisecond, frees them as
 * well (docs/decisions/0063-streams-and-the-collector.md).
 */
export function countPassed(bytes: number): void {
  passed += bytes;
  if (passed < COLLECT_EVERY) return;
  passed = 0;
  collectYoung();
}
