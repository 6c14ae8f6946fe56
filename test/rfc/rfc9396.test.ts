import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Denial, statusOf } from '../../src/kernel/denial.ts';
import { makeArtifact } from '../../src/policy/artifact.ts';
import { createDecider } from '../../src/policy/decide.ts';
import { readPolicyFolder } from '../../src/policy/folder.ts';
import { activatePolicy, type LoadedPolicy } from '../../src/policy/load.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { requestOf, type StarterCall } from '../policy/starter_cases.ts';
import { makeEvidence } from '../support/authorized.ts';
import { regoEngine } from '../support/rego.ts';

/** RFC 9396 as it binds a resource server: what the authorization_details of a token allow. The whole of stage 4 with the starter policy, in WASM. */

let policy: LoadedPolicy;

beforeAll(async () => {
  const { modules, data } = await readPolicyFolder(resolve(import.meta.dirname, '../../policies'));
  const entrypoint = 'sallyport/decision';
  const built = await buildPolicy({ modules, data, entrypoints: [entrypoint] }, regoEngine);
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  policy = await activatePolicy(makeArtifact({ wasm: built.wasm, data, entrypoint }));
});

afterAll(() => regoEngine.close());

function decide(call: StarterCall): 'allowed' | Denial {
  const request = requestOf(call);
  const result = createDecider({ policy: () => policy })(
    request.context,
    request.token,
    request.proof,
    makeEvidence(request),
  );
  return result.ok ? 'allowed' : result.denial;
}

const reasonOf = (call: StarterCall) => {
  const outcome = decide(call);
  return outcome === 'allowed' ? outcome : outcome.reason;
};

/** The call is builds.create on projects/p1/builds at https://cloud.example.com/v1/projects/p1/builds. */
const ITEM = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' };
const LOCATION = 'https://cloud.example.com/v1';

const withItems = (...authorizationDetails: Record<string, unknown>[]) => reasonOf({ token: { authorizationDetails } });
const withItem = (changes: Record<string, unknown>) => withItems({ ...ITEM, ...changes });

const REFUSED = 'policy.insufficient_authorization_details';

describe('RFC 9396 §2: authorization_details', () => {
  it('RFC 9396 §2: an item of the operation’s type that covers the call allows it', () => {
    expect(withItem({})).toBe('allowed');
  });

  it('RFC 9396 §2: an empty array allows nothing', () => {
    expect(withItems()).toBe(REFUSED);
  });

  it('RFC 9396 §2: items stand side by side; any one that covers the call suffices, wherever it stands', () => {
    const others = [
      { type: 'payment_initiation', instructedAmount: {} },
      { ...ITEM, identifier: 'projects/p2' },
    ];
    expect(withItems(...others, ITEM)).toBe('allowed');
    expect(withItems(ITEM, ...others)).toBe('allowed');
    expect(withItems(...others)).toBe(REFUSED);
  });

  it('RFC 9396 §2: several items of one type are each judged alone; parts of two never add up', () => {
    const action = { ...ITEM, identifier: 'projects/p2' };
    const identifier = { ...ITEM, actions: ['builds.get'] };
    expect(withItems(action, identifier)).toBe(REFUSED);
    const location = { ...ITEM, locations: ['https://other.example.com/'] };
    const elsewhere = { ...ITEM, actions: ['builds.get'], locations: [LOCATION] };
    expect(withItems(location, elsewhere)).toBe(REFUSED);
    expect(withItems({ ...ITEM, type: 'other' }, { type: 'cloud_api' })).toBe(REFUSED);
  });

  it.each(['', 'cloud', 'cloud_api ', 'CLOUD_API', 'cloud_apı', 'https://example.com/cloud_api', 'payment_initiation'])(
    'RFC 9396 §2.1: the type %j is another type, byte for byte, and grants nothing here',
    (type) => {
      expect(withItem({ type })).toBe(REFUSED);
    },
  );

  it('RFC 9396 §2: the type says what an item may contain; one with a member that the type does not have grants nothing', () => {
    for (const member of ['datatypes', 'privileges', 'instructedAmount', 'Actions', 'action', '__proto__x']) {
      expect(withItem({ [member]: ['anything'] })).toBe(REFUSED);
    }
  });
});

