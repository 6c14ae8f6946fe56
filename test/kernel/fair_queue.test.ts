import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from '../../src/kernel/fair_queue.ts';

describe('FairQueue', () => {
  it('lanes take turns, and each is in the order of coming', () => {
    const queue = new FairQueue<string>();
    for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'b2']) queue.push(item.charAt(0), item);
    expect(queue.size).toBe(6);
    const taken = Array.from({ length: 7 }, () => queue.shift());
    expect(taken).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', undefined]);
    expect(queue.size).toBe(0);
  });

  it('what was taken out has no turn', () => {
    const queue = new FairQueue<string>();
    queue.push('a', 'a1');
    queue.push('a', 'a2');
    queue.delete('a', 'a1');
    queue.delete('a', 'never there');
    queue.delete('b', 'a2');
    expect([queue.size, queue.shift(), queue.shift(), queue.size]).toEqual([1, 'a2', undefined, 0]);
  });

  it('the longest lane yields its last item, to others only', () => {
    const queue = new FairQueue<string>();
    for (const item of ['a1', 'a2', 'a3', 'b1']) queue.push(item.charAt(0), item);
    expect(queue.yieldTo('a')).toBeUndefined();
    expect(queue.yieldTo('b')).toBe('a3');
    expect(queue.yieldTo('b')).toBeUndefined();
    expect(queue.yieldTo('c')).toBe('a2');
    expect(queue.size).toBe(2);
  });

  it('property: everything comes out once, and nobody has two turns more than another who waits', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { maxLength: 60 }), (lanes) => {
        const queue = new FairQueue<{ lane: string }>();
        const items = lanes.map((lane) => ({ lane: String(lane) }));
        for (const item of items) queue.push(item.lane, item);
        const turns = new Map<string, number>();
        const left = new Map<string, number>();
        for (const { lane } of items) left.set(lane, (left.get(lane) ?? 0) + 1);
        const taken = new Set<object>();
        for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
          taken.add(item);
          turns.set(item.lane, (turns.get(item.lane) ?? 0) + 1);
          left.set(item.lane, (left.get(item.lane) ?? 0) - 1);
          const waiting = [...left].filter(([, count]) => count > 0).map(([lane]) => turns.get(lane) ?? 0);
          expect((turns.get(item.lane) ?? 0) - Math.min(...waiting, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(1);
        }
        expect(taken.size).toBe(items.length);
      }),
    );
  });
});
