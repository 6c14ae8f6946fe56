import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from '../../src/kernel/fair_queue.ts';
import type { Link } from '../../src/kernel/linked_list.ts';

/** The rule, as simple as it can be said: lanes in the order of their turns, each with its items in the order of coming. */
class WalkedQueue {
  #lanes: { readonly name: string; items: number[] }[] = [];

  get size(): number {
    return this.#lanes.reduce((sum, { items }) => sum + items.length, 0);
  }

  push(name: string, item: number): void {
    const lane = this.#lanes.find((one) => one.name === name);
    if (lane === undefined) this.#lanes.push({ name, items: [item] });
    else lane.items.push(item);
  }

  shift(): number | undefined {
    const lane = this.#lanes.shift();
    const item = lane?.items.shift();
    if (lane !== undefined && lane.items.length > 0) this.#lanes.push(lane);
    return item;
  }

  remove(item: number): void {
    for (const lane of this.#lanes) lane.items = lane.items.filter((one) => one !== item);
    this.#lanes = this.#lanes.filter(({ items }) => items.length > 0);
  }

  /** What may be taken for one that comes to a lane: the last of each longest one, unless its own would be as long. */
  candidates(name: string): (number | undefined)[] {
    const longest = Math.max(0, ...this.#lanes.map(({ items }) => items.length));
    const own = this.#lanes.find((one) => one.name === name)?.items.length ?? 0;
    if (longest <= own + 1) return [];
    return this.#lanes.filter(({ items }) => items.length === longest).map(({ items }) => items.at(-1));
  }
}

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
    const first = queue.push('a', 'a1');
    const second = queue.push('a', 'a2');
    queue.delete('a', first);
    queue.delete('a', first);
    queue.delete('b', second);
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

  it('property: turns, and what is yielded, are those of a queue that walks over all that waits', () => {
    const lane = fc.nat(7).map(String);
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), lane }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('yieldTo' as const), lane }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('shift' as const), lane }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), lane, nth: fc.nat(100) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new FairQueue<number>();
        const model = new WalkedQueue();
        const links = new Map<number, { lane: string; link: Link<number> }>();
        for (const [id, one] of steps.entries()) {
          if (one.kind === 'push') {
            links.set(id, { lane: one.lane, link: queue.push(one.lane, id) });
            model.push(one.lane, id);
          } else if (one.kind === 'shift') expect(queue.shift()).toBe(model.shift());
          else if (one.kind === 'yieldTo') {
            const candidates = model.candidates(one.lane);
            const yielded = queue.yieldTo(one.lane);
            if (candidates.length === 0) expect(yielded).toBeUndefined();
            else expect(candidates).toContain(yielded);
            if (yielded !== undefined) model.remove(yielded);
          } else {
            // Also those that are out already.
            const [known, entry] = [...links][one.nth % Math.max(links.size, 1)] ?? [];
            if (known === undefined || entry === undefined) continue;
            queue.delete(entry.lane, entry.link);
            model.remove(known);
          }
          expect(queue.size).toBe(model.size);
        }
        for (let left = model.shift(); left !== undefined; left = model.shift()) expect(queue.shift()).toBe(left);
        expect(queue.shift()).toBeUndefined();
      }),
      { numRuns: 500 },
    );
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
