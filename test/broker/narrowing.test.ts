import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { narrow } from '../../src/broker/ceiling.ts';
import { type Detail, liesWithin, narrowDetails } from '../../src/broker/details.ts';
import { readTokenRequest, type TokenAsk } from '../../src/broker/token_request.ts';
import type { WorkflowConfig } from '../../src/config/workflows_schema.ts';

/**
 * What items allow, told a second time and in another way: as the set of single acts. An item allows an act when each of its members does; one
 * that it does not have does not matter.
 */
interface Act {
  readonly type: string;
  readonly action: string;
  readonly path: string;
  readonly location: string;
  readonly datatype: string;
  readonly privilege: string;
  readonly tag: string;
}

const TYPES = ['cloud_api', 'other'];
const ACTIONS = ['a', 'b', 'c'];
const PATHS = ['p', 'p/1', 'p/10', 'p/1/x', 'p/1/x/y', 'q'];
const PLACES = ['eu', 'us'];
const KINDS = ['logs'];
const LEVELS = ['admin'];
const TAGS = ['t1', 't2'];

const acts: Act[] = TYPES.flatMap((type) =>
  ACTIONS.flatMap((action) =>
    PATHS.flatMap((path) =>
      [...PLACES, 'elsewhere'].flatMap((location) =>
        [...KINDS, 'other'].flatMap((datatype) =>
          [...LEVELS, 'reader'].flatMap((privilege) =>
            [...TAGS, 't3'].map((tag) => ({ type, action, path, location, datatype, privilege, tag })),
          ),
        ),
      ),
    ),
  ),
);

function allows(item: Readonly<Record<string, unknown>>, act: Act): boolean {
  const among = (name: string, value: string) => !(name in item) || (item[name] as string[]).includes(value);
  const identifier = item['identifier'];
  return (
    item['type'] === act.type &&
    among('actions', act.action) &&
    among('locations', act.location) &&
    among('datatypes', act.datatype) &&
    among('privileges', act.privilege) &&
    (identifier === undefined || act.path === identifier || act.path.startsWith(`${String(identifier)}/`)) &&
    (!('tag' in item) || item['tag'] === act.tag)
  );
}

const some = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });
const detail: fc.Arbitrary<Detail> = fc.record(
  {
    type: fc.constantFrom(...TYPES),
    actions: some(ACTIONS),
    identifier: fc.constantFrom(...PATHS),
    locations: some(PLACES),
    datatypes: some(KINDS),
    privileges: some(LEVELS),
    tag: fc.constantFrom(...TAGS),
  },
  { requiredKeys: ['type'] },
);
const details = fc.array(detail, { maxLength: 4 });
const scopes = fc.uniqueArray(fc.constantFrom('r', 'w', 'x', 'y', '__proto__', 'constructor'), { maxLength: 5 });
const resources = fc.uniqueArray(fc.constantFrom('https://a.example', 'https://b.example', 'https://c.example'), {
  maxLength: 3,
});

const workflow = (ceiling: { scopes: string[]; details: Detail[]; resources: string[] }): WorkflowConfig =>
  ({
    name: 'w',
    match: { issuer: 'https://ci.example', repository_id: ['1'] },
    scopes: ceiling.scopes,
    authorization_details: ceiling.details,
    resources: ceiling.resources,
    job_claims: [],
  }) as unknown as WorkflowConfig;

const ceiling = fc.record({ scopes, details, resources: resources.filter((all) => all.length > 0) });
const ask: fc.Arbitrary<TokenAsk> = fc.record({
  scopes: fc.option(scopes, { nil: null }),
  details: fc.option(details, { nil: null }),
  resources,
  workflow: fc.constant(null),
  environment: fc.constant(null),
});

