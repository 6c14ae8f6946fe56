import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grantDetails, readDetails } from '../../src/authserver/authorization_details.ts';
import { loadDetailTypes } from '../../src/authserver/detail_types.ts';

const TYPES = loadDetailTypes([{ type: 'cloud_api' }]);
const coversCloudApi = (ceiling: AuthorizationDetail, asked: AuthorizationDetail) =>
  TYPES.get('cloud_api')?.covers(ceiling, asked);

/** An item of the type cloud_api. */
interface AuthorizationDetail extends Record<string, unknown> {
  readonly type: string;
  readonly actions: string[];
  readonly identifier: string;
  readonly locations?: string[];
}

const item = (changes: Partial<AuthorizationDetail> = {}): AuthorizationDetail => ({
  type: 'cloud_api',
  actions: ['builds.create'],
  identifier: 'projects/p1',
  ...changes,
});

describe('readDetails', () => {
  it('reads what is well-formed', () => {
    const details = [item(), item({ locations: ['https://cloud.example.com/v1'] })];
    expect(readDetails(JSON.stringify(details), TYPES)).toEqual({ ok: true, value: details });
  });

  it.each([
    ['text that is no JSON', '[{'],
    ['an object', JSON.stringify(item())],
    ['null', 'null'],
    ['an item that is null', '[null]'],
    ['an item without type', '[{"actions":["a"],"identifier":"p"}]'],
    ['an unknown type', '[{"type":"payment","actions":["a"],"identifier":"p"}]'],
    ['a type that is no text', '[{"type":1}]'],
    ['a type by inheritance', '[{"type":"constructor"}]'],
    ['an unknown field', JSON.stringify([{ ...item(), datatypes: ['x'] }])],
    ['a field named __proto__', '[{"type":"cloud_api","actions":["a"],"identifier":"p","__proto__":{"x":1}}]'],
    ['a repeated field', '[{"type":"cloud_api","actions":["a"],"identifier":"p","identifier":"q"}]'],
    ['no actions', '[{"type":"cloud_api","identifier":"p"}]'],
    ['an empty list of actions', JSON.stringify([item({ actions: [] })])],
    ['actions that are one text', '[{"type":"cloud_api","actions":"a","identifier":"p"}]'],
    ['a wildcard action', JSON.stringify([item({ actions: ['builds.*'] })])],
    ['no identifier', '[{"type":"cloud_api","actions":["a"]}]'],
    ['an empty identifier', JSON.stringify([item({ identifier: '' })])],
    ['an identifier with an empty segment', JSON.stringify([item({ identifier: 'projects//p1' })])],
    ['an identifier with a leading slash', JSON.stringify([item({ identifier: '/projects' })])],
    ['an identifier with a trailing slash', JSON.stringify([item({ identifier: 'projects/' })])],
    ['an identifier with a dot segment', JSON.stringify([item({ identifier: 'projects/p1/../p2' })])],
    ['an identifier with a wildcard', JSON.stringify([item({ identifier: 'projects/*' })])],
    ['an identifier with a line break', JSON.stringify([item({ identifier: 'projects/p1\n' })])],
    ['an empty list of locations', JSON.stringify([item({ locations: [] })])],
    ['a location that is no URI', JSON.stringify([item({ locations: ['here'] })])],
    ['51 items', JSON.stringify(Array.from({ length: 51 }, () => item()))],
    ['more than 8 kB', JSON.stringify([item({ identifier: 'x'.repeat(9000) })])],
  ])('refuses %s', (_what, text) => {
    expect(readDetails(text, TYPES).ok).toBe(false);
  });

  it('never throws, and its words hold nothing of what was sent', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const read = readDetails(text, TYPES);
        if (!read.ok) expect(read.problem).toMatch(/^authorization_details[\w .:[\]]+$/);
      }),
    );
  });
});

describe('coversCloudApi', () => {
  it.each([
    ['the same', item(), item(), true],
    ['fewer actions', item({ actions: ['a', 'b', 'c'] }), item({ actions: ['c', 'a'] }), true],
    ['one action more', item({ actions: ['a'] }), item({ actions: ['a', 'b'] }), false],
    ['something below', item({ identifier: 'projects/p1' }), item({ identifier: 'projects/p1/builds/7' }), true],
    ['something above', item({ identifier: 'projects/p1' }), item({ identifier: 'projects' }), false],
    ['p10 by p1', item({ identifier: 'projects/p1' }), item({ identifier: 'projects/p10' }), false],
    ['p1 in capitals', item({ identifier: 'projects/p1' }), item({ identifier: 'projects/P1' }), false],
    ['a location where the ceiling has none', item(), item({ locations: ['https://a.example/'] }), true],
    ['no location where the ceiling has one', item({ locations: ['https://a.example/'] }), item(), false],
    [
      'one location of two',
      item({ locations: ['https://a.example/', 'https://b.example/'] }),
      item({ locations: ['https://b.example/'] }),
      true,
    ],
    [
      'a location beside',
      item({ locations: ['https://a.example/'] }),
      item({ locations: ['https://a.example/', 'https://b.example/'] }),
      false,
    ],
  ])('%s', (_what, ceiling, asked, covered) => {
    expect(coversCloudApi(ceiling, asked)).toBe(covered);
  });
});

describe('grantDetails', () => {
  const action = fc.constantFrom('a', 'b', 'c');
  const identifier = fc.array(fc.constantFrom('p', 'p1', 'p10', 'q'), { minLength: 1, maxLength: 3 });
  const detail = fc
    .record({ actions: fc.uniqueArray(action, { minLength: 1 }), identifier })
    .map((parts) => item({ actions: parts.actions, identifier: parts.identifier.join('/') }));

  /** What an item allows, written out call by call. */
  const allows = (one: AuthorizationDetail, act: string, resource: readonly string[]) =>
    one.actions.includes(act) && one.identifier.split('/').every((segment, index) => resource[index] === segment);

  it('what is granted was asked for whole, and whatever it allows one item of the ceiling allows', () => {
    fc.assert(
      fc.property(fc.array(detail), fc.array(detail), action, identifier, (ceiling, asked, act, resource) => {
        const granted = grantDetails(TYPES, ceiling, asked);
        expect(asked).toEqual(expect.arrayContaining(granted));
        for (const one of granted as AuthorizationDetail[]) {
          if (allows(one, act, resource)) expect(ceiling.some((limit) => allows(limit, act, resource))).toBe(true);
        }
      }),
    );
  });

  it('parts of two items of the ceiling never add up', () => {
    const ceiling = [item({ actions: ['a'] }), item({ actions: ['b'] })];
    expect(grantDetails(TYPES, ceiling, [item({ actions: ['a', 'b'] })])).toEqual([]);
    expect(grantDetails(TYPES, ceiling, [item({ actions: ['a'] }), item({ actions: ['b'] })])).toHaveLength(2);
  });

  it('keeps the order asked, and leaves out what is not covered', () => {
    const asked = [item({ actions: ['b'] }), item({ identifier: 'projects/p9' }), item({ actions: ['a'] })];
    expect(grantDetails(TYPES, [item({ actions: ['a', 'b'] })], asked)).toEqual([asked[0], asked[2]]);
  });
});
