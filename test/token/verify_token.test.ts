import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REASONS } from '../../src/kernel/reasons.ts';
import { createTokenVerifier, type TokenVerifier } from '../../src/token/verify_token.ts';
import { makeKey } from '../support/issuer.ts';
import { closedPort, KeyServer, sendJson, until } from '../support/key_server.ts';
import { contextOf, issuerConfig, NOW, published, RESOURCE, TokenBench } from './fixture.ts';

let bench: TokenBench;
let more: TokenVerifier[];

beforeEach(async () => {
  more = [];
  bench = await TokenBench.start();
});

afterEach(async () => {
  for (const verifier of more) verifier.close();
  await bench.stop();
});

function another(options: Partial<Parameters<typeof createTokenVerifier>[0]> = {}): TokenVerifier {
  const issuers = [issuerConfig(bench.server.issuer)];
  const verifier = createTokenVerifier({ issuers, cacheSize: 100, clock: () => bench.now, ...options });
  more.push(verifier);
  return verifier;
}

describe('stage 2: verified tokens are remembered', () => {
  it('the second time the answer is there at once, and is the same object', async () => {
    const token = bench.token();
    const first = bench.verifier.verify(contextOf(token));
    expect(first).toBeInstanceOf(Promise);
    const checked = await first;
    const second = bench.verifier.verify(contextOf(token));
    expect(second).not.toBeInstanceOf(Promise);
    expect(checked).toMatchObject({ ok: true });
    expect(second).toEqual(checked);
    if (checked.ok) expect((second as typeof checked).value).toBe(checked.value);
    expect(bench.verifier.stats()).toEqual({ entries: 1, hits: 1, misses: 1 });
  });

  it('they are frozen whole, since requests share them', async () => {
    const claims = {
      authorization_details: [{ type: 'cloud_api', actions: ['a'] }],
      job: { provider: 'github', claims: { deep: { list: [{}] } } },
      extra: { list: [1, { a: 1 }] },
    };
    const token = await bench.factsOf(bench.token({ claims }));
    const unfrozen: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      if (!Object.isFrozen(value)) unfrozen.push(path);
      for (const [name, member] of Object.entries(value)) visit(member, `${path}.${name}`);
    };
    visit(token, 'token');
    expect(unfrozen).toEqual([]);
    expect(() => Object.assign(token.scopes, { 0: 'admin' })).toThrow(TypeError);
  });

  it('token.expired: never past exp, at once', async () => {
    const token = bench.token({ claims: { exp: NOW + 10 } });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.now = (NOW + 10) * 1000 - 1;
    expect(await bench.reasonOf(token)).toBeNull();
    bench.now = (NOW + 10) * 1000;
    const answer = bench.verifier.verify(contextOf(token));
    expect(answer).not.toBeInstanceOf(Promise);
    expect(answer).toMatchObject({ ok: false, denial: { reason: 'token.expired' } });
  });

  it('token.not_yet_valid: a clock that was set back is noticed', async () => {
    const token = bench.token({ claims: { nbf: NOW, iat: NOW - 100 } });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.now -= 11_000;
    expect(await bench.reasonOf(token)).toBe('token.not_yet_valid');
    bench.now -= 100_000;
    const second = bench.token({ claims: { iat: NOW } });
    expect(await bench.reasonOf(second)).toBe('token.not_yet_valid');
  });

  it('token.audience: the resource is asked for each route, whichever came first', async () => {
    const other = 'https://other.example.com';
    const token = bench.token();
    expect(await bench.reasonOf(token, other)).toBe('token.audience');
    expect(await bench.reasonOf(token)).toBeNull();
    expect(await bench.reasonOf(token, other)).toBe('token.audience');
    expect(await bench.reasonOf(token, '')).toBe('token.audience');
    const both = bench.token({ claims: { aud: [RESOURCE, other] } });
    expect(await bench.reasonOf(both, other)).toBeNull();
    expect(await bench.reasonOf(both)).toBeNull();
  });

  it('refusals are not remembered, and do not count', async () => {
    const wrong = [bench.token({ claims: { sub: 1 } }), 'x.y.z', bench.token({ header: { kid: 'x' } })];
    for (const token of [...wrong, ...wrong]) expect(await bench.reasonOf(token)).not.toBeNull();
    expect(bench.verifier.stats()).toEqual({ entries: 0, hits: 0, misses: 6 });
  });

  it('no more than so many, the least recently used going first', async () => {
    const verifier = another({ cacheSize: 3 });
    const tokens = Array.from({ length: 5 }, () => bench.token());
    for (const token of tokens) expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
    expect(verifier.stats().entries).toBe(3);
    expect(verifier.verify(contextOf(tokens[4]!))).not.toBeInstanceOf(Promise);
    const again = verifier.verify(contextOf(tokens[0]!));
    expect(again).toBeInstanceOf(Promise);
    expect(await again).toMatchObject({ ok: true });
  });

  it('tokens that differ in one character are different tokens, also at the same moment', async () => {
    const tokens = Array.from({ length: 20 }, (_, index) => bench.token({ claims: { sub: `wf-${index}` } }));
    const answers = await Promise.all([...tokens, ...tokens].map((token) => bench.verify(token)));
    const subjects = answers.map((answer) => (answer.ok ? answer.value.subject : null));
    const expected = tokens.map((_, index) => `wf-${index}`);
    expect(subjects).toEqual([...expected, ...expected]);
    const [header, payload, signature] = tokens[0]!.split('.');
    const stolen = tokens[1]!.split('.');
    expect(await bench.reasonOf(`${header}.${stolen[1]}.${signature}`)).toBe('token.signature');
    expect(await bench.reasonOf(`${header}.${payload}.${stolen[2]}`)).toBe('token.signature');
  });
});

