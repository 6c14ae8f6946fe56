import { readFileSync } from 'node:fs';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REASONS } from '../../src/kernel/reasons.ts';
import { readStatusList, statusAt } from '../../src/token/status_list.ts';
import { createTokenVerifier } from '../../src/token/verify_token.ts';
import { makeKey } from '../support/issuer.ts';
import { KeyServer, sendJson, until } from '../support/key_server.ts';
import { signJws } from '../support/sign_jws.ts';
import { contextOf, issuerConfig, NOW } from '../token/fixture.ts';
import { packStatuses, StatusBench, statusConfig } from '../token/status_fixture.ts';

const DRAFT = 'draft-ietf-oauth-status-list';

interface Vector {
  readonly bits: number;
  readonly entries: number;
  readonly lst: string;
  readonly statuses: Readonly<Record<string, number>>;
}

let bench: StatusBench;

beforeEach(async () => {
  bench = await StatusBench.start();
});

afterEach(async () => {
  await bench.stop();
});

describe(`${DRAFT} §4.1: the list`, () => {
  const { vectors } = JSON.parse(readFileSync(new URL('status_list_vectors.json', import.meta.url), 'utf8')) as {
    vectors: Vector[];
  };
  it.each(vectors)('test vectors: $bits bits', async ({ bits, lst, entries, statuses }) => {
    const read = await readStatusList({ bits, lst });
    if (!read.ok) throw new Error(read.problem);
    expect(read.value.bytes.length).toBe((entries * bits) / 8);
    const found: Record<string, number> = {};
    for (let index = 0; index < entries; index++) {
      const status = statusAt(read.value, index);
      if (status !== 0) found[index] = status ?? -1;
    }
    expect(found).toEqual(Object.fromEntries(Object.entries(statuses).filter(([, status]) => status !== 0)));
  });

  it.each([
    [1, '78dadbb918000217015d', [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]],
    [2, '78da3be9f2130003df0207', [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]],
  ])('example with %d bits', async (bits, hex, statuses) => {
    const read = await readStatusList({ bits, lst: Buffer.from(hex, 'hex').toString('base64url') });
    if (!read.ok) throw new Error(read.problem);
    expect(statuses.map((_, index) => statusAt(read.value, index))).toEqual(statuses);
    expect(statusAt(read.value, statuses.length)).toBeNull();
  });
});

