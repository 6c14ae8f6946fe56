import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { closedPort, KeyServer, sendJson } from '../support/key_server.ts';
import { contextOf, issuerConfig } from './fixture.ts';
import { IntrospectionBench } from './introspection_fixture.ts';

let bench: IntrospectionBench;

beforeEach(async () => {
  bench = await IntrospectionBench.start();
});

afterEach(async () => {
  await bench.stop();
});

const JSON_TYPE = { 'content-type': 'application/json' };

/** The refusal of a good token when the endpoint answers like this; then the same token passes when it answers well again. */
async function refusedBy(answer: (response: ServerResponse, members: string) => void): Promise<string | undefined> {
  const token = bench.token();
  const members = JSON.stringify(bench.active());
  bench.onQuestion((_, response) => answer(response, members));
  const checked = await bench.verify(token);
  expect(checked).toMatchObject({ ok: false, denial: { reason: 'token.introspection_unavailable' } });
  bench.restore();
  expect(await bench.reasonOf(token)).toBeNull();
  return checked.ok ? undefined : checked.denial.note;
}

describe('token.introspection_unavailable: a body that is no well-formed answer', () => {
  const bodies: Record<string, (members: string) => string | Buffer> = {
    empty: () => '',
    'no JSON': () => 'active',
    'a page': () => '<html><body>active: true</body></html>',
    'a text': () => '"active"',
    'a number': () => '1',
    true: () => 'true',
    null: () => 'null',
    'an array': (members) => `[${members}]`,
    truncated: (members) => members.slice(0, -1),
    'two objects': (members) => members + members,
    'more behind it': (members) => `${members};`,
    'active twice': (members) => members.replace('{', '{"active":false,'),
    'aud twice, once escaped': (members) => members.replace('{', '{"\\u0061ud":"x",'),
    'a member of cnf twice': (members) => members.replace('"jkt":', '"jkt":"x","jkt":'),
    'a byte order mark': (members) => `\ufeff${members}`,
    'no UTF-8': (members) => Buffer.concat([Buffer.from(members.replace('wf-4711', 'wf-\xff')), Buffer.from([0xff])]),
    'a lone surrogate': (members) => members.replace('wf-4711', 'wf-\\ud800'),
    'a number beyond all': (members) => members.replace(/"exp":\d+/, '"exp":1e400'),
    'nested deeply': (members) => members.replace('{', `{"x":${'['.repeat(200)}${']'.repeat(200)},`),
    'UTF-16': (members) => Buffer.from(members, 'utf16le'),
    'single quotes': (members) => members.replaceAll('"', "'"),
    'too large': (members) => members.replace('{', `{"x":"${'x'.repeat(262_144)}",`),
    'a JWT': () => bench.sign({ typ: 'token-introspection+jwt' }, { token_introspection: bench.active() }),
  };
  it.each(Object.entries(bodies))('%s', async (_, body) => {
    await refusedBy((response, members) => response.writeHead(200, JSON_TYPE).end(body(members)));
  });

  it.each([
    'text/html',
    'text/plain',
    'application/octet-stream',
    'application/jwt',
    'application/token-introspection+jwt',
    'application/json5',
    'application/problem+json',
    '',
  ])('a good body under the content type %j', async (type) => {
    await refusedBy((response, members) => response.writeHead(200, { 'content-type': type }).end(members));
  });

  it('a good body without a content type', async () => {
    await refusedBy((response, members) => response.writeHead(200).end(members));
  });

  it('any bytes: refused, and nothing is thrown', async () => {
    const bytes = fc.oneof(
      fc.uint8Array().map((array) => Buffer.from(array)),
      fc.json().map((text) => Buffer.from(text)),
      fc.jsonValue().map((active) => Buffer.from(JSON.stringify({ active }).replace('true', '"true"'))),
    );
    let body = Buffer.alloc(0);
    bench.onQuestion((_, response) => response.writeHead(200, JSON_TYPE).end(body));
    await fc.assert(
      fc.asyncProperty(bytes, async (next) => {
        body = next;
        expect(await bench.reasonOf(crypto.randomUUID())).toMatch(/^token\.(introspection_unavailable|inactive)$/);
      }),
      { numRuns: 100 },
    );
  });

  it('any members: judged without an exception', async () => {
    const names = [
      'iss',
      'aud',
      'exp',
      'iat',
      'nbf',
      'sub',
      'client_id',
      'jti',
      'scope',
      'cnf',
      'token_type',
      '__proto__',
    ];
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...names), fc.jsonValue()), async (changes) => {
        expect(await bench.verify(bench.token(changes))).toHaveProperty('ok');
      }),
      { numRuns: 150 },
    );
  });
});

