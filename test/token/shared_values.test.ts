import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SharedValues } from '../../src/token/shared_values.ts';

describe('SharedValues', () => {
  it('equal values become one, which is frozen whole; others stay apart', () => {
    const shared = new SharedValues();
    const first = shared.share([{ type: 'cloud_api', actions: ['a'] }]);
    expect(shared.share([{ type: 'cloud_api', actions: ['a'] }])).toBe(first);
    expect(shared.share([{ type: 'cloud_api', actions: ['b'] }])).not.toBe(first);
    expect(Object.isFrozen(first[0]?.actions)).toBe(true);
    expect(shared.share({})).not.toBe(shared.share([]));
    expect(shared.share(['a b'])).not.toEqual(shared.share(['a', 'b']));
  });

  it('whatever is shared equals what was given', () => {
    const shared = new SharedValues();
    const value = fc.oneof(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()));
    fc.assert(
      fc.property(value, (given) => {
        const json: object = JSON.parse(JSON.stringify(given));
        expect(JSON.stringify(shared.share(json))).toBe(JSON.stringify(given));
      }),
    );
  });

  it('a value that is too large to be kept is passed through', () => {
    const shared = new SharedValues();
    const large = () => ['x'.repeat(5_000_000)];
    expect(shared.share(large())).not.toBe(shared.share(large()));
    expect(shared.share(large())).toEqual(large());
  });
});
