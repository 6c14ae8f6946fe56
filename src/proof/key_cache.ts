import { LRUCache } from 'lru-cache';
import type { ProofKey } from './dpop_header.ts';

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

/** Makes a cache that forgets the key used longest ago. @param size keys at most; each takes about 2.5 KB, most of it outside of the heap */
export function createKeyCache(size: number): KeyCache {
  const keys = new LRUCache<string, ProofKey>({ max: size });
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
