import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareRevisions, refuseOlder, supersede } from '../../src/bundle/age.ts';
import type { Bundle } from '../../src/bundle/bundle.ts';

const at = (revision: string) => ({ revision }) as Bundle;

describe('which of two revisions is older', () => {
  it.each([
    ['9', '10'],
    ['99999999999999999999', '100000000000000000000'],
    ['2026-01-01T00:00:00Z', '2026-01-01T01:00:00+00:30'],
    ['1.9.0', '1.10.0'],
    ['v1.0.0-rc.1', 'v1.0.0'],
    ['1.0.0-alpha', '1.0.0-alpha.1'],
    ['1.0.0-1', '1.0.0-alpha'],
    ['1.0.0-rc.2', '1.0.0-rc.10'],
  ])('%s is older than %s', (older, newer) => {
    expect(compareRevisions(older, newer)).toBeLessThan(0);
    expect(compareRevisions(newer, older)).toBeGreaterThan(0);
    expect(() => refuseOlder(at(newer), at(older), [])).toThrow(/roll-back/);
    expect(() => refuseOlder(at(older), at(newer), [])).not.toThrow();
  });

  it('nothing is said of texts that have no order, and what was in use before is older', () => {
    expect(compareRevisions('a1b2', 'f00d')).toBeNull();
    expect(compareRevisions('1', '1.0.0')).toBeNull();
    const superseded = supersede([], at('a1b2'), 'f00d');
    expect(() => refuseOlder(at('f00d'), at('a1b2'), superseded)).toThrow(/roll-back/);
    expect(() => refuseOlder(at('f00d'), at('c0de'), superseded)).not.toThrow();
    expect(() => refuseOlder(at('f00d'), at(''), [])).toThrow(/no revision/);
    expect(() => refuseOlder(at(''), at('a'), [])).not.toThrow();
  });

  it('is the same from both sides, and never throws, whatever the texts', () => {
    const text = fc.oneof(
      fc.string(),
      fc.stringMatching(/^v?\d{1,3}\.\d{1,3}\.\d{1,3}(-[a-z\d.]{1,6})?$/),
      fc.nat().map(String),
    );
    fc.assert(
      fc.property(text, text, (one, other) => {
        const there = compareRevisions(one, other);
        const back = compareRevisions(other, one);
        expect(there === null ? null : Math.sign(there) + 0).toBe(back === null ? null : 0 - Math.sign(back));
      }),
    );
  });

  it('remembers at most a thousand', () => {
    let superseded: readonly string[] = [];
    for (let index = 0; index < 1500; index++) superseded = supersede(superseded, at(`r${index}`), `r${index + 1}`);
    expect(superseded).toHaveLength(1000);
    expect(superseded.at(-1)).toBe('r1499');
  });
});
