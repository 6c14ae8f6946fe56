import { describe, expect, it } from 'vitest';
import { ReplayHorizon } from '../../src/proof/replay_horizon.ts';
import { expiryOf, longestClaim, replayKey } from '../../src/proof/replay_store.ts';
import { DPOP } from './replay_fixture.ts';

const NOW = 1_795_348_800;
const at = (seconds: number) => NOW * 1000 + seconds * 1000;
const horizon = () => new ReplayHorizon(longestClaim(DPOP));

describe('the horizon after a loss', () => {
  it('refuses every proof that may have been used before, takes the first that cannot', () => {
    const gap = horizon();
    expect(gap.vouches(expiryOf(NOW, DPOP), at(0))).toBe(true);
    gap.lose(at(0.7));
    // At the moment of the loss, proofs dated up to the leeway ahead may have been used.
    for (const iat of [NOW - 60, NOW, NOW + 10]) expect(gap.vouches(expiryOf(iat, DPOP), at(1))).toBe(false);
    expect(gap.vouches(expiryOf(NOW + 11, DPOP), at(1))).toBe(true);
    expect(gap.losses).toBe(1);
  });

  it('a later loss moves it on, an earlier one does not move it back', () => {
    const gap = horizon();
    gap.lose(at(100));
    const until = gap.refusedUntilMs;
    gap.adopt(until - 5000);
    expect(gap.refusedUntilMs).toBe(until);
    gap.lose(at(200));
    expect(gap.refusedUntilMs).toBe(until + 100_000);
    expect(gap.losses).toBe(2);
  });

  it('a clock set back by more than a second is a loss as of its latest time', () => {
    const gap = horizon();
    gap.vouches(expiryOf(NOW + 300, DPOP), at(300));
    expect(gap.vouches(expiryOf(NOW + 299, DPOP), at(299.2))).toBe(true);
    expect(gap.losses).toBe(0);
    expect(gap.vouches(expiryOf(NOW, DPOP), at(0))).toBe(false);
    expect(gap.vouches(expiryOf(NOW + 310, DPOP), at(305))).toBe(false);
    expect(gap.vouches(expiryOf(NOW + 311, DPOP), at(305))).toBe(true);
    expect(gap.losses).toBe(1);
  });

  it('small steps back add up', () => {
    const gap = horizon();
    gap.vouches(expiryOf(NOW, DPOP), at(0));
    for (const second of [-0.4, -0.8]) expect(gap.vouches(expiryOf(NOW, DPOP), at(second))).toBe(true);
    expect(gap.vouches(expiryOf(NOW, DPOP), at(-1.2))).toBe(false);
  });

  it('does not vouch for what has expired', () => {
    expect(horizon().vouches(at(0), at(0))).toBe(false);
  });
});

describe('RFC 9449 §11.1: expiry and key', () => {
  it('a key outlives the last moment at which its proof is acceptable, by the leeway and a second', () => {
    for (const iat of [NOW, NOW + 10, NOW + 0.5]) {
      const lastMoment = (Math.floor(iat) + DPOP.max_age_seconds) * 1000 + 999;
      expect(expiryOf(iat, DPOP) - lastMoment).toBeGreaterThan(11_000);
      expect(expiryOf(iat, DPOP) - at(0)).toBeLessThanOrEqual(longestClaim(DPOP));
    }
  });

  it('is base64url of a digest, and no two triples share one input', () => {
    expect(replayKey('r', 'k', 'j')).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const triples = [
      ['a', 'b', 'c'],
      ['ab', '', 'c'],
      ['', 'ab', 'c'],
      ['a', 'bc', ''],
      ['a', '', 'bc'],
      ['1.1.a', 'b', 'c'],
      ['a', 'b', '.c'],
      ['a.', 'b', 'c'],
    ] as const;
    expect(new Set(triples.map(([resource, jkt, jti]) => replayKey(resource, jkt, jti))).size).toBe(triples.length);
  });
});