describe('token.introspection_unavailable: statuses', () => {
  it.each([201, 202, 204, 206, 304])('%d is not 200', async (status) => {
    await refusedBy((response, members) =>
      response.writeHead(status, JSON_TYPE).end(status < 204 ? members : undefined),
    );
  });

  it.each([301, 302, 303, 307, 308])('a redirect (%d) is not followed: the token goes nowhere else', async (status) => {
    const elsewhere = await KeyServer.start();
    elsewhere.answers.set('/introspect', (_, response) => sendJson(response, bench.active()));
    await refusedBy((response, members) =>
      response.writeHead(status, { ...JSON_TYPE, location: `${elsewhere.issuer}/introspect` }).end(members),
    );
    expect(elsewhere.requests).toEqual([]);
    await elsewhere.stop();
  });
});

describe('token.introspection_unavailable: size', () => {
  it('announced as huge: refused before it is read', async () => {
    await refusedBy((response, members) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': '1099511627776' });
      response.write(members);
    });
  });

  it('endless: broken off', async () => {
    let closed = false;
    const chunk = Buffer.alloc(65_536, ' ');
    await refusedBy((response) => {
      response.writeHead(200, JSON_TYPE);
      response.on('close', () => {
        closed = true;
      });
      const more = (): void => {
        while (!closed && response.write(chunk));
        if (!closed) response.once('drain', more);
      };
      more();
    });
    expect(closed).toBe(true);
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('a %s bomb is broken off where it becomes too large', async (encoding, compress) => {
    const bomb = compress(Buffer.alloc(64 * 1024 * 1024, ' '));
    const before = process.memoryUsage().arrayBuffers;
    await refusedBy((response) => response.writeHead(200, { ...JSON_TYPE, 'content-encoding': encoding }).end(bomb));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  });

  it.each(['gzip', 'br'])('bytes that are not %s, as announced', async (encoding) => {
    await refusedBy((response) =>
      response.writeHead(200, { ...JSON_TYPE, 'content-encoding': encoding }).end(randomBytes(200)),
    );
  });
});

describe('token.introspection_unavailable: slow and broken connections', () => {
  it('no answer at all', async () => {
    expect(await refusedBy(() => undefined)).toContain('in time');
  });

  it('an answer that never ends, byte by byte', async () => {
    await refusedBy((response, members) => {
      response.writeHead(200, JSON_TYPE);
      let sent = 0;
      const timer = setInterval(() => {
        if (response.destroyed || sent === members.length - 1) clearInterval(timer);
        else response.write(members[sent++]);
      }, 20);
    });
  });

  it('reset before, in and after the headers, and in the middle of the body', async () => {
    await refusedBy((response) => response.socket?.destroy());
    await refusedBy((response) => response.socket?.end('HTTP/1.1 200 OK\r\ncontent-ty'));
    await refusedBy((response, members) =>
      response.socket?.end(
        `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n${members}`,
      ),
    );
    await refusedBy((response, members) =>
      response.socket?.end(
        `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n${members}`,
      ),
    );
    await refusedBy((response) => response.socket?.end('no HTTP at all\r\n\r\n'));
  });

  it('nobody listens', async () => {
    const endpoint = `http://127.0.0.1:${await closedPort()}/introspect`;
    const verifier = bench.another({ issuers: [bench.config({ introspection: { endpoint } })] });
    expect(await verifier.verify(contextOf(bench.token()))).toMatchObject({
      denial: { reason: 'token.introspection_unavailable', note: expect.stringContaining('ECONNREFUSED') },
    });
  });

  it('an endpoint that hangs holds up no more than the questions it was asked, and those not for long', async () => {
    const verifier = bench.another({
      issuers: [bench.config({ introspection: { connections: 2, timeout_ms: 300 } })],
    });
    bench.onQuestion(() => undefined);
    const answers = await Promise.all(
      Array.from({ length: 2000 }, (_, index) => verifier.verify(contextOf(`t${index}`))),
    );
    for (const answer of answers)
      expect(answer).toMatchObject({ denial: { reason: 'token.introspection_unavailable' } });
    expect(bench.questions.length).toBeLessThanOrEqual(4);
    bench.restore();
    expect(await verifier.verify(contextOf(bench.token()))).toMatchObject({ ok: true });
  });
});

describe('what the operator sees', () => {
  it('an outage is one line when it begins and one when it ends, without any token', async () => {
    const tokens = Array.from({ length: 5 }, () => bench.token());
    bench.onQuestion((_, response) => sendJson(response, {}, 500));
    for (const token of tokens) expect(await bench.reasonOf(token)).toBe('token.introspection_unavailable');
    bench.restore();
    bench.now += 10_000;
    for (const token of tokens) expect(await bench.reasonOf(token)).toBeNull();
    const lines = bench.log.filter((line) => JSON.stringify(line).includes('introspection'));
    expect(lines).toEqual([
      ['warn', 'introspection fails', 'the introspection endpoint answered with status 500'],
      ['info', 'introspection works again', undefined],
    ]);
  });

  it('an outage of the endpoint refuses no JWT of the same issuer', async () => {
    bench.onQuestion((_, response) => sendJson(response, {}, 500));
    expect(await bench.reasonOf(bench.jwt())).toBeNull();
  });

  it('an issuer without keys is ready when it is asked about opaque tokens, and answers are not signed', async () => {
    bench.server.onJwks((_, response) => sendJson(response, {}, 500));
    const signed = bench.another({ issuers: [bench.config({ introspection: { response: 'jwt' } })] });
    const unsigned = bench.another();
    const onlyJwts = bench.another({ issuers: [bench.config({ introspection: { when: 'jwt' } })] });
    await Promise.all([signed, unsigned, onlyJwts].map((verifier) => verifier.settled()));
    expect([signed, unsigned, onlyJwts].map((verifier) => verifier.health().ready)).toEqual([false, true, false]);
    expect(await unsigned.verify(contextOf(bench.token()))).toMatchObject({ ok: true });
  });
});

describe('private_key_file', () => {
  it('a replaced key is used at once; one that cannot be used is refused, and the old one stays', async () => {
    expect(await bench.reasonOf(bench.token())).toBeNull();
    const next = await generatePrivateJwk();
    writeFileSync(bench.keyFile, JSON.stringify({ ...next, kid: 'gw-2' }));
    expect(await bench.reasonOf(bench.token())).toBeNull();
    for (const broken of ['', '{}', '{"kty":"EC"', JSON.stringify((await importSigningKey(next)).publicJwk)]) {
      writeFileSync(bench.keyFile, broken);
      expect(await bench.reasonOf(bench.token())).toBeNull();
    }
    rmSync(bench.keyFile);
    expect(await bench.reasonOf(bench.token())).toBeNull();
    const kids = bench.questions.map(({ form }) => {
      const [header] = String(form.get('client_assertion')).split('.');
      return JSON.parse(Buffer.from(String(header), 'base64url').toString()).kid;
    });
    expect(kids).toEqual(['gw-1', 'gw-2', 'gw-2', 'gw-2', 'gw-2', 'gw-2', 'gw-2']);
    const lines = bench.log.filter((line) => JSON.stringify(line).includes('the old one stays'));
    expect(lines).toHaveLength(4);
    expect(JSON.stringify(bench.log)).not.toContain(next.d);
  });

  it.each([
    ['{}', 'the key cannot be used'],
    ['nothing', 'not JSON'],
    ['{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}', 'malformed coordinate'],
  ])('the verifier is not made with %s', (content, problem) => {
    writeFileSync(bench.keyFile, content);
    expect(() => bench.another()).toThrow(problem);
    rmSync(bench.keyFile);
    expect(() => bench.another()).toThrow(/client\.jwk\.json: cannot be read \(ENOENT\)/);
  });
});

describe('which issuer is asked', () => {
  it('without introspection, a token that is no JWT is malformed', async () => {
    const verifier = bench.another({ issuers: [issuerConfig(bench.server.issuer)] });
    const onlyJwts = bench.another({ issuers: [bench.config({ introspection: { when: 'jwt' } })] });
    for (const one of [verifier, onlyJwts]) {
      expect(await one.verify(contextOf(bench.token()))).toMatchObject({ denial: { reason: 'token.malformed' } });
    }
    expect(bench.questions).toEqual([]);
  });

  it('a route asks the issuer it names, and a token reaches no other', async () => {
    const second = await IntrospectionBench.start();
    const issuers = [bench.config(), second.config()];
    const routes = [
      { name: 'one', opaque_issuer: bench.server.issuer },
      { name: 'two', opaque_issuer: second.server.issuer },
    ];
    const verifier = bench.another({ issuers, routes });
    await verifier.settled();
    const ask = (token: string, route: string) => {
      const context = contextOf(token);
      return verifier.verify({ ...context, route: { ...context.route, name: route } });
    };
    const token = bench.token();
    expect(await ask(token, 'one')).toMatchObject({ ok: true, value: { issuer: bench.server.issuer } });
    expect(await ask(token, 'two')).toMatchObject({ denial: { reason: 'token.inactive' } });
    expect(await ask(token, 'three')).toMatchObject({ denial: { reason: 'token.malformed' } });
    // The same text at both, for two parties.
    second.known.set(token, second.active({ sub: 'somebody-else' }));
    second.now = bench.now += 6000;
    expect(await ask(token, 'two')).toMatchObject({ ok: true, value: { subject: 'somebody-else' } });
    expect(await ask(token, 'one')).toMatchObject({ ok: true, value: { subject: 'wf-4711' } });
    expect(bench.questions).toHaveLength(1);
    await second.stop();
  });
});
