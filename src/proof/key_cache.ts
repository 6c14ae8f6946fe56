import type { KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** One imported key costs about 2.5 KB outside the JavaScript heap. */
const MAX_KEYS = 10_000;

/** Imported public keys by their thumbprint: importing a key costs as much as verifying with it. */
export interface KeyCache {
  find(thumbprint: string): KeyObject | undefined;
  /** To be called once a signature by this key was found good, so that keys nobody holds push out none that are in use. */
  keep(thumbprint: string, key: KeyObject): void;
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
  const keys = new LRUCache<string, KeyObject>({ max: MAX_KEYS });
  let hits = 0;
  let misses = 0;
  return {
    find(thumbprint) {
      const key = keys.get(thumbprint);
      if (key === undefined) misses++;
      else hits++;
      return key;
    },
    keep(thumbprint, key) {
      keys.set(thumbprint, key);
    },
    stats: () => ({ entries: keys.size, hits, misses }),
  };
}