describe('granted ⊆ ceiling ∩ request, for whatever is asked for', () => {
  it('property: every act that narrowed details allow, one item of the ceiling allows and one item asked for allows', () => {
    fc.assert(
      fc.property(details, details, (limits, asked) => {
        const narrowed = narrowDetails(limits, asked);
        for (const act of acts) {
          if (!narrowed.some((item) => allows(item, act))) continue;
          expect(limits.some((limit) => allows(limit, act))).toBe(true);
          expect(asked.some((item) => allows(item, act))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('property: nothing that both allow is lost, but what a member narrows that the ceiling does not know', () => {
    const plain = detail.map(({ tag: _tag, ...item }) => item as Detail);
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 3 }), fc.array(plain, { maxLength: 3 }), (limits, asked) => {
        const narrowed = narrowDetails(limits, asked);
        for (const act of acts) {
          const both = limits.some((limit) => allows(limit, act)) && asked.some((item) => allows(item, act));
          expect(narrowed.some((item) => allows(item, act))).toBe(both);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('property: narrowing again changes nothing, and everything narrowed lies within what was asked for or the ceiling', () => {
    fc.assert(
      fc.property(details, details, (limits, asked) => {
        const once = narrowDetails(limits, asked);
        const allowed = (items: readonly Detail[]) =>
          acts.filter((act) => items.some((item) => allows(item, act))).length;
        expect(allowed(narrowDetails(limits, once))).toBe(allowed(once));
      }),
      { numRuns: 150 },
    );
  });

  it('property: whole requests: scopes, details and resources are of both, or the request is refused', () => {
    fc.assert(
      fc.property(ceiling, ask, (limits, wanted) => {
        const outcome = narrow(workflow(limits), wanted);
        if (!outcome.ok) {
          expect(['beyond_ceiling', 'resource_needed']).toContain(outcome.reason);
          return;
        }
        const { scopes: given, details: items, resources: places } = outcome.value;
        const silent = wanted.scopes === null && wanted.details === null;
        for (const scope of given) {
          expect(limits.scopes).toContain(scope);
          if (!silent) expect(wanted.scopes ?? []).toContain(scope);
        }
        expect(places.length).toBeGreaterThan(0);
        for (const place of places) {
          expect(limits.resources).toContain(place);
          if (wanted.resources.length > 0) expect(wanted.resources).toContain(place);
        }
        for (const act of acts.filter((one) => items.some((item) => allows(item, one)))) {
          expect(limits.details.some((limit) => allows(limit, act))).toBe(true);
          if (!silent) expect((wanted.details ?? []).some((item) => allows(item, act))).toBe(true);
        }
        // Something was asked for and something is granted, never an empty request that a server might fill.
        if (!silent) expect(given.length + items.length).toBeGreaterThan(0);
      }),
      { numRuns: 300 },
    );
  });

  it('property: what a server grants passes only when it allows nothing beyond what was asked for', () => {
    fc.assert(
      fc.property(detail, detail, (limit, item) => {
        if (!liesWithin(limit, item)) return;
        for (const act of acts) if (allows(item, act)) expect(allows(limit, act)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('an item lies within itself, and one that leaves a member out, or has another value, does not', () => {
    const limit = { type: 'cloud_api', actions: ['a', 'b'], identifier: 'p/1', locations: ['eu'] };
    expect(liesWithin(limit, limit)).toBe(true);
    expect(liesWithin(limit, { ...limit, actions: ['a'], identifier: 'p/1/x', note: 'enriched' })).toBe(true);
    for (const other of [
      { ...limit, actions: ['a', 'c'] },
      { ...limit, actions: [] },
      { ...limit, actions: 'a' },
      { ...limit, identifier: 'p' },
      { ...limit, identifier: 'p/10' },
      { ...limit, type: 'other' },
      { type: 'cloud_api', actions: ['a'], identifier: 'p/1' },
    ]) {
      expect(liesWithin(limit, other), JSON.stringify(other)).toBe(false);
    }
  });
});

describe('names of the prototype are names like others', () => {
  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'a member %s in an item asked for is not within a ceiling',
    (name) => {
      const body = new URLSearchParams({
        authorization_details: `[{"type":"cloud_api","actions":["a"],"${name}":{"actions":["b"]}}]`,
      });
      const read = readTokenRequest(new TextEncoder().encode(body.toString()));
      if (!read.ok) {
        expect(read.error).toBe('invalid_authorization_details');
        return;
      }
      const limit = { type: 'cloud_api', actions: ['a'] };
      expect(narrowDetails([limit], read.value.details ?? [])).toEqual([]);
      expect(({} as Record<string, unknown>)['actions']).toBeUndefined();
    },
  );

  it.each(['__proto__', 'constructor', 'toString'])(
    'a scope %s is granted only where the ceiling lists it',
    (scope) => {
      const request: TokenAsk = { scopes: [scope], details: null, resources: [], workflow: null, environment: null };
      const limits = { details: [], resources: ['https://a.example'] };
      expect(narrow(workflow({ ...limits, scopes: ['r'] }), request).ok).toBe(false);
      expect(narrow(workflow({ ...limits, scopes: [scope] }), request)).toMatchObject({
        ok: true,
        value: { scopes: [scope] },
      });
    },
  );
});
