import fc from 'fast-check';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT_ASSERTION_TYPE } from '../../src/oauth/client_assertion.ts';
import { askAbout } from './ask_fixture.ts';
import {
  assertionFor,
  claimsOf,
  proofFor,
  RESOURCE,
  requestToken,
  signAssertion,
  startTestServer,
  type TestServer,
} from './fixture.ts';
import { clientKey, type RegistrationServer, register, send, startRegistrationServer } from './registration_fixture.ts';
import { byAssertion, byExchange, JWT_TYPE } from './workload_fixture.ts';

/** What somebody tries who has one good thing and wants another: the right token in the wrong place, the same one twice, one more parameter. */

let server: RegistrationServer;
let gateway: Awaited<ReturnType<typeof clientKey>>;
beforeAll(async () => {
  gateway = await clientKey();
  server = await startRegistrationServer(
    {},
    {
      server: {
        resource_servers: [{ client_id: 'gateway', jwks: { keys: [gateway.publicJwk] }, resources: [RESOURCE] }],
      },
    },
  );
});
afterAll(() => server.close());

const identity = () => server.ci.token({ claims: { repository_id: '456789', repository_owner_id: '1234' } });

describe('an identity token is taken once, by whatever door', () => {
  const doors: [string, (token: string) => Promise<number>][] = [
    ['JWT grant', async (token) => (await byAssertion(server, token)).status],
    ['token exchange', async (token) => (await byExchange(server, token)).status],
    [
      'actor of an exchange',
      async (token) =>
        (await byExchange(server, await identity(), { actor_token: token, actor_token_type: JWT_TYPE })).status,
    ],
    [
      'registration',
      async (token) => (await register(server, { jwks: { keys: [(await clientKey()).publicJwk] } }, token)).status,
    ],
  ];
  const pairs = doors.flatMap(([first, use]) => doors.map(([second, again]) => [first, second, use, again] as const));

  it.each(pairs)('RFC 7523 §3 item 7: %s, then %s', async (_first, _second, use, again) => {
    const token = await identity();
    expect(await use(token)).toBeLessThan(300);
    expect(await again(token)).toBeGreaterThanOrEqual(400);
  });

  it('at all doors at once: exactly one opens', async () => {
    for (let round = 0; round < 5; round++) {
      const token = await identity();
      const statuses = await Promise.all([...doors, ...doors].map(([, use]) => use(token)));
      expect(statuses.filter((status) => status < 300)).toHaveLength(1);
    }
  });
});

describe('RFC 8725 §3.12: no token is another kind of token', () => {
  const kinds = ['client assertion', 'proof', 'access token', 'identity token', 'introspection answer'] as const;
  const made = async (): Promise<Record<(typeof kinds)[number], string>> => {
    const access = String((await requestToken(server)).body['access_token']);
    const signed = await askAbout(
      server,
      'introspect',
      { clientId: 'gateway', key: gateway },
      { token: access },
      { accept: 'application/token-introspection+jwt' },
    );
    return {
      'client assertion': await assertionFor(server),
      proof: await proofFor(server),
      'access token': access,
      'identity token': await identity(),
      'introspection answer': signed.text,
    };
  };
  const slots: [string, (typeof kinds)[number][], (token: string) => Promise<number>][] = [
    ['client_assertion', ['client assertion'], async (assertion) => (await requestToken(server, { assertion })).status],
    ['DPoP', ['proof'], async (proof) => (await requestToken(server, { proof })).status],
    [
      'assertion',
      ['identity token'],
      async (token) => (await byAssertion(server, token, { client_id: 'deploy' })).status,
    ],
    ['subject_token', ['identity token'], async (token) => (await byExchange(server, token)).status],
    [
      'actor_token',
      ['identity token'],
      async (token) =>
        (await byExchange(server, await identity(), { actor_token: token, actor_token_type: JWT_TYPE })).status,
    ],
    [
      'the initial access token',
      ['identity token'],
      async (token) => (await register(server, { jwks: { keys: [(await clientKey()).publicJwk] } }, token)).status,
    ],
  ];

  it.each(slots)('as %s only what belongs there is good', async (_slot, good, use) => {
    const statuses: Record<string, boolean> = {};
    for (const kind of kinds) statuses[kind] = (await use((await made())[kind])) < 300;
    expect(statuses).toEqual(Object.fromEntries(kinds.map((kind) => [kind, good.includes(kind)])));
  });

  it('introspection knows access tokens alone', async () => {
    const all = await made();
    for (const kind of kinds) {
      const { text } = await askAbout(
        server,
        'introspect',
        { clientId: 'gateway', key: gateway },
        { token: all[kind] },
      );
      expect([kind, JSON.parse(text).active]).toEqual([kind, kind === 'access token']);
    }
  });
});