describe('stage 2: whatever is presented', () => {
  const part = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.json().map((text) => Buffer.from(text).toString('base64url')),
  );

  it('any text is refused as malformed or by what it says of itself, and nothing is thrown', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part, { maxLength: 6 }).map((parts) => parts.join('.')),
    );
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        expect(await bench.reasonOf(token)).toMatch(/^token\.(malformed|type)$/);
      }),
      { numRuns: 300 },
    );
  });

  it('any JSON as header and payload, well signed, is judged without an exception', async () => {
    const member = fc.oneof(fc.jsonValue(), fc.constantFrom('at+jwt', 'ES256', bench.server.issuer));
    const names = ['typ', 'alg', 'kid', 'crit', 'iss', 'aud', 'exp', 'sub', '__proto__', 'toString', 'cnf', 'job'];
    const object = fc.dictionary(fc.constantFrom(...names), member);
    await fc.assert(
      fc.asyncProperty(object, object, async (header, payload) => {
        const token = bench.sign({ ...bench.header(), ...header }, { ...bench.claims(), ...payload });
        expect(await bench.verify(token)).toHaveProperty('ok');
      }),
      { numRuns: 200 },
    );
  });
});

describe('stage 2: keys come and go', () => {
  it('token.key_unknown: a token whose key was withdrawn is refused, though it was verified before', async () => {
    const token = bench.token({ claims: { exp: NOW + 3600 } });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.server.keys = [published(await makeKey('ES256')) as never];
    bench.now += 600_000;
    expect(await bench.reasonOf(token)).toBeNull(); // The load that this starts brings the news.
    await bench.verifier.settled();
    expect(await bench.reasonOf(token)).toBe('token.key_unknown');
    expect(bench.verifier.stats().entries).toBe(0);
  });

  it('a key that is published under another kid verifies anew, and not under the old one', async () => {
    const token = bench.token({ claims: { exp: NOW + 3600 } });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.server.keys = [published(bench.key, { kid: 'renamed' }) as never];
    bench.now += 600_000;
    await bench.reasonOf(token);
    await bench.verifier.settled();
    expect(await bench.reasonOf(token)).toBe('token.key_unknown');
    const renamed = bench.token({ header: { kid: 'renamed' }, claims: { exp: NOW + 3600 } });
    expect(await bench.reasonOf(renamed)).toBeNull();
  });

  it('a rotated key is found at once, and the remembered token of a key that stays needs no new verification', async () => {
    const next = await makeKey('ES256');
    const token = bench.token();
    expect(await bench.reasonOf(token)).toBeNull();
    bench.server.keys = [published(bench.key) as never, published(next) as never];
    const rotated = bench.token({ header: { kid: next.thumbprint.slice(0, 8) } }, next);
    expect(await bench.reasonOf(rotated)).toBeNull();
    expect(bench.verifier.verify(contextOf(token))).not.toBeInstanceOf(Promise);
    expect(bench.server.jwksRequests).toBe(2);
  });

  it('a key without kid that was rotated is found for a token without kid', async () => {
    const next = await makeKey('ES256');
    const header = { kid: undefined };
    expect(await bench.reasonOf(bench.token({ header }))).toBeNull();
    bench.server.keys = [published(next, { kid: undefined }) as never];
    expect(await bench.reasonOf(bench.token({ header }, next))).toBeNull();
    expect(bench.server.jwksRequests).toBe(2);
  });

  it('token.keys_unavailable: an outage is 503, never 401, also for tokens that were verified before', async () => {
    const token = bench.token({ claims: { exp: NOW + 1_000_000 } });
    expect(await bench.reasonOf(token)).toBeNull();
    bench.server.onJwks((_, response) => sendJson(response, '{}', 500));
    bench.now += 600_000 + 86_400_000 - 1;
    expect(await bench.reasonOf(token)).toBeNull();
    await bench.verifier.settled();
    bench.now += 1;
    const refused = await bench.verify(token);
    expect(refused).toMatchObject({ ok: false, denial: { reason: 'token.keys_unavailable', retryAfterSeconds: 1 } });
    expect(REASONS['token.keys_unavailable']).toMatchObject({ status: 503, error: null });
    expect(bench.verifier.health()).toMatchObject({ ready: false, issuers: [{ state: 'unavailable' }] });
    bench.server.restore();
    bench.now += 5000;
    expect(await bench.reasonOf(token)).toBeNull();
    expect(bench.verifier.health()).toMatchObject({ ready: true, issuers: [{ state: 'fresh' }] });
  });

  it('starts though the issuer is down, is not ready, and recovers by itself', async () => {
    const port = await closedPort();
    const issuer = `http://127.0.0.1:${port}`;
    const log: object[] = [];
    const verifier = another({
      issuers: [issuerConfig(issuer)],
      log: { info: (fields) => log.push(fields), warn: (fields) => log.push(fields) },
    });
    await verifier.settled();
    expect(verifier.health()).toMatchObject({ ready: false, issuers: [{ issuer, state: 'unavailable' }] });
    const token = bench.token({ claims: { iss: issuer } });
    expect(await verifier.verify(contextOf(token))).toMatchObject({ denial: { reason: 'token.keys_unavailable' } });
    const server = await KeyServer.start(port);
    try {
      server.keys = [published(bench.key) as never];
      bench.now += 5000;
      await until(() => verifier.health().ready);
      expect(await verifier.verify(contextOf(token))).toMatchObject({ ok: true });
      const problem = 'the metadata cannot be reached (ECONNREFUSED)';
      expect(log).toEqual([
        { issuer, state: 'unavailable', keys: 0, skipped: 0, problem },
        { issuer, state: 'fresh', keys: 1, skipped: 0 },
      ]);
    } finally {
      await server.stop();
    }
  });

  it('one issuer that is down takes no other one down', async () => {
    const down = `http://127.0.0.1:${await closedPort()}`;
    const verifier = another({ issuers: [issuerConfig(down), issuerConfig(bench.server.issuer)] });
    await verifier.settled();
    expect(verifier.health().ready).toBe(true);
    expect(await verifier.verify(contextOf(bench.token()))).toMatchObject({ ok: true });
    expect(await verifier.verify(contextOf(bench.token({ claims: { iss: down } })))).toMatchObject({
      denial: { reason: 'token.keys_unavailable' },
    });
  });

  it('a new configuration takes the keys over from the old one, where their source is the same', async () => {
    const { issuer, jwksUri } = bench.server;
    bench.server.onJwks((_, response) => sendJson(response, '{}', 500));
    const same = another({ previous: bench.verifier });
    expect(await same.verify(contextOf(bench.token()))).toMatchObject({ ok: true });
    const moved = another({ issuers: [issuerConfig(issuer, { jwks_uri: jwksUri })], previous: bench.verifier });
    expect(await moved.verify(contextOf(bench.token()))).toMatchObject({
      denial: { reason: 'token.keys_unavailable' },
    });
  });

  it('a flood of invented kids costs one request', async () => {
    await Promise.all(
      Array.from({ length: 200 }, (_, index) => bench.reasonOf(bench.token({ header: { kid: `x${index}` } }))),
    );
    expect(bench.server.jwksRequests).toBe(2);
  });
});
