import { describe, expect, it } from 'vitest';
import { RefusalPace } from '../../src/gateway/refusal_pace.ts';

const turns = (pace: RefusalPace, count: number) => Array.from({ length: count }, () => pace.turn('192.0.2.1'));

describe('RefusalPace', () => {
  it('nobody waits while nobody is let through', () => {
    expect(turns(new RefusalPace(), 2000).filter((turn) => turn !== null)).toEqual([]);
  });

  it('while somebody is, so many go out at once, and all of the others within a second or so', async () => {
    const pace = new RefusalPace();
    pace.allowed();
    const all = turns(pace, 200);
    expect(all.slice(0, 20).filter((turn) => turn !== null)).toEqual([]);
    expect(pace.waiting).toBeGreaterThan(0);
    await Promise.all(all);
    expect(pace.waiting).toBe(0);
  });

  it('a flood has a bound on what of it waits: what comes beyond goes out', () => {
    const pace = new RefusalPace();
    pace.allowed();
    turns(pace, 10_000);
    expect(pace.waiting).toBeLessThanOrEqual(4096);
    pace.stop();
  });

  it('when the gateway stops, nothing waits any longer', async () => {
    const pace = new RefusalPace();
    pace.allowed();
    const all = turns(pace, 700);
    pace.stop();
    await Promise.all(all);
    pace.allowed();
    expect(turns(pace, 1000).filter((turn) => turn !== null)).toEqual([]);
  });
});
