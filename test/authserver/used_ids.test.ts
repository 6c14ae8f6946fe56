import { describe, expect, it } from 'vitest';
import { UsedIds } from '../../src/authserver/used_ids.ts';

describe('UsedIds', () => {
  it('an identifier is fresh once, until its time has passed', () => {
    let now = 1_000_000;
    const used = new UsedIds(() => now);
    expect(used.claim('a', 1060)).toBe('fresh');
    expect(used.claim('a', 1060)).toBe('used');
    now = 1_060_999;
    expect(used.claim('a', 1120)).toBe('used');
    now = 1_061_000;
    expect(used.claim('a', 1120)).toBe('fresh');
    expect(used.claim('a', 1120)).toBe('used');
  });

  it('full: refuses new ones and never forgets one that counts', () => {
    let now = 1_000_000;
    const used = new UsedIds(() => now, 3);
    for (const key of ['a', 'b', 'c']) expect(used.claim(key, 1060)).toBe('fresh');
    expect(used.claim('d', 1060)).toBe('full');
    for (const key of ['a', 'b', 'c']) expect(used.claim(key, 1060)).toBe('used');
    now = 1_061_000;
    expect(used.claim('d', 1121)).toBe('fresh');
    expect(used.claim('e', 1121)).toBe('fresh');
  });
});
