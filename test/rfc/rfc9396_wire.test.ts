import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllowed, expectRefused } from '../support/expect_outcome.ts';
import { TRANSPORTS } from '../support/transports.ts';
import { DETAIL, ORIGIN, type Outcome, PATH, RESOURCE, Wire } from '../support/wire.ts';

/** RFC 9396 over the wire of a whole gateway with the starter policy: which calls the authorization_details of a token cover. */

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ transports: TRANSPORTS });
});
afterAll(() => wire.close());

const UNCOVERED = 'policy.insufficient_authorization_details';
const MALFORMED = 'token.authorization_details';
const ALL_SCOPES = 'projects:read projects:admin builds:read builds:write secrets:read';

interface Call {
  readonly method?: string;
  readonly path?: string;
}

/** Makes a call with a token of these details and every scope. */
function call(details: unknown, { method = 'GET', path = PATH }: Call = {}): Promise<Outcome> {
  return wire.call({
    token: wire.token({ claims: { authorization_details: details, scope: ALL_SCOPES } }),
    method,
    path,
  });
}

/** Asserts what comes of such a call; reason null: it is allowed. */
async function outcomeIs(reason: string | null, details: unknown, where?: Call): Promise<void> {
  const outcome = await call(details, where);
  if (reason === null) expectAllowed(outcome);
  else expectRefused(outcome, reason);
}

describe('RFC 9396 §2: an array of objects with a type', () => {
  it.each<[string, unknown]>([
    ['null', null],
    ['a text', JSON.stringify([DETAIL])],
    ['an object', DETAIL],
    ['an object with numbers', { 0: DETAIL, length: 1 }],
    ['a number', 1],
    ['true', true],
    ['an array with null', [DETAIL, null]],
    ['an array with a text', [DETAIL, 'cloud_api']],
    ['an array in the array', [[DETAIL]]],
    ['an item without a type', [{ ...DETAIL, type: undefined }]],
    ['an item whose type is null', [{ ...DETAIL, type: null }]],
    ['an item whose type is a number', [{ ...DETAIL, type: 1 }]],
    ['an item whose type is an array', [{ ...DETAIL, type: ['cloud_api'] }]],
    ['an item whose type is empty', [{ ...DETAIL, type: '' }]],
    ['a good item beside a broken one', [DETAIL, { type: {} }]],
  ])('RFC 9396 §2: %s is malformed', (_, details) => outcomeIs(MALFORMED, details));

  it('RFC 9396 §2: 1,000 items are read; more are not, and 10,000 are too large for a header', async () => {
    const small = (count: number) => [...Array.from({ length: count - 1 }, () => ({ type: 'x' })), DETAIL];
    await outcomeIs(null, small(700));
    await outcomeIs(
      MALFORMED,
      Array.from({ length: 1001 }, () => 0),
    );
    const token = wire.token({ claims: { authorization_details: small(10_000) } });
    // Over HTTP/2 the stream or the connection is reset by whoever reads frames (test/security/http2.test.ts).
    const { answer, upstream, summary } = await wire.sendFirst({ lines: wire.lines(token) });
    expect([answer.status, upstream, summary['reason']]).toEqual([431, [], 'request.headers_too_large']);
  });
});

describe('RFC 9396 §2, §9.1: one whole item covers the call', () => {
  it.each<[string, unknown[]]>([
    ['no item', []],
    ['an unknown type', [{ ...DETAIL, type: 'payment_initiation' }]],
    ['the type in another case', [{ ...DETAIL, type: 'Cloud_API' }]],
    ['an unknown member, which may be a restriction', [{ ...DETAIL, until: 1 }]],
    ['members of other common fields', [{ ...DETAIL, datatypes: ['x'], privileges: ['admin'] }]],
    ['no actions', [{ ...DETAIL, actions: undefined }]],
    ['an empty list of actions', [{ ...DETAIL, actions: [] }]],
    ['actions as one text', [{ ...DETAIL, actions: 'projects.get' }]],
    ['actions null', [{ ...DETAIL, actions: null }]],
    ['actions as an object', [{ ...DETAIL, actions: { get: 'projects.get' } }]],
    ['other actions', [{ ...DETAIL, actions: ['projects.list', 'builds.get'] }]],
    ['actions that begin like it', [{ ...DETAIL, actions: ['projects', 'projects.get.all', 'projects.*', '*'] }]],
    ['the action in another case', [{ ...DETAIL, actions: ['Projects.Get'] }]],
    ['the HTTP method as action', [{ ...DETAIL, actions: ['GET', 'read'] }]],
    ['no identifier', [{ ...DETAIL, identifier: undefined }]],
    ['an empty identifier', [{ ...DETAIL, identifier: '' }]],
    ['an identifier in an array', [{ ...DETAIL, identifier: ['projects/p1'] }]],
    ['identifier null', [{ ...DETAIL, identifier: null }]],
    ['identifiers, not identifier', [{ ...DETAIL, identifier: undefined, identifiers: ['projects/p1'] }]],
    [
      'action and identifier in two items',
      [
        { ...DETAIL, identifier: 'projects/p2' },
        { ...DETAIL, actions: ['builds.get'] },
      ],
    ],
    ['type and rights in two items', [{ type: 'cloud_api' }, { ...DETAIL, type: 'other' }]],
  ])('RFC 9396 §2: %s grants nothing', (_, details) => outcomeIs(UNCOVERED, details));

  it.each<[string, unknown[]]>([
    ['alone', [DETAIL]],
    ['behind unknown types', [{ type: 'payment_initiation' }, { type: 'openid', x: {} }, DETAIL]],
    ['before an item for something else', [DETAIL, { ...DETAIL, identifier: 'projects/p2' }]],
    ['twice', [DETAIL, DETAIL]],
  ])('RFC 9396 §2: a covering item %s allows', (_, details) => outcomeIs(null, details));
});