describe(`${DRAFT} §6.2: the reference in the token`, () => {
  it('a token without a status passes, and nothing is fetched', async () => {
    expect(await bench.tokens.reasonOf(bench.tokens.token())).toBeNull();
    expect(bench.fetches).toBe(0);
  });

  it.each([
    ['a text', 'active'],
    ['null', null],
    ['a list', []],
    ['empty', {}],
    ['of another mechanism', { other: {} }],
    ['status_list is null', { status_list: null }],
    ['status_list is a list', { status_list: [0, 'https://x'] }],
  ])('token.status: status is %s', async (_, status) => {
    expect(await bench.tokens.reasonOf(bench.tokens.token({ claims: { status } }))).toBe('token.status');
  });

  it.each([-1, 1.5, '0', null, undefined, [], {}, 2 ** 53])('token.status: idx is %j', async (idx) => {
    const status = { status_list: { idx, uri: bench.uri } };
    expect(await bench.tokens.reasonOf(bench.tokens.token({ claims: { status } }))).toBe('token.status');
    expect(REASONS['token.status']).toMatchObject({ status: 401, error: 'invalid_token' });
    expect(bench.fetches).toBe(0);
  });

  it('token.status: a uri that is not the issuer’s causes no request', async () => {
    const elsewhere = await KeyServer.start();
    const { port } = bench.tokens.server;
    const uris = [
      `${elsewhere.issuer}/status/1`,
      `http://127.0.0.1:${port}@127.0.0.1:${elsewhere.port}/status/1`,
      `http://localhost:${port}/status/1`,
      `http://127.0.0.2:${port}/status/1`,
      `https://127.0.0.1:${port}/status/1`,
      `${bench.uri}#x`,
      `http://127.1:${port}/status/1`,
      `http://0x7f000001:${port}/status/1`,
      `HTTP://127.0.0.1:${port}/status/1`,
      `${bench.tokens.server.issuer}/x/../status/1`,
      `${bench.tokens.server.issuer}/./status/1`,
      `${bench.tokens.server.issuer}\\status/1`,
      ` ${bench.uri}`,
      `${bench.uri}\n`,
      `${bench.tokens.server.issuer}/${'x'.repeat(2048)}`,
      '/status/1',
      'file:///etc/passwd',
      'data:application/statuslist+jwt,x',
      'ftp://127.0.0.1/x',
      'urn:x:1',
      '',
      null,
      1,
      [bench.uri],
      undefined,
    ];
    const seen = bench.tokens.server.requests.length;
    for (const uri of uris) {
      const status = { status_list: { idx: 0, uri } };
      expect([uri, await bench.tokens.reasonOf(bench.tokens.token({ claims: { status } }))]).toEqual([
        uri,
        'token.status',
      ]);
    }
    expect(elsewhere.requests).toEqual([]);
    expect(bench.tokens.server.requests.length).toBe(seen);
    await elsewhere.stop();
  });

  it('uri_prefixes say which lists may be named instead of the origin of the issuer', async () => {
    const { issuer } = bench.tokens.server;
    const clock = () => bench.tokens.now;
    const issuers = [statusConfig(issuer, { uri_prefixes: [`${issuer}/status/`, 'https://lists.example.com/a/'] })];
    const verifier = createTokenVerifier({ issuers, cacheSize: 10, clock });
    await verifier.settled();
    expect(await verifier.verify(contextOf(bench.token(0)))).toMatchObject({ ok: true });
    for (const uri of [`${issuer}/other/1`, `${issuer}/status`, 'https://lists.example.com/ab/1']) {
      expect(await verifier.verify(contextOf(bench.token(0, uri)))).toMatchObject({
        denial: { reason: 'token.status' },
      });
    }
    verifier.close();
  });

  it('token.status: a list that nobody is configured to check is a refusal, not "no status"', async () => {
    const { issuer } = bench.tokens.server;
    const clock = () => bench.tokens.now;
    const make = (config: ReturnType<typeof issuerConfig>) =>
      createTokenVerifier({ issuers: [config], cacheSize: 10, clock });
    const unconfigured = make(issuerConfig(issuer));
    const ignoring = make(statusConfig(issuer, { mode: 'ignore' }));
    const requiring = make(statusConfig(issuer, { required: true }));
    const verifiers = [unconfigured, ignoring, requiring];
    await Promise.all(verifiers.map((verifier) => verifier.settled()));
    const reasons = async (token: string) => {
      const answers = await Promise.all(verifiers.map((verifier) => verifier.verify(contextOf(token))));
      return answers.map((answer) => (answer.ok ? null : answer.denial.reason));
    };
    bench.statuses = [1, 0];
    expect(await reasons(bench.token(0))).toEqual(['token.status', null, 'token.revoked']);
    expect(await reasons(bench.token(1))).toEqual(['token.status', null, null]);
    expect(await reasons(bench.tokens.token())).toEqual([null, null, 'token.status']);
    // A claim of the same name that is not the registered one.
    expect(await reasons(bench.tokens.token({ claims: { status: 'active' } }))).toEqual([null, null, 'token.status']);
    for (const verifier of verifiers) verifier.close();
  });
});

