import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Link, LinkedList } from '../../src/kernel/linked_list.ts';

/** What stands in a list, walked in both directions. */
function contents<T>(list: LinkedList<T>): { forwards: T[]; backwards: T[] } {
  const forwards: T[] = [];
  const backwards: T[] = [];
  for (let link = list.first; link !== null; link = link.next) forwards.push(link.item);
  for (let link = list.last; link !== null; link = link.previous) backwards.unshift(link.item);
  return { forwards, backwards };
}

describe('LinkedList', () => {
  it('property: holds what an array would, whatever is taken out and wherever', () => {
    const step = fc.option(fc.nat(50), { nil: null });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const list = new LinkedList<number>();
        const links: Link<number>[] = [];
        let model: number[] = [];
        for (const [id, nth] of steps.entries()) {
          const link = nth === null ? undefined : links[nth % Math.max(links.length, 1)];
          if (link === undefined) {
            links.push(list.push(id));
            model.push(id);
          } else {
            expect(list.delete(link)).toBe(model.includes(link.item));
            model = model.filter((item) => item !== link.item);
          }
          expect(contents(list)).toEqual({ forwards: model, backwards: model });
          expect(list.size).toBe(model.length);
        }
      }),
    );
  });

  it('takes nothing out that stands in another list', () => {
    const one = new LinkedList<string>();
    const other = new LinkedList<string>();
    const link = one.push('a');
    other.push('a');
    expect(other.delete(link)).toBe(false);
    expect([one.size, other.size]).toEqual([1, 1]);
  });
});
