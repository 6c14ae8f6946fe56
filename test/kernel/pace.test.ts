import { describe, expect, it } from 'vitest';
import { Pace } from '../../src/kernel/pace.ts';

const settled = (turn: Promise<boolean> | null) => turn ?? Promise.resolve(true);

describe('Pace', () => {
  it('lets through what was saved up at once, and what comes beyond in time', async () => {
    const pace = new Pace({ perSecond: 50, burst: 50, waitMs: 10_000, maxWaiting: 100 });
    const turns = Array.from({ length: 60 }, () => pace.turn('a'));
    expect(turns.filter((turn) => turn === null)).toHaveLength(50);
    expect(pace.waiting).toBe(10);
    expect(await Promise.all(turns.map(settled))).toEqual(turns.map(() => true));
    expect(pace.waiting).toBe(0);
  });

  it('who waited long enough gives up; nobody is forgotten', async () => {
    const pace = new Pace({ perSecond: 1, burst: 1, waitMs: 10, maxWaiting: 100 });
    expect(pace.turn('a')).toBeNull();
    expect(await Promise.all(['a', 'b', 'c'].map((lane) => settled(pace.turn(lane))))).toEqual([false, false, false]);
    expect(pace.waiting).toBe(0);
  });

  it('no more wait than may; who comes from elsewhere takes the place of the last of a flood', async () => {
    const pace = new Pace({ perSecond: 1, burst: 1, waitMs: 60_000, maxWaiting: 3 });
    expect(pace.turn('a')).toBeNull();
    const flood = Array.from({ length: 4 }, () => settled(pace.turn('a')));
    expect(await flood[3]).toBe(false);
    void pace.turn('b');
    expect(await flood[2]).toBe(false);
    expect(pace.waiting).toBe(3);
    pace.dismiss();
    expect(await Promise.all(flood)).toEqual([false, false, false, false]);
    expect(pace.waiting).toBe(0);
  });

  it('sides take turns', async () => {
    const pace = new Pace({ perSecond: 20, burst: 20, waitMs: 60_000, maxWaiting: 100 });
    for (let spent = 0; spent < 20; spent++) pace.turn('a');
    const order: string[] = [];
    await Promise.all(['a', 'a', 'a', 'b'].map((lane) => settled(pace.turn(lane)).then(() => order.push(lane))));
    expect(order.indexOf('b')).toBe(1);
  });
});