describe(`${DRAFT} §7.1: status types`, () => {
  it('0 VALID passes; 1 INVALID and 2 SUSPENDED are token.revoked; any other is token.status', async () => {
    bench.publish(bench.list({ status_list: packStatuses(8, [0, 1, 2, 3, 4, 12, 255]) }));
    const reasons = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((idx) => bench.tokens.reasonOf(bench.token(idx))));
    const other = 'token.status';
    expect(reasons).toEqual([null, 'token.revoked', 'token.revoked', other, other, other, other]);
    expect(REASONS['token.revoked']).toMatchObject({ status: 401, error: 'invalid_token' });
    expect(bench.fetches).toBe(1);
  });

  it('§8.3: token.status: an index outside the list', async () => {
    for (const idx of [8, 1000, Number.MAX_SAFE_INTEGER]) {
      expect(await bench.tokens.reasonOf(bench.token(idx))).toBe('token.status');
    }
  });

  it('§8.3: a token that is refused for another reason causes no request', async () => {
    const status = { status_list: { idx: 0, uri: bench.uri } };
    for (const claims of [{ exp: NOW }, { aud: 'https://x.example.com' }, { cnf: {} }, { nbf: NOW + 60 }]) {
      expect(await bench.tokens.reasonOf(bench.tokens.token({ claims: { status, ...claims } }))).not.toBeNull();
    }
    const stranger = bench.tokens.token({ claims: { status } }, await makeKey());
    expect(await bench.tokens.reasonOf(stranger)).toBe('token.signature');
    expect(bench.fetches).toBe(0);
  });
});

describe(`${DRAFT} §5.1, §8.3: the status list token`, () => {
  it.each([
    ['with the whole media type', {}, { typ: 'application/statuslist+jwt' }],
    ['in other letters', {}, { typ: 'StatusList+JWT' }],
    ['without exp and ttl', { exp: undefined, ttl: undefined }, {}],
    ['with iss', { iss: 'ISSUER' }, {}],
    ['with further claims', { aggregation_uri: 'x', jti: '1' }, {}],
    ['with a fraction as ttl', { ttl: 60.5 }, {}],
  ])('takes one %s', async (_, claims, header) => {
    const named = 'iss' in claims ? { iss: bench.tokens.server.issuer } : claims;
    bench.publish(bench.list(named, header));
    expect(await bench.tokens.reasonOf(bench.token())).toBeNull();
  });

  it.each([
    ['typ is missing', {}, { typ: undefined }],
    ['typ is JWT', {}, { typ: 'JWT' }],
    ['typ is that of an access token', {}, { typ: 'at+jwt' }],
    ['typ is statuslist+cwt', {}, { typ: 'statuslist+cwt' }],
    ['crit', {}, { crit: ['x'], x: 1 }],
    ['alg is none', {}, { alg: 'none' }],
    ['alg is HS256', {}, { alg: 'HS256' }],
    ['kid is unknown', {}, { kid: 'x' }],
    ['sub is missing', { sub: undefined }, {}],
    ['sub is another list', { sub: 'https://as.example.com/status/1' }, {}],
    ['sub is a list', { sub: ['URI'] }, {}],
    ['iss is another', { iss: 'https://as.example.com' }, {}],
    ['aud is somebody', { aud: 'https://cloud.example.com/v1' }, {}],
    ['iat is missing', { iat: undefined }, {}],
    ['iat is a text', { iat: String(NOW) }, {}],
    ['iat lies ahead', { iat: NOW + 11 }, {}],
    ['exp has passed', { exp: NOW }, {}],
    ['exp is a text', { exp: 'soon' }, {}],
    ['nbf lies ahead', { nbf: NOW + 11 }, {}],
    ['ttl is zero', { ttl: 0 }, {}],
    ['ttl is negative', { ttl: -1 }, {}],
    ['ttl is a text', { ttl: '60' }, {}],
    ['ttl is null', { ttl: null }, {}],
    ['status_list is missing', { status_list: undefined }, {}],
    ['status_list is a text', { status_list: 'eNo' }, {}],
    ['bits is 3', { status_list: { ...packStatuses(1, [0]), bits: 3 } }, {}],
    ['lst is missing', { status_list: { bits: 1 } }, {}],
    ['lst is not compressed', { status_list: { bits: 1, lst: 'AAAA' } }, {}],
    ['lst is a bomb', { status_list: { bits: 1, lst: deflateSync(Buffer.alloc(2 ** 25)).toString('base64url') } }, {}],
  ])('token.status_unavailable: %s', async (_, claims, header) => {
    bench.publish(bench.list(claims, header));
    expect(await bench.tokens.verify(bench.token())).toMatchObject({
      ok: false,
      denial: { reason: 'token.status_unavailable' },
    });
    expect(REASONS['token.status_unavailable']).toMatchObject({ status: 503, error: null });
  });

  it('token.status_unavailable: signed by another key, not signed, spoiled, or no JWT at all', async () => {
    const good = bench.list();
    const [header, payload] = good.split('.');
    const key = await makeKey();
    const stranger = signJws(
      { typ: 'statuslist+jwt', alg: key.alg, kid: bench.tokens.key.thumbprint.slice(0, 8) },
      { sub: bench.uri, iat: NOW, status_list: packStatuses(1, [0]) },
      key,
    );
    const texts = [stranger, `${header}.${payload}.`, `${good}\n`, ` ${good}`, '', '{}', JSON.stringify({ bits: 1 })];
    for (const text of texts) {
      bench.publish(text);
      expect(await bench.tokens.reasonOf(bench.token())).toBe('token.status_unavailable');
      bench.tokens.now += 1000;
    }
    bench.restore();
    expect(await bench.tokens.reasonOf(bench.token())).toBeNull();
  });

  it('RFC 8725 §3.11: token.type: a status list is no access token', async () => {
    const claims = bench.tokens.claims({ status_list: packStatuses(1, [0]) });
    expect(await bench.tokens.reasonOf(bench.tokens.token({ header: { typ: 'statuslist+jwt' }, claims }))).toBe(
      'token.type',
    );
  });
});

