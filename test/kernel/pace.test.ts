import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pace, type Turn } from '../../src/kernel/pace.ts';

const settled = (turn: Turn | null) => turn?.came ?? Promise.resolve(true);

describe('Pace', () => {
  it('lets through what was saved up at once, and what comes beyond in time', async () => {
    const pace = new Pace({ perSecond: 50, burst: 50, waitMs: 10_000, maxWaiting: 100 });
    const turns = Array.from({ length: 60 }, () => pace.turn('a'));
    expect(turns.filter((turn) => turn === null)).toHaveLength(50);
    expect(pace.waiting).toBe(10);
    expect(await Promise.all(turns.map(settled))).toEqual(turns.map(() => true));
    expect(pace.waiting).toBe(0);
  });

  it('what is charged is waited for, and never more than may go at once', async () => {
    const pace = new Pace({ perSecond: 50, burst: 10, waitMs: 60_000, maxWaiting: 100 });
    for (let spent = 0; spent < 10; spent++) expect(pace.turn('a')).toBeNull();
    for (let charged = 0; charged < 100; charged++) pace.charge(4);
    const begun = performance.now();
    expect(await settled(pace.turn('a'))).toBe(true);
    // 10 owed and one of its own, at 50 a second.
    expect(performance.now() - begun).toBeGreaterThan(200);
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

  it('who leaves gives its place to others, once', async () => {
    const pace = new Pace({ perSecond: 1, burst: 1, waitMs: 60_000, maxWaiting: 2 });
    expect(pace.turn('a')).toBeNull();
    const first = pace.turn('a');
    const second = pace.turn('a');
    first?.leave();
    first?.leave();
    expect(await first?.came).toBe(false);
    expect(pace.waiting).toBe(1);
    pace.turn('a');
    expect(pace.waiting).toBe(2);
    pace.dismiss();
    second?.leave();
    expect(await second?.came).toBe(false);
    expect(pace.waiting).toBe(0);
  });

  it('property: however many come and leave, no more wait than may, sides have equal shares, and everybody hears of its turn', async () => {
    const arrival = fc.record({ lane: fc.nat(6), leaves: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { maxLength: 200 }), fc.integer({ min: 1, max: 20 }), async (all, most) => {
        const pace = new Pace({ perSecond: 0.001, burst: 1, waitMs: 3_600_000, maxWaiting: most });
        expect(pace.turn('first')).toBeNull();
        const turns: { turn: Turn | null; lane: number; over: boolean }[] = [];
        for (const { lane, leaves } of all) {
          const entry = { turn: pace.turn(String(lane)), lane, over: false };
          void settled(entry.turn).then(() => {
            entry.over = true;
          });
          turns.push(entry);
          if (leaves) entry.turn?.leave();
          expect(pace.waiting).toBeLessThanOrEqual(most);
        }
        await new Promise((resolve) => setImmediate(resolve));
        const left = turns.filter(({ over }) => !over);
        expect(left).toHaveLength(pace.waiting);
        pace.dismiss();
        await new Promise((resolve) => setImmediate(resolve));
        expect(turns.every(({ over }) => over)).toBe(true);
        expect(pace.waiting).toBe(0);
        // Who lost its place to a full room: no side that waits has two more than it.
        if (all.some(({ leaves }) => leaves)) return;
        const shares = new Map<number, number>();
        for (const { lane } of left) shares.set(lane, (shares.get(lane) ?? 0) + 1);
        const longest = Math.max(0, ...shares.values());
        const came = Map.groupBy(all, ({ lane }) => lane);
        for (const [lane, items] of came) {
          expect(shares.get(lane) ?? 0).toBeGreaterThanOrEqual(Math.min(items.length, longest - 1));
        }
      }),
    );
  });
});
