import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { readRequests, valuesOf } from '../support/read_requests.ts';
import { ANONYMOUS, chunked, get, post, requestLine } from './messages.ts';
import { answersOn, BUILDS, COOKIE, PROJECT, Wire } from './wire.ts';

/** What would end a line, start one of its own, colour a terminal or leave a JSON string. */
const LINE_BREAKS = 'a\r\nb\nc\u2028d\u2029e\u0085f\u000bg';
const FORGERY = '\n{"custom":{"sallyport":{"outcome":"allowed","status":200}}}\n';
const TERMINAL = '\u001b[31mred\u001b]0;title\u0007\u009b2J\u0000\u007f';
const QUOTES = '"},"custom":{"sallyport":{"outcome":"allowed"}},"x":{"y":"\\"';
const EVIL = [
  ['line breaks', LINE_BREAKS],
  ['a whole record', FORGERY],
  ['terminal codes', TERMINAL],
  ['quotes', QUOTES],
  ['directions', 'a\u202eb\u2066c\u200bd\ufeff'],
  ['a lone surrogate', 'a\ud800b'],
  ['2 kB of text', 'x'.repeat(2000)],
] as const;

/** Besides its own line end, a line of records or log has none of these. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point.
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

const log: string[] = [];
let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({
    log: createLog({ level: 'trace', pretty: false, destination: { write: (line) => log.push(line) } }),
  });
});
afterAll(() => wire.close());
afterEach(() => wire.hangUp());

/** Sends a message and looks at its one answer, its one record, and the raw lines of records and log. */
async function judge(message: string, secrets: readonly string[] = []) {
  const mark = wire.upstreamMark();
  const connection = await wire.connect();
  connection.send(message);
  const { answers, rest } = await answersOn(connection, 1);
  expect({ count: answers.length, rest }).toEqual({ count: 1, rest: '' });
  const [record, ...others] = await wire.nextRecords(1);
  expect(others).toEqual([]);
  const [answer] = answers;
  expect(answer?.status).toBe(record?.status);
  expect(answer?.status).toBeLessThan(500);
  const lines = [
    ...readFileSync(wire.gateway.recordsFile, 'utf8').split('\n').filter(Boolean),
    ...log.map((line) => line.replace(/\n$/, '')),
  ];
  for (const line of lines) {
    expect(JSON.parse(line)).toBeTypeOf('object');
    expect(UNPRINTABLE.test(line)).toBe(false);
    for (const secret of secrets) expect(line.includes(secret)).toBe(false);
  }
  return { answer, record, requests: wire.upstreamSince(mark).flatMap(readRequests) };
}

/** A GET with this token and a proof that goes with it. */
async function withToken(token: string): Promise<string> {
  const proof = await wire.gateway.job.proof('GET', wire.gateway.origin + PROJECT, token);
  return wire.fill(`GET ${PROJECT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: DPoP ${token}\r\nDPoP: ${proof}\r\n\r\n`);
}

describe('what a token says cannot forge a line', () => {
  const claims = ['sub', 'client_id', 'jti', 'iss', 'aud', 'scope', 'repository', 'sub_id'].flatMap((claim) =>
    EVIL.map(([what, value]) => [claim, what, value] as const),
  );
  it.each(claims)('Envoy Gateway CVE-2025-25294: claim %s with %s', async (claim, _what, value) => {
    const token = await wire.gateway.token({ [claim]: value });
    const { answer, record, requests } = await judge(await withToken(token), [token.split('.')[2] as string]);
    expect(requests).toHaveLength(answer?.status === 200 ? 1 : 0);
    for (const name of ['sallyport-subject', 'sallyport-client', 'sallyport-job']) {
      for (const stated of valuesOf(requests[0], name)) expect(stated).toMatch(/^[\x21-\x7e]*$/);
    }
    if (requests.length === 1) expect(valuesOf(requests[0], 'sallyport-decision-id')).toEqual([record?.id]);
  });

  it.each(EVIL)('Envoy Gateway CVE-2025-25294: key name with %s', async (_what, value) => {
    const { key, issuer } = wire.gateway.issuer;
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ iss: issuer, sub: 'a', iat: now, exp: now + 60, jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: value })
      .sign(key.privateKey);
    const { answer } = await judge(await withToken(token), [token.split('.')[2] as string]);
    expect(answer?.status).toBe(401);
  });

  it.each(EVIL)('a proof whose jti, nonce and other claims have %s', async (_what, value) => {
    const { privateKey, publicJwk } = wire.gateway.job.key;
    const proof = await new SignJWT({
      htm: 'GET',
      htu: wire.gateway.origin + PROJECT,
      ath: sha256Base64url(wire.token),
      jti: value.slice(0, 60) + randomUUID(),
      nonce: value,
      [value]: value,
      iat: Math.floor(Date.now() / 1000),
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: publicJwk, kid: value })
      .sign(privateKey);
    const message = await wire.fill(
      `GET ${PROJECT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: DPoP {token}\r\nDPoP: ${proof}\r\n\r\n`,
    );
    await judge(message, [proof.split('.')[2] as string]);
  });

  it.each(EVIL)('a proof for a URI with %s, which its sender is told about', async (_what, value) => {
    const { privateKey, publicJwk } = wire.gateway.job.key;
    const proof = await new SignJWT({
      htm: value,
      htu: value,
      ath: sha256Base64url(wire.token),
      jti: randomUUID(),
      iat: Math.floor(Date.now() / 1000),
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: publicJwk })
      .sign(privateKey);
    const message = await wire.fill(
      `GET ${PROJECT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: DPoP {token}\r\nDPoP: ${proof}\r\n\r\n`,
    );
    const { answer } = await judge(message, [proof.split('.')[2] as string]);
    expect(answer?.status).toBe(401);
  });
});

