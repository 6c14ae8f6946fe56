import type { ReplayStore } from './replay_store.ts';

/**
 * No memory of proofs at all, for routes with `replay: window_only`: each claim is the first. Within its window a proof that somebody saw
 * passes again.
 */
export function createWindowOnly(): ReplayStore {
  let first = 0;
  return {
    claim() {
      first++;
      return 'first';
    },
    start: async () => {},
    health: () => ({ healthy: true, detail: 'proofs may be repeated within their window' }),
    stats: () => ({ kind: 'window_only', entries: null, first, used: 0, unavailable: 0, losses: 0 }),
    close: async () => {},
  };
}
