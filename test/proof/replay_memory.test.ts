import { describe, expect, it } from 'vitest';
import { createMemoryReplayStore } from '../../src/proof/replay_memory.ts';

const LONGEST = 80_000;

function storeAt(limit: number) {
  const state = { now: 1_795_348_800_000 };
  const store = createMemoryReplayStore({ limit, longestMs: LONGEST, clock: () => state.now });
  const claim = (key: string, lifeMs = 70_000) => store.claim(key, state.now + lifeMs, state.now);
  return { state, store, claim };
}

describe('the memory store', () => {
  it('proof.replay_store_unavailable when it is full: refuses new proofs, forgets none', () => {
    const { state, store, claim } = storeAt(3);
    expect([claim('a'), claim('b'), claim('c')]).toEqual(['first', 'first', 'first']);
    expect(store.health()).toEqual({ healthy: false, detail: '3 of at most 3 proofs in memory' });
    expect(claim('d')).toBe('unavailable');
    expect([claim('a'), claim('b'), claim('c')]).toEqual(['used', 'used', 'used']);
    state.now += LONGEST + LONGEST / 8;
    expect(store.health().healthy).toBe(true);
    expect(claim('d')).toBe('first');
  });

  it('holds no key longer than an eighth of the window past its expiry', () => {
    const { state, store, claim } = storeAt(1000);
    for (let second = 0; second < 600; second++) {
      claim(`key-${second}`);
      state.now += 1000;
      expect(store.stats().entries).toBeLessThanOrEqual(70 + LONGEST / 8000 + 1);
    }
  });

  it('proof.replay_store_unavailable after the clock was set back, for what it may have forgotten', () => {
    const { state, claim } = storeAt(1000);
    expect(claim('used')).toBe('first');
    state.now += 600_000;
    expect(claim('other')).toBe('first');
    state.now -= 600_000;
    expect(claim('used')).toBe('unavailable');
    state.now += 600_000;
    expect(claim('other')).toBe('used');
    expect(claim('new')).toBe('first');
  });

  it('keeps no timer: its owner may end at any time', () => {
    const before = process.getActiveResourcesInfo().length;
    const { claim } = storeAt(10);
    claim('a');
    expect(process.getActiveResourcesInfo().length).toBe(before);
  });
});
