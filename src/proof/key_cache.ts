import { LRUCache } from 'lru-cache';
import type { ProofKey } from './dpop_header.ts';

/** One imported key costs about 2.5 KB outside the JavaScript heap. */
const MAX_KEYS = 10_000;
/** Characters; the header of an RSA key of 4096 bits takes 1,100. Longer ones are read each time, so that they fill no memory. */
const MAX_HEADER = 1536;

/**
 * The keys of proofs by the text of the header that carries them: a client sends the same header with every proof, and reading it costs half
 * as much as verifying, importing its key as much. The same text means the same key as long as the rules for headers are the same.
 */
export interface KeyCache {
  find(headerSegment: string): ProofKey | undefined;
  /** To be called once a signature by this key was found good, so that keys nobody holds push out none that are in use. */
  keep(headerSegment: string, key: ProofKey): void;
  stats(): KeyCacheStats;
}

/** Counts since start. */
export interface KeyCacheStats {
  readonly entries: number;
  readonly hits: number;
  readonly misses: number;
}

/** Makes a cache of at most 10,000 keys that forgets the one used longest ago. */
export function createKeyCache(): KeyCache {
  const keys = new LRUCache<string, ProofKey>({ max: MAX_KEYS });
  let hits = 0;
  let misses = 0;
  return {
    find(headerSegment) {
      const key = keys.get(headerSegment);
      if (key === undefined) misses++;
      else hits++;
      return key;
    },
    keep(headerSegment, key) {
      if (headerSegment.length > MAX_HEADER || keys.has(headerSegment)) return;
      // A slice of the proof would keep the whole of it in memory.
      keys.set(Buffer.from(headerSegment, 'latin1').toString('latin1'), key);
    },
    stats: () => ({ entries: keys.size, hits, misses }),
  };
}
