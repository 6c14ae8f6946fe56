import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { RefusalPace } from '../../src/gateway/refusal_pace.ts';

const line = () => new EventEmitter();
const turns = (pace: RefusalPace, count: number) => Array.from({ length: count }, () => pace.turn('192.0.2.1', line()));
/** A pace of a gateway that has just let a request through. */
function besideHonest(): RefusalPace {
  const pace = new RefusalPace(300);
  pace.begin();
  pace.end(performance.now());
  return pace;
}

describe('RefusalPace', () => {
  it('nobody waits while nobody is let through', () => {
    expect(turns(new RefusalPace(300), 2000).filter((turn) => turn !== null)).toEqual([]);
  });

  it('while somebody is, so many go out at once, and all of the others within a second or so', async () => {
    const pace = besideHonest();
    const all = turns(pace, 200);
    expect(all.slice(0, 20).filter((turn) => turn !== null)).toEqual([]);
    expect(pace.waiting).toBeGreaterThan(0);
    await Promise.all(all);
    expect(pace.waiting).toBe(0);
  });

  it('an answer that lasts is such a request until it is over, however long ago it began', () => {
    const pace = new RefusalPace(300);
    pace.begin();
    pace.begin();
    pace.end(Number.NEGATIVE_INFINITY);
    expect(turns(pace, 30).filter((turn) => turn !== null).length).toBeGreaterThan(0);
    pace.end(Number.NEGATIVE_INFINITY);
    expect(turns(pace, 30).filter((turn) => turn !== null)).toEqual([]);
    pace.stop();
  });

  it('a flood has a bound on what of it waits: what comes beyond goes out', () => {
    const pace = besideHonest();
    turns(pace, 10_000);
    expect(pace.waiting).toBeLessThanOrEqual(4096);
    pace.stop();
  });

  it('where as many wait as may, who comes from elsewhere waits in the place of the last of the flood', async () => {
    const pace = new RefusalPace(1);
    pace.begin();
    turns(pace, 10_000);
    expect(pace.waiting).toBe(4096);
    const goneOut: string[] = [];
    void pace.turn('192.0.2.1', line())?.then(() => goneOut.push('flood'));
    void pace.turn('198.51.100.1', line())?.then(() => goneOut.push('other'));
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect([goneOut, pace.waiting]).toEqual([['flood'], 4096]);
    pace.stop();
  });

  it('limits.refusals_per_second: a fifteenth of them may go out at once, one at least', () => {
    for (const [perSecond, atOnce] of [
      [300, 20],
      [15, 1],
      [1, 1],
    ] as const) {
      const pace = new RefusalPace(perSecond);
      pace.begin();
      const now = turns(pace, 200).filter((turn) => turn === null).length;
      // What is earned meanwhile goes out, too.
      expect(now).toBeGreaterThanOrEqual(atOnce);
      expect(now).toBeLessThan(atOnce + 100);
      pace.stop();
    }
  });

  it('who is gone waits no longer, and keeps nobody waiting', async () => {
    const pace = besideHonest();
    const lines = Array.from({ length: 300 }, line);
    const all = lines.map((one) => pace.turn('192.0.2.1', one));
    const waiting = pace.waiting;
    expect(waiting).toBeGreaterThan(200);
    for (const one of lines) one.emit('close');
    expect(pace.waiting).toBe(0);
    await Promise.all(all);
    // Nothing is left on a connection that goes on.
    const kept = line();
    await pace.turn('192.0.2.1', kept);
    expect(kept.listenerCount('close')).toBe(0);
  });

  it('when the gateway stops, nothing waits any longer', async () => {
    const pace = besideHonest();
    const all = turns(pace, 700);
    pace.stop();
    await Promise.all(all);
    pace.begin();
    expect(turns(pace, 1000).filter((turn) => turn !== null)).toEqual([]);
  });
});