describe('what a request line and fields say cannot forge a line', () => {
  it.each([
    ['an encoded line feed', `${PROJECT}%0a{"outcome":"allowed"}`],
    ['encoded CR LF', `${PROJECT}%0d%0aSet-Cookie:%20a=b`],
    ['encoded terminal codes', `${PROJECT}%1b%5b31m`],
    ['a quote and a brace', `${PROJECT}"},"outcome":"allowed`],
    ['an encoded line separator', `${BUILDS}/%e2%80%a8x`],
    ['an encoded next line', `${PROJECT}%c2%85x`],
    ['a query with an encoded line feed', `${PROJECT}?a=%0a{"outcome":"allowed"}`],
    ['8 kB', `/${'x'.repeat(8100)}`],
  ])('a target with %s', async (_what, target) => {
    const { record } = await judge(await wire.fill(requestLine(get(), `GET ${target} HTTP/1.1`)));
    expect(record?.status).toBeGreaterThan(199);
  });

  it.each([
    ['User-Agent', 'a\x85b\xc2\x85c'],
    ['X-Request-Id', '{"outcome":"allowed"}'],
    ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['traceparent', '00-<script>'],
    ['Content-Type', '"},"outcome":"allowed'],
    ['Referer', `https://a/?access_token=${COOKIE}`],
    ['Cookie', `session=${COOKIE}`],
  ])('field %s: %s', async (name, value) => {
    await judge(await wire.fill(get(`${name}: ${value}\r\n`)));
  });

  it('secrets in targets are not in the record', async () => {
    await judge(await wire.fill(requestLine(get(), `GET ${PROJECT}?token=${COOKIE}&client_secret=${COOKIE} HTTP/1.1`)));
    await judge(await wire.fill(requestLine(ANONYMOUS, `GET ${PROJECT}?access_token={token} HTTP/1.1`)));
    await judge(await wire.fill(requestLine(ANONYMOUS, 'GET /none/{token} HTTP/1.1')));
  });

  it('what could not be read at all is recorded without its bytes', async () => {
    const { record } = await judge(`${FORGERY.trim()}\r\n\r\n`);
    expect(record).toMatchObject({ outcome: 'refused', reason: 'request.malformed' });
    expect(JSON.stringify(record?.whole)).not.toContain('"outcome":"allowed"');
  });
});

describe('as many records as answers', () => {
  it('exactly one for each of 240 requests of all kinds at once, with the decision that the caller was told', async () => {
    const kinds = [
      get(),
      get('', BUILDS),
      post('Content-Length: 5\r\n', 'hello'),
      chunked('5\r\nhello\r\n0\r\n\r\n'),
      ANONYMOUS,
      requestLine(get(), 'GET /none HTTP/1.1'),
      requestLine(get(), `GET ${PROJECT}/../p2 HTTP/1.1`),
      get('', '/v1/projects/p2'),
      get().replace(/\{auth [^}]+\}/, 'Authorization: Bearer {token}\r\n'),
      requestLine(get(), `PROPFIND ${PROJECT} HTTP/1.1`),
    ];
    const mark = wire.upstreamMark();
    const answers = (
      await Promise.all(
        Array.from({ length: 12 }, async () => {
          const connection = await wire.connect();
          for (const kind of [...kinds, ...kinds]) connection.send(await wire.fill(kind));
          const read = await answersOn(connection, kinds.length * 2);
          expect(read.rest).toBe('');
          return read.answers;
        }),
      )
    ).flat();
    expect(answers).toHaveLength(240);
    const told = answers.map(({ headers, body }) =>
      JSON.stringify([
        headers['sallyport-decision-id']?.[0] ?? (JSON.parse(body) as { decision_id: string }).decision_id,
      ]),
    );
    const records = await wire.nextRecords(240);
    expect(records.map(({ id }) => JSON.stringify([id])).sort()).toEqual(told.sort());
    const allowed = records.filter(({ outcome }) => outcome === 'allowed');
    expect(allowed).toHaveLength(96);
    const forwarded = wire
      .upstreamSince(mark)
      .flatMap(readRequests)
      .map((request) => valuesOf(request, 'sallyport-decision-id')[0]);
    expect(forwarded.sort()).toEqual(allowed.map(({ id }) => id).sort());
  });

  it('metrics hold nothing that a caller said', async () => {
    await judge(await wire.fill(requestLine(ANONYMOUS, `GET /only-in-this-target HTTP/1.1`)));
    const metrics = await (await fetch(`${wire.gateway.gateway.adminOrigin}/metrics`)).text();
    expect(metrics).toContain('request.route_unknown');
    expect(metrics).not.toMatch(/only-in-this-target|wf-4711|outcome":/);
    wire.expectNoSecret('metrics', metrics);
  });
});