describe(`${DRAFT} §8.2, §11: fetching`, () => {
  it.each(['application/jwt', 'application/statuslist+cwt', 'text/plain', 'application/octet-stream', ''])(
    'token.status_unavailable: a good list under the content type %j',
    async (type) => {
      bench.publish(bench.list(), type);
      expect(await bench.tokens.reasonOf(bench.token())).toBe('token.status_unavailable');
    },
  );

  it.each([201, 204, 400, 401, 404, 500, 503])('token.status_unavailable: status %d', async (status) => {
    bench.tokens.server.answers.set('/status/1', (_, response) =>
      response.writeHead(status, { 'content-type': 'application/statuslist+jwt' }).end(bench.list()),
    );
    expect(await bench.tokens.reasonOf(bench.token())).toBe('token.status_unavailable');
  });

  it.each([301, 302, 307, 308])('token.status_unavailable: a redirect (%d) is not followed', async (status) => {
    bench.tokens.server.answers.set('/status/1', (_, response) =>
      response.writeHead(status, { location: '/status/2' }).end(),
    );
    expect(await bench.tokens.reasonOf(bench.token())).toBe('token.status_unavailable');
    expect(bench.tokens.server.requests).not.toContain('/status/2');
  });

  it('token.status_unavailable: an answer that is too large, also where it was compressed', async () => {
    const big = Buffer.alloc(2_097_153, 'A');
    for (const [body, encoding] of [
      [big, 'identity'],
      [gzipSync(big), 'gzip'],
    ] as const) {
      bench.tokens.server.answers.set('/status/1', (_, response) =>
        response
          .writeHead(200, { 'content-type': 'application/statuslist+jwt', 'content-encoding': encoding })
          .end(body),
      );
      expect(await bench.tokens.reasonOf(bench.token())).toBe('token.status_unavailable');
      bench.tokens.now += 1000;
    }
  });

  it('§8.2: an answer that was compressed all the same is read', async () => {
    bench.tokens.server.answers.set('/status/1', (_, response) =>
      response
        .writeHead(200, { 'content-type': 'application/statuslist+jwt', 'content-encoding': 'gzip' })
        .end(gzipSync(bench.list())),
    );
    expect(await bench.tokens.reasonOf(bench.token())).toBeNull();
  });

  it('token.status_unavailable: an address that gives no answer, asked once in a second', async () => {
    const { issuer } = bench.tokens.server;
    const clock = () => bench.tokens.now;
    const issuers = [statusConfig(issuer, { timeout_ms: 50 })];
    const verifier = createTokenVerifier({ issuers, cacheSize: 10, clock });
    await verifier.settled();
    bench.tokens.server.answers.set('/status/1', () => undefined);
    const token = bench.token();
    const reasonOf = async () => {
      const checked = await verifier.verify(contextOf(token));
      return checked.ok ? null : checked.denial.reason;
    };
    for (let round = 0; round < 5; round++) expect(await reasonOf()).toBe('token.status_unavailable');
    expect(bench.fetches).toBe(1);
    bench.restore();
    expect(await reasonOf()).toBe('token.status_unavailable');
    bench.tokens.now += 1000;
    expect(await reasonOf()).toBeNull();
    expect(bench.fetches).toBe(2);
    verifier.close();
  });

  it('many tokens at once share one request', async () => {
    const tokens = Array.from({ length: 40 }, (_, index) => bench.token(index % 8));
    bench.statuses = [0, 1, 0, 1, 0, 1, 0, 1];
    const reasons = await Promise.all(tokens.map((token) => bench.tokens.reasonOf(token)));
    expect(reasons).toEqual(tokens.map((_, index) => (index % 2 === 0 ? null : 'token.revoked')));
    expect(bench.fetches).toBe(1);
  });
});