describe('RFC 7523 §3 item 3: whom an assertion is for', () => {
  const of = (aud: unknown) => async () =>
    (await requestToken(server, { assertion: await signAssertion(server, { aud }) })).status;
  it.each<[string, () => unknown]>([
    ['the token endpoint', () => `${server.issuer}/token`],
    ['the registration endpoint', () => `${server.issuer}/register`],
    ['the issuer with a slash', () => `${server.issuer}/`],
    ['the issuer in capitals', () => server.issuer.toUpperCase()],
    ['the issuer and the token endpoint', () => [server.issuer, `${server.issuer}/token`]],
    ['the issuer and another', () => [server.issuer, 'https://evil.example']],
    ['a text that begins with the issuer', () => `${server.issuer}.evil.example`],
    ['an object', () => ({ [server.issuer]: true })],
    ['nobody', () => undefined],
  ])('%s: refused', async (_name, aud) => expect(await of(aud())()).toBe(401));

  it('the issuer, also as the only one of a list (RFC 7519 §4.1.3): good', async () => {
    expect([await of(server.issuer)(), await of([server.issuer])()]).toEqual([200, 200]);
  });
});

describe('RFC 6749 §3.2: parameters', () => {
  const post = (path: string, body: string, more: Record<string, string> = {}) =>
    fetch(server.address + path, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...more },
    });
  const good = async () =>
    new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: 'ci',
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await assertionFor(server),
      resource: RESOURCE,
      scope: 'builds:write',
      authorization_details: JSON.stringify([
        { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' },
      ]),
    });
  const ask = async (form: URLSearchParams | string, path = '/token') => {
    const response = await post(path, String(form), { dpop: await proofFor(server) });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it('as they are: good', async () => expect((await ask(await good())).status).toBe(200));

  it.each([
    'grant_type',
    'client_id',
    'client_assertion_type',
    'client_assertion',
    'resource',
    'scope',
    'authorization_details',
  ])('%s twice, equal or not, in whatever spelling of the escapes: refused', async (name) => {
    for (const second of ['same', 'x', '%73ame']) {
      const form = await good();
      const value = second === 'same' ? encodeURIComponent(String(form.get(name))) : second;
      for (const spelt of [name, name.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`)]) {
        const { status, body } = await ask(`${form}&${spelt}=${value}`);
        expect([name, second, status >= 400 && status < 500, body['access_token']]).toEqual([
          name,
          second,
          true,
          undefined,
        ]);
      }
    }
  });

  it.each(['/introspect', '/revoke'])('%s: token twice is refused', async (path) => {
    const form = new URLSearchParams({
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await assertionFor(server),
    });
    expect((await post(path, `${form}&token=a&token=b`)).status).toBe(400);
  });

  it('the query is not read: neither does it add, nor replace', async () => {
    const form = await good();
    form.delete('scope');
    form.delete('authorization_details');
    expect(await ask(form, '/token?scope=builds:write')).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await ask(await good(), '/token?scope=builds:read&client_id=deploy')).toMatchObject({
      status: 200,
      body: { scope: 'builds:write' },
    });
  });

  it.each([
    'Scope=x',
    'scope%00=x',
    ' scope=x',
    'scope[]=x',
    'scope.=x',
    '__proto__=x',
    'constructor=x',
    'client_secret=',
    '=x',
    '&&&',
  ])('a parameter %s changes nothing of the answer', async (extra) => {
    const { status, body } = await ask(`${await good()}&${extra}`);
    expect([status, body['scope']]).toEqual([200, 'builds:write']);
  });

  it('two header fields of one kind: refused', async () => {
    const [one, two] = [await proofFor(server), await proofFor(server)];
    expect((await post('/token', String(await good()), { dpop: `${one}, ${two}` })).status).toBe(400);
    expect(
      (await post('/token', String(await good()), { dpop: one, authorization: 'Basic Y2k6' })).status,
    ).toBeGreaterThanOrEqual(400);
  });

  it('names of grants that are only used inside are no grants', async () => {
    const log = server.lines.length;
    for (const grant of [
      'introspection',
      'revocation',
      'urn:sallyport:introspection',
      'urn:sallyport:revocation',
      'client_credentials ',
      'CLIENT_CREDENTIALS',
    ]) {
      const form = await good();
      form.set('grant_type', grant);
      form.set('token', 'x');
      expect(await ask(form)).toMatchObject({ status: 400, body: { error: 'unsupported_grant_type' } });
    }
    expect(server.lines.length).toBeGreaterThanOrEqual(log);
  });

  it('RFC 8707 §2, RFC 8693 §2.1: one target, in one parameter', async () => {
    for (const parameters of [
      { audience: 'https://other.example.com/' },
      { audience: RESOURCE, resource: 'https://other.example.com/' },
      { audience: 'deploy' },
    ]) {
      const answer = await byExchange(server, await identity(), parameters);
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_target' } });
    }
  });
});

describe('RFC 9396 §5: authorization_details that are made to hurt', () => {
  const item = { type: 'cloud_api', actions: ['builds.create'], identifier: 'projects/p1' };
  const ask = (text: string) => requestToken(server, { parameters: { scope: null, authorization_details: text } });
  it.each<[string, string]>([
    ['arrays in arrays', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
    ['objects in objects', `[${'{"a":'.repeat(8000)}1${'}'.repeat(8000)}]`],
    ['ten thousand items', `[${Array.from({ length: 10_000 }, () => '{}').join(',')}]`],
    ['an item a thousand times', JSON.stringify(Array.from({ length: 501 }, () => item))],
    [
      'an array of ten thousand actions',
      JSON.stringify([{ ...item, actions: Array.from({ length: 4000 }, (_, n) => `a${n}`) }]),
    ],
    ['an identifier of 40 kB', JSON.stringify([{ ...item, identifier: 'p/'.repeat(20_000) }])],
    ['__proto__', '[{"__proto__":{"type":"cloud_api"},"actions":["builds.create"],"identifier":"projects/p1"}]'],
    [
      'a type by __proto__',
      '[{"type":"cloud_api","actions":["builds.create"],"identifier":"projects/p1","__proto__":{"x":1}}]',
    ],
    ['a type named constructor', '[{"type":"constructor","actions":["builds.create"],"identifier":"projects/p1"}]'],
    ['a type named __proto__', '[{"type":"__proto__"}]'],
    ['a field that no schema knows', JSON.stringify([{ ...item, admin: true }])],
    ['a type in capitals', JSON.stringify([{ ...item, type: 'CLOUD_API' }])],
    ['a type that is a list', JSON.stringify([{ ...item, type: ['cloud_api'] }])],
    ['an action that is a number', JSON.stringify([{ ...item, actions: [1] }])],
    ['an object instead of a list', JSON.stringify(item)],
    [
      'a name twice',
      '[{"type":"cloud_api","actions":["builds.list"],"actions":["builds.create"],"identifier":"projects/p1"}]',
    ],
    ['dots in a path', JSON.stringify([{ ...item, identifier: 'projects/p1/../p2' }])],
    ['an escaped slash', JSON.stringify([{ ...item, identifier: 'projects%2Fp1' }])],
    ['an infinite number', '[{"type":"cloud_api","actions":["builds.create"],"identifier":1e999}]'],
    ['half a surrogate', '[{"type":"cloud_api","actions":["builds.create"],"identifier":"projects/p1\\ud800"}]'],
  ])('%s: refused, with nothing of it in the answer', async (_name, text) => {
    const { status, body } = await ask(text);
    expect(status).toBe(400);
    // Where it is too large or too deep to be read at all, the request is what is wrong.
    expect(['invalid_authorization_details', 'invalid_request']).toContain(body['error']);
    expect(body['access_token']).toBeUndefined();
    expect(JSON.stringify(body).length).toBeLessThan(500);
  });

  it('and the server goes on', async () => expect((await requestToken(server)).status).toBe(200));
});

describe('registration: what one client has of another', () => {
  const key = async () => ({ jwks: { keys: [(await clientKey()).publicJwk] } });
  it('the initial access token twice at once: two clients, each with an address and a token of its own, which are no good for the other', async () => {
    const [one, two] = await Promise.all([register(server, await key()), register(server, await key())]);
    expect(one.body['client_id']).not.toBe(two.body['client_id']);
    const url = String(two.body['registration_client_uri']).replace(server.issuer, server.address);
    const token = String(one.body['registration_access_token']);
    for (const method of ['GET', 'PUT', 'DELETE'])
      expect((await send(url, { method, token, ...(method === 'PUT' ? { body: await key() } : {}) })).status).toBe(401);
    expect((await send(url, { method: 'GET', token: String(two.body['registration_access_token']) })).status).toBe(200);
  });

  it('RFC 7592 §2.2: a client cannot become another by naming it, nor take its token with it', async () => {
    const [one, two] = [await register(server, await key()), await register(server, await key())];
    const url = String(one.body['registration_client_uri']).replace(server.issuer, server.address);
    const token = String(one.body['registration_access_token']);
    for (const taken of [two.body['client_id'], 'ci', 'deploy', 'gateway', '__proto__']) {
      const answer = await send(url, { method: 'PUT', token, body: { ...(await key()), client_id: taken } });
      expect([taken, answer.status]).toEqual([taken, 400]);
    }
    for (const client_id of ['ci', 'gateway', two.body['client_id']]) {
      const answer = await register(server, { ...(await key()), client_id });
      if (answer.status === 201) expect(answer.body['client_id']).not.toBe(client_id);
    }
  });

  it('RFC 7591 §2.3: a software statement without a signature, or by any key, says nothing where nobody is trusted', async () => {
    const own = await clientKey();
    const claims = { software_id: 'x', scope: 'builds:write', iss: server.issuer };
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const statements = [
      `${encode({ alg: 'none' })}.${encode(claims)}.`,
      await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', jwk: own.publicJwk as never }).sign(own.privateKey),
      String((await requestToken(server)).body['access_token']),
      await identity(),
    ];
    for (const software_statement of statements) {
      const answer = await register(server, { ...(await key()), software_statement });
      expect([answer.status, answer.body['error']]).toEqual([400, 'unapproved_software_statement']);
    }
  });
});

describe('what is granted', () => {
  const SCOPES = ['a', 'b', 'c', 'd'];
  const ACTIONS = ['x', 'y', 'z'];
  let other: TestServer;
  let policy: { scopes?: string[]; authorization_details?: object[] };
  let ceiling: { scopes: string[]; details: Item[] };
  interface Item {
    readonly type: string;
    readonly actions: readonly string[];
    readonly identifier: string;
  }
  beforeAll(async () => {
    ceiling = {
      scopes: ['a', 'b', 'c'],
      details: [
        { type: 'cloud_api', actions: ['x', 'y'], identifier: 'p/1' },
        { type: 'cloud_api', actions: ['z'], identifier: 'p' },
      ],
    };
    other = await startTestServer(
      { scopes: ceiling.scopes, authorization_details: ceiling.details },
      { policy: () => [{ allow: true, ...policy }] },
    );
  });
  beforeEach(() => {
    policy = {};
  });
  afterAll(() => other.close());

  const detail = fc.record({
    type: fc.constant('cloud_api'),
    actions: fc.uniqueArray(fc.constantFrom(...ACTIONS), { minLength: 1 }),
    identifier: fc.constantFrom('p', 'p/1', 'p/1/q', 'p/2', 'pp', 'o'),
  });
  const within = (one: Item, limit: Item) =>
    one.actions.every((action) => limit.actions.includes(action)) &&
    (one.identifier === limit.identifier || one.identifier.startsWith(`${limit.identifier}/`));

  it('RFC 9396 §5: is never beyond the ceiling, the policy or the request, each of them', {
    timeout: 60_000,
  }, async () => {
    const list = fc.uniqueArray(fc.constantFrom(...SCOPES), { minLength: 1 });
    const said = fc.record({
      scopes: fc.option(list, { nil: undefined }),
      authorization_details: fc.option(fc.array(detail, { maxLength: 3 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(list, fc.array(detail, { maxLength: 3 }), said, async (scopes, details, answer) => {
        policy = JSON.parse(JSON.stringify(answer)) as typeof policy;
        const parameters = { scope: scopes.join(' '), authorization_details: JSON.stringify(details) };
        const { status, body } = await requestToken(other, { parameters });
        if (status !== 200) return;
        const claims = claimsOf(body['access_token']);
        const granted = String(claims['scope'] ?? '')
          .split(' ')
          .filter((scope) => scope !== '');
        const items = (claims['authorization_details'] ?? []) as Item[];
        for (const scope of granted) {
          expect([
            scopes.includes(scope),
            ceiling.scopes.includes(scope),
            answer.scopes?.includes(scope) ?? true,
          ]).toEqual([true, true, true]);
        }
        for (const one of items) {
          expect(details).toContainEqual(one);
          expect(ceiling.details.some((limit) => within(one, limit))).toBe(true);
          if (answer.authorization_details !== undefined) expect(answer.authorization_details).toContainEqual(one);
        }
        expect([body['scope'] ?? '', body['authorization_details'] ?? []]).toEqual([granted.join(' '), items]);
        expect(granted.length + items.length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });
});
