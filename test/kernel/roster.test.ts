import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Roster } from '../../src/kernel/roster.ts';

it('holds what a set would hold, whatever comes and goes', () => {
  const steps = fc.array(fc.record({ adds: fc.boolean(), which: fc.nat({ max: 15 }) }), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (taken) => {
      const members = Array.from({ length: 16 }, () => ({ place: -1 }));
      const roster = new Roster<{ place: number }>();
      const model = new Set<{ place: number }>();
      for (const { adds, which } of taken) {
        const member = members[which]!;
        if (!adds) {
          roster.delete(member);
          model.delete(member);
        } else if (!model.has(member)) {
          roster.add(member);
          model.add(member);
        }
        expect(new Set(roster.all())).toEqual(model);
        expect(roster.size).toBe(model.size);
        const any = roster.any();
        expect(any === undefined ? model.size === 0 : model.has(any)).toBe(true);
      }
    }),
  );
});

it('takes nothing twice, and nothing out that stands in another', () => {
  const [one, other] = [new Roster<{ place: number }>(), new Roster<{ place: number }>()];
  const member = { place: -1 };
  one.add(member);
  expect(() => one.add(member)).toThrow(/already/);
  other.add({ place: -1 });
  other.delete(member);
  expect([one.size, other.size]).toEqual([1, 1]);
});

it('who ends members one by one meanwhile still sees all', () => {
  const roster = new Roster<{ place: number }>();
  const members = [1, 2, 3].map(() => ({ place: -1 }));
  for (const member of members) roster.add(member);
  for (const member of roster.all()) roster.delete(member);
  expect(roster.size).toBe(0);
});