describe(`${DRAFT} §13.7: how long a list counts`, () => {
  const answerNow = (token: string) => bench.tokens.verifier.verify(contextOf(token));

  it('a remembered token and list answer at once; a revocation counts as soon as the list is fetched again', async () => {
    const token = bench.token(3);
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    bench.statuses[3] = 1;
    bench.tokens.now += 44_999;
    expect(answerNow(token)).toMatchObject({ ok: true });
    expect(bench.fetches).toBe(1);
    // Three quarters of the ttl have passed: this request fetches the list for later ones.
    bench.tokens.now += 1;
    expect(answerNow(token)).toMatchObject({ ok: true });
    await until(() => {
      const answer = answerNow(token);
      return !(answer instanceof Promise) && !answer.ok && answer.denial.reason === 'token.revoked';
    });
    expect(bench.fetches).toBe(2);
  });

  it('token.status_unavailable: after ttl a list is no answer when it cannot be fetched again', async () => {
    const token = bench.token();
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    bench.tokens.server.answers.set('/status/1', (_, response) => sendJson(response, {}, 500));
    bench.tokens.now += 59_999;
    expect(answerNow(token)).toMatchObject({ ok: true });
    await until(() => bench.fetches === 2);
    bench.tokens.now += 1;
    expect(await bench.tokens.reasonOf(token)).toBe('token.status_unavailable');
    bench.restore();
    bench.tokens.now += 1000;
    expect(await bench.tokens.reasonOf(token)).toBeNull();
  });

  it('never past exp, however long its ttl', async () => {
    bench.publish(bench.list({ ttl: 86_400, exp: NOW + 30 }));
    const token = bench.token();
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    bench.tokens.now += 30_000;
    expect(await bench.tokens.reasonOf(token)).toBe('token.status_unavailable');
  });

  it('not longer than max_age_seconds, and a tiny ttl does not make a request each time', async () => {
    bench.publish(bench.list({ ttl: 31_536_000 }));
    const token = bench.token();
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    bench.tokens.now += 300_000;
    bench.publish(bench.list({ ttl: 0.001 }));
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    expect(bench.fetches).toBe(2);
    bench.tokens.now += 3000;
    expect(answerNow(token)).toMatchObject({ ok: true });
    expect(bench.fetches).toBe(2);
    bench.tokens.now += 2000;
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    expect(bench.fetches).toBe(3);
  });

  it('a clock that was set back makes no list younger', async () => {
    const token = bench.tokens.token({
      claims: { iat: NOW - 7200, exp: NOW + 300, status: { status_list: { idx: 0, uri: bench.uri } } },
    });
    expect(await bench.tokens.reasonOf(token)).toBeNull();
    bench.statuses[0] = 1;
    bench.tokens.now -= 3_600_000;
    expect(await bench.tokens.reasonOf(token)).toBe('token.revoked');
  });
});