describe('RFC 9396 §2.2 identifier: by segment', () => {
  const at = (identifier: string) => [{ ...DETAIL, actions: ['projects.get', 'builds.get'], identifier }];
  const build = '/v1/projects/p1/builds/b1';

  it.each([
    ['projects/p1', PATH],
    ['projects/p1', build],
    ['projects/p1/', build],
    ['projects', build],
    ['projects/p1/builds', build],
    ['projects/p1/builds/b1', build],
    ['projects/p10', '/v1/projects/p10'],
  ])('RFC 9396 §2.2: %s covers %s', (identifier, path) => outcomeIs(null, at(identifier), { path }));

  it.each([
    ['projects/p1', '/v1/projects/p10'],
    ['projects/p10', PATH],
    ['projects/p', PATH],
    ['project', PATH],
    ['projects/P1', PATH],
    ['projects/p1/builds/b', build],
    ['projects/p1/builds/b10', build],
    ['projects/p1/build', build],
    ['projects/*', PATH],
    ['*', PATH],
    ['/', PATH],
    ['/projects/p1', PATH],
    ['projects//p1', PATH],
    ['projects/./p1', PATH],
    ['projects/x/../p1', PATH],
    ['projects%2Fp1', PATH],
    ['projects/%70%31', PATH],
    ['projects/p1?x', PATH],
  ])('RFC 9396 §2.2: %s does not cover %s', (identifier, path) => outcomeIs(UNCOVERED, at(identifier), { path }));
});

describe('RFC 9396 §2.2 locations', () => {
  const at = (...locations: unknown[]) => [{ ...DETAIL, locations }];

  it.each([RESOURCE, `${RESOURCE}/`, ORIGIN, `${RESOURCE}/projects`, ORIGIN + PATH])(
    'RFC 9396 §2.2: %s contains the call',
    (location) => outcomeIs(null, at(location)),
  );

  it('RFC 9396 §2.2: any one of several suffices', () => outcomeIs(null, at('https://other.example.com', RESOURCE)));

  it.each([
    'https://other.example.com/v1',
    'http://cloud.example.com/v1',
    'https://cloud.example.com:8443/v1',
    'https://cloud.example.com.evil.example/v1',
    'https://cloud.example.com/v10',
    'https://cloud.example.com/v1/projects/p10',
    `${ORIGIN}${PATH}/builds`,
    'https://',
    '*',
    '',
    null,
    1,
    [RESOURCE],
  ])('RFC 9396 §2.2: %j does not', (location) => outcomeIs(UNCOVERED, at(location)));

  it.each<[string, unknown]>([
    ['an empty list', []],
    ['null', null],
    ['one text', RESOURCE],
    ['an object', { 0: RESOURCE }],
  ])('RFC 9396 §2.2: locations that are %s contain nothing', (_, locations) =>
    outcomeIs(UNCOVERED, [{ ...DETAIL, locations }]),
  );
});

describe('RFC 9396 with scopes: both must allow', () => {
  it('RFC 9396 §3.1: details that cover do not replace the scope', async () => {
    const token = wire.token({ claims: { scope: 'builds:read' } });
    expectRefused(await wire.call({ token }), 'policy.insufficient_scope');
  });

  it('RFC 9396 §3.1: nor the other way about', () => outcomeIs(UNCOVERED, undefined));

  it('RFC 9396 §9.1: the method decides which operation is asked about', async () => {
    const path = '/v1/projects/p1/builds/b1';
    await outcomeIs(null, [DETAIL], { path });
    await outcomeIs(UNCOVERED, [DETAIL], { method: 'DELETE', path });
    await outcomeIs(null, [{ ...DETAIL, actions: ['builds.delete'] }], { method: 'DELETE', path });
  });

  it('the answer names the smallest authorization_details that would do', async () => {
    const outcome = await call([DETAIL], { path: '/v1/projects/p2' });
    expectRefused(outcome, UNCOVERED);
    const smallest = { type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p2' };
    expect(outcome.problem).toMatchObject({ required: { authorization_details: [smallest] } });
    expect(outcome.answer.headers['www-authenticate']?.join()).not.toContain('projects/p2');
    await outcomeIs(null, [smallest], { path: '/v1/projects/p2' });
  });
});