describe('RFC 9396 §2.2: common data fields', () => {
  it('RFC 9396 §2.2: an item grants the product of its fields: every action at every location', () => {
    const product = {
      ...ITEM,
      actions: ['builds.get', 'builds.create'],
      locations: ['https://other.example.com/v1', LOCATION],
    };
    expect(withItems(product)).toBe('allowed');
  });

  it.each([
    ['one text', 'builds.create'],
    ['an object', { first: 'builds.create' }],
    ['a list in a list', [['builds.create']]],
    ['null', null],
    ['true', true],
    ['a number', 1],
    ['an empty list', []],
    ['other actions', ['builds.get', 'builds.create.all', 'builds', '*']],
  ])('RFC 9396 §2.2 actions: %s does not name the operation', (_, actions) => {
    expect(withItem({ actions })).toBe(REFUSED);
  });

  it('RFC 9396 §2.2 actions: left out, nothing is granted', () => {
    expect(withItems({ type: 'cloud_api', identifier: 'projects/p1' })).toBe(REFUSED);
  });

  it('RFC 9396 §2.2 locations: left out, the audience of the token alone says where', () => {
    expect(withItem({})).toBe('allowed');
  });

  it.each([
    'https://cloud.example.com/v1',
    'https://cloud.example.com/v1/',
    'https://cloud.example.com',
    'https://cloud.example.com/v1/projects',
    'https://cloud.example.com/v1/projects/p1/builds',
  ])('RFC 9396 §2.2 locations: %s contains the call', (location) => {
    expect(withItem({ locations: [location] })).toBe('allowed');
  });

  it.each([
    'https://other.example.com/v1',
    'https://cloud.example.com.other.example/v1',
    'https://cloud.example.com:8443/v1',
    'http://cloud.example.com/v1',
    'https://cloud.example.com/v10',
    'https://cloud.example.com/v1/projects/p10',
    'https://cloud.example.com/v1/projects/p1/builds/b1',
    'https://cloud.example.com/v1?x',
    'https://cloud.example.com/v1#x',
    'https://',
    'https:',
    '/v1',
    '*',
    '',
  ])('RFC 9396 §2.2 locations: %j does not contain the call', (location) => {
    expect(withItem({ locations: [location] })).toBe(REFUSED);
  });

  it.each([
    ['one text', LOCATION],
    ['an object', { first: LOCATION }],
    ['a list in a list', [[LOCATION]]],
    ['null', null],
    ['an empty list', []],
  ])('RFC 9396 §2.2 locations: present as %s, they contain nothing', (_, locations) => {
    expect(withItem({ locations })).toBe(REFUSED);
  });

  it.each(['projects', 'projects/p1', 'projects/p1/', 'projects/p1/builds'])(
    'RFC 9396 §2.2 identifier: %s contains the resource',
    (identifier) => {
      expect(withItem({ identifier })).toBe('allowed');
    },
  );

  it.each([
    '',
    '/',
    'p1',
    'projects/p',
    'projects/p10',
    'projects/p1/builds/b1',
    'projects/P1',
    'projects/%70%31',
    '*',
  ])('RFC 9396 §2.2 identifier: %j does not contain the resource', (identifier) => {
    expect(withItem({ identifier })).toBe(REFUSED);
  });

  it('RFC 9396 §2.2 identifier: p10 is not part of p1', () => {
    const call = { operation: { resource: 'projects/p10/builds' }, path: '/v1/projects/p10/builds' };
    expect(reasonOf({ ...call, token: { authorizationDetails: [ITEM] } })).toBe(REFUSED);
  });

  it('RFC 9396 §2.2 identifier: left out, or no text, nothing is granted', () => {
    expect(withItems({ type: 'cloud_api', actions: ['builds.create'] })).toBe(REFUSED);
    for (const identifier of [null, true, 1, ['projects/p1'], { projects: 'p1' }]) {
      expect(withItem({ identifier })).toBe(REFUSED);
    }
  });
});

describe('RFC 9396 §3.1: scope and authorization_details together', () => {
  it('RFC 9396 §3.1: both must allow the call', () => {
    expect(reasonOf({ token: { scopes: [], authorizationDetails: [ITEM] } })).toBe('policy.insufficient_scope');
    expect(reasonOf({ token: { scopes: ['builds:write'], authorizationDetails: [] } })).toBe(REFUSED);
    expect(reasonOf({ token: { scopes: ['builds:write'], authorizationDetails: [ITEM] } })).toBe('allowed');
  });
});

describe('RFC 9396 §9: what the resource server answers', () => {
  it('RFC 9396 §9: refuses with 403 and the smallest authorization_details that would do', () => {
    const outcome = decide({ token: { authorizationDetails: [{ ...ITEM, identifier: 'projects/p2' }] } });
    if (outcome === 'allowed') throw new Error('the call was allowed');
    expect(statusOf(outcome.reason)).toBe(403);
    expect(outcome).toMatchObject({
      reason: REFUSED,
      policyReasons: [{ code: 'not_covered_by_authorization_details' }],
      requires: {
        scopes: ['builds:write'],
        authorization_details: [{ type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1/builds' }],
      },
    });
    expect(withItems(...(outcome.requires?.authorization_details ?? []))).toBe('allowed');
  });

  it('RFC 9396 §9: an operation of another type is covered by items of that type only', () => {
    const call = { operation: { authorizationDetailsType: 'database' } };
    expect(reasonOf({ ...call, token: { authorizationDetails: [ITEM] } })).toBe(REFUSED);
    expect(reasonOf({ ...call, token: { authorizationDetails: [{ ...ITEM, type: 'database' }] } })).toBe('allowed');
  });
});

describe('RFC 9396 §11.4: many and large authorization_details', () => {
  it('RFC 9396 §11.4: the one item that covers is found among a thousand', () => {
    const others = Array.from({ length: 1000 }, (_, index) => ({ ...ITEM, identifier: `projects/other-${index}` }));
    expect(withItems(...others)).toBe(REFUSED);
    expect(withItems(...others, ITEM)).toBe('allowed');
  });

  it('RFC 9396 §11.4: 10,000 items are too many to judge, and refused', () => {
    const items = Array.from({ length: 10_000 }, () => ITEM);
    expect(withItems(...items)).toBe('policy.input_too_large');
    expect(withItem({})).toBe('allowed');
  });

  it('RFC 9396 §11.4: an item nested 50,000 levels deep is refused, and harms nobody else', () => {
    let value: unknown = 1;
    for (let level = 0; level < 50_000; level++) value = [value];
    expect(withItems(ITEM, { type: 'other', value })).toBe('policy.input_too_large');
    expect(withItem({})).toBe('allowed');
  });
});
