import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Detail, meet, narrowDetails } from '../../src/broker/details.ts';

const segment = fc.constantFrom('p', 'p1', 'p10', 'builds');
const detail: fc.Arbitrary<Detail> = fc.record({
  type: fc.constantFrom('cloud_api', 'other'),
  actions: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
  identifier: fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/')),
});

/** Whether an item lies wholly within another. */
function within(limit: Detail, item: Detail): boolean {
  const [outer, inner] = [String(limit['identifier']), String(item['identifier'])];
  const actions = item['actions'] as string[];
  return (
    limit.type === item.type &&
    actions.every((action) => (limit['actions'] as string[]).includes(action)) &&
    (inner === outer || inner.startsWith(`${outer}/`))
  );
}

describe('narrowDetails', () => {
  it('property: every item that is left lies within one item of the ceiling and within one that was asked for', () => {
    fc.assert(
      fc.property(fc.array(detail, { maxLength: 4 }), fc.array(detail, { maxLength: 4 }), (ceiling, asked) => {
        for (const item of narrowDetails(ceiling, asked)) {
          expect(ceiling.some((limit) => within(limit, item))).toBe(true);
          expect(asked.some((wanted) => within(wanted, item))).toBe(true);
        }
      }),
    );
  });

  it('property: what lies within the ceiling stays as it was asked for', () => {
    fc.assert(
      fc.property(detail, fc.array(detail, { maxLength: 4 }), (limit, asked) => {
        for (const item of asked) if (within(limit, item)) expect(narrowDetails([limit], [item])).toEqual([item]);
      }),
    );
  });

  it('a broader identifier is narrowed to that of the ceiling; p1 is not p10; a member nobody knows is not within it', () => {
    const limit = { type: 'cloud_api', actions: ['a'], identifier: 'projects/p1' };
    expect(meet(limit, { ...limit, identifier: 'projects' })).toEqual(limit);
    expect(meet(limit, { ...limit, identifier: 'projects/p10' })).toBeNull();
    expect(meet(limit, { ...limit, admin: true })).toBeNull();
    expect(meet({ ...limit, locations: ['x'] }, limit)).toEqual({ ...limit, locations: ['x'] });
    expect(meet(limit, { ...limit, locations: ['x'] })).toEqual({ ...limit, locations: ['x'] });
  });
});
