import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { readRecords } from '../support/gateway.ts';
import { ERROR, FLAG, FRAME, frame, headerBlock, uint32 } from '../support/http2_frames.ts';
import { BUILDS, type Fields, HOST, Http2Front, PROJECT, pseudo, reasonOf } from '../support/http2_front.ts';
import { sendRaw } from '../support/raw_client.ts';
import { valuesOf } from '../support/read_requests.ts';

/** HTTP/2 in front: the same checks in the same order, one reading of the request. Frames are written by hand. */

let front: Http2Front;
beforeAll(async () => {
  front = await Http2Front.start();
});
afterAll(() => front.close());
let cleanRequests = 0;
/** After every case a clean request on a new connection is answered normally. */
afterEach(async () => {
  const connection = await front.connect();
  const mark = `clean=${++cleanRequests}`;
  connection.request(1, await front.good('GET', `${PROJECT}?${mark}`));
  await eventually('the clean answer', () => connection.answer(1).ended);
  expect(connection.answer(1)).toMatchObject({ statuses: [200], body: 'ok' });
  connection.socket.destroy();
  // Records of what was cut may come late.
  await eventually('all is recorded', async () => {
    const records = await readRecords(front.gateway.recordsFile, 0);
    return records.some(({ custom }) => (custom as { sallyport: { query?: string } }).sallyport.query === mark);
  });
  await sleep(20);
  await front.skipRecords();
});

const lastRequest = () => front.upstream.requests.at(-1);

describe('a request over HTTP/2', () => {
  it('RFC 9113 §8.3.1: is checked and forwarded like any other; the record names the protocol, Via too', async () => {
    const { answer, forwarded, record } = await front.send(await front.good());
    expect(answer).toMatchObject({ statuses: [200], body: 'ok', ended: true, reset: null });
    expect(forwarded).toBe(1);
    expect(record).toMatchObject({ outcome: 'allowed', status: 200, protocol: 'HTTP/2', host: HOST, path: PROJECT });
    expect(lastRequest()?.head.split('\r\n')[0]).toBe(`GET ${PROJECT} HTTP/1.1`);
    expect(valuesOf(lastRequest(), 'via')).toEqual(['2 sallyport']);
    for (const name of ['authorization', 'dpop', ':authority', ':path'])
      expect(valuesOf(lastRequest(), name)).toEqual([]);
  });

  it('RFC 9113 §8.1: a body goes on as it came, with its length and without', async () => {
    const bare = await front.good('POST', BUILDS);
    for (const length of [[], [['content-length', '5']]] as Fields[]) {
      const { answer, record } = await front.send(
        [...bare.slice(0, 4), ...(await front.credentials('POST', BUILDS)), ...length],
        'hello',
      );
      expect(answer.statuses).toEqual([200]);
      expect(record).toMatchObject({ outcome: 'allowed', upstream: { request_bytes: 5, complete: true } });
      expect(lastRequest()).toMatchObject({ method: 'POST', target: BUILDS, body: 'hello', complete: true });
      if (length.length > 0) expect(valuesOf(lastRequest(), 'content-length')).toEqual(['5']);
    }
  });

  it('RFC 9113 §8.2.3: cookie crumbs end at the gateway like a cookie', async () => {
    await front.send([...(await front.good()), ['cookie', 'a=1'], ['cookie', 'b=2']]);
    expect(valuesOf(lastRequest(), 'cookie')).toEqual([]);
  });

  it('RFC 9113 §8.1.1: a body that is cut short is never passed on as whole', async () => {
    for (const code of [ERROR.NO_ERROR, ERROR.CANCEL, ERROR.PROTOCOL_ERROR, ERROR.INTERNAL_ERROR]) {
      await front.skipRecords();
      const connection = await front.connect();
      const before = front.upstream.requests.length;
      connection.request(1, await front.good('POST', BUILDS), 0);
      connection.send(frame(FRAME.DATA, 0, 1, Buffer.from('half')));
      await eventually(
        'the upstream has the half',
        () => front.upstream.requests.length > before && front.upstream.received.includes('half'),
      );
      connection.send(frame(FRAME.RST_STREAM, 0, 1, uint32(code)));
      expect(await front.nextRecord()).toMatchObject({ outcome: 'failed', reason: 'forward.client_closed' });
      const upstream = front.upstream.connections.at(-1);
      await eventually('the upstream is cut', () => upstream?.socket.destroyed === true || upstream?.ended === true);
      expect(lastRequest()?.complete).toBe(false);
      connection.socket.destroy();
    }
  });

  it('RFC 9113 §8.1.1: the same when the whole connection breaks', async () => {
    const connection = await front.connect();
    connection.request(1, await front.good('POST', BUILDS), 0);
    connection.send(frame(FRAME.DATA, 0, 1, Buffer.from('part')));
    await eventually('the upstream has the part', () => front.upstream.received.includes('part'));
    connection.socket.destroy();
    expect(await front.nextRecord()).toMatchObject({ outcome: 'failed', reason: 'forward.client_closed' });
    expect(lastRequest()?.complete).toBe(false);
  });

  it('requests of one connection are served beside each other, each with its record', async () => {
    const connection = await front.connect();
    for (let n = 0; n < 20; n++) connection.request(2 * n + 1, await front.good());
    await eventually(
      'all answers',
      () => connection.frames.filter(({ type, flags }) => type === FRAME.DATA && flags === 1).length === 20,
    );
    for (let n = 0; n < 20; n++) expect(connection.answer(2 * n + 1)).toMatchObject({ statuses: [200], body: 'ok' });
    for (let n = 0; n < 20; n++) expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed' });
    connection.socket.destroy();
  });

  it('HEAD has no body, and protected resource metadata is served', async () => {
    const head = await front.send(await front.good('HEAD'));
    expect(head.answer).toMatchObject({ statuses: [200], body: '', ended: true });
    const metadata = await front.send(pseudo({ path: '/.well-known/oauth-protected-resource/v1' }));
    expect(metadata.answer.statuses).toEqual([200]);
    expect(JSON.parse(metadata.answer.body)).toMatchObject({ resource: 'https://cloud.example.com/v1' });
    expect(metadata).toMatchObject({ forwarded: 0, record: { outcome: 'answered', protocol: 'HTTP/2' } });
  });
});

describe('refused with a reason, an answer and a record', () => {
  const without = (name: string) => async () => (await front.good()).filter(([field]) => field !== name);
  const plus =
    (...more: Fields) =>
    async () => [...(await front.good()), ...more];
  const at = (changes: Parameters<typeof pseudo>[0]) => async () => [
    ...pseudo(changes),
    ...(await front.credentials(changes?.method ?? 'GET', PROJECT)),
  ];
  const CASES: readonly [string, string, number, () => Promise<Fields>][] = [
    ['RFC 6750 §3.1: no credentials', 'request.credentials_missing', 401, async () => pseudo()],
    ['RFC 9449 §4.3 check 1: no proof', 'proof.missing', 401, without('dpop')],
    [
      'RFC 6750 §2: Authorization twice',
      'request.credentials_repeated',
      400,
      async () => [...(await front.good()), ...(await front.credentials('GET', PROJECT)).slice(0, 1)],
    ],
    [
      'RFC 9449 §4.3 check 1: DPoP twice',
      'request.proof_repeated',
      401,
      async () => [...(await front.good()), ...(await front.credentials('GET', PROJECT)).slice(1)],
    ],
    [
      'RFC 6750 §2: Authorization joined with a comma',
      'request.credentials_malformed',
      400,
      async () => {
        const [authorization, proof] = await front.credentials('GET', PROJECT);
        return [
          ...pseudo(),
          ['authorization', `${authorization?.[1]}, ${authorization?.[1]}`],
          proof as [string, string],
        ];
      },
    ],
    [
      'RFC 9449 §4.3 check 8: a proof for another method',
      'proof.method',
      401,
      async () => [...pseudo(), ...(await front.credentials('POST', PROJECT))],
    ],
    [
      'RFC 9449 §4.3 check 9: a proof for another path',
      'proof.target',
      401,
      async () => [...pseudo(), ...(await front.credentials('GET', BUILDS))],
    ],
    [
      'RFC 9449 §7.2: a bound token as Bearer',
      'proof.bound_token_as_bearer',
      401,
      async () => {
        const [[, authorization] = ['', ''], proof] = await front.credentials('GET', PROJECT);
        return [...pseudo(), ['authorization', authorization.replace('DPoP', 'Bearer')], proof as [string, string]];
      },
    ],
    [
      'RFC 9113 §8.3.1: Host differs from :authority',
      'request.host_malformed',
      400,
      plus(['host', 'other.example.com']),
    ],
    [
      'RFC 9113 §8.3.1: Host is :authority with another port',
      'request.host_malformed',
      400,
      plus(['host', `${HOST}:443`]),
    ],
    ['RFC 9110 §15.5.20: another :authority', 'request.host_unknown', 421, at({ authority: 'other.example.com' })],
    [
      'RFC 9110 §7.2: :authority with another port',
      'request.host_unknown',
      421,
      at({ authority: 'other.example.com:8443' }),
    ],
    ['RFC 9113 §8.3.1: scheme http over TLS', 'request.target_ambiguous', 400, at({ scheme: 'http' })],
    ['RFC 9113 §8.3.1: another scheme', 'request.target_ambiguous', 400, at({ scheme: 'ftp' })],
    [
      'RFC 9110 §9.3.6: CONNECT',
      'request.method_not_allowed',
      405,
      async () => pseudo({ method: 'CONNECT', scheme: null, path: null }),
    ],
    ['RFC 9110 §9.3.8: TRACE', 'request.method_not_allowed', 405, at({ method: 'TRACE' })],
    ['RFC 9110 §9.1: a method in lower case', 'request.method_not_allowed', 405, at({ method: 'get' })],
    ['RFC 9110 §9.1: an unknown method', 'request.method_not_allowed', 405, at({ method: 'PURGE' })],
    ['RFC 9110 §9.3.7: OPTIONS *', 'request.method_not_allowed', 405, at({ method: 'OPTIONS', path: '*' })],
    ['RFC 9110 §10.1.1: another expectation', 'request.expectation_unsupported', 417, plus(['expect', 'magic'])],
    [
      'RFC 9110 §8.3: Content-Type twice',
      'request.header_repeated',
      400,
      plus(['content-type', 'a/b'], ['content-type', 'a/b']),
    ],
    ...(['x-a', 'dpop', 'authorization', 'content-type'] as const).flatMap((name) =>
      [' v', 'v ', '\tv', 'v\t', ' '].map((value): [string, string, number, () => Promise<Fields>] => [
        `RFC 9113 §8.2.1: white space around a value, ${name}: ${JSON.stringify(value)}`,
        'request.header_malformed',
        400,
        plus([name, value]),
      ]),
    ),
    ['RFC 9112 §6.3: alias of a framing field', 'request.framing', 400, plus(['transfer_encoding', 'chunked'])],
    [
      'RFC 6585 §5: more fields than allowed',
      'request.too_many_headers',
      431,
      plus(...Array.from({ length: 110 }, (_, n) => [`x-${n}`, '1'] as const)),
    ],
    [
      'RFC 6585 §5: larger fields than allowed',
      'request.headers_too_large',
      431,
      plus(['x-a', 'a'.repeat(8000)], ['x-b', 'b'.repeat(7000)]),
    ],
    [
      'RFC 6750 §2.3: a token in the query',
      'request.credentials_in_query',
      400,
      at({ path: `${PROJECT}?access_token=x` }),
    ],
  ];
  it.each(CASES)('%s: %s', async (_name, reason, status, fields) => {
    const outcome = await front.send(await fields());
    expect(outcome).toMatchObject({ reason, forwarded: 0, record: { reason, status, protocol: 'HTTP/2' } });
    expect(outcome.answer).toMatchObject({ statuses: [status], ended: true });
  });

  const TARGETS = [
    '/v1/../admin',
    '/v1/%2e%2e/admin',
    '/v1/%252e%252e/admin',
    '/v1//projects',
    '//evil/v1',
    '/v1/a%2fb',
    '/v1/a%5cb',
    '/v1/a\\b',
    '/v1/%00',
    '/v1/..;/x',
    '/v1/\xc0\xaf',
    '/v1/\xc3\xa9',
    `${PROJECT}#x`,
    '/v1/%zz',
    '/v1/./x',
    '/v1/;x',
  ];
  it.each(TARGETS)('RFC 3986 §6: the path %j can be read in two ways', async (path) => {
    const outcome = await front.send([...pseudo({ path }), ...(await front.credentials('GET', PROJECT))]);
    expect(outcome).toMatchObject({ reason: 'request.target_ambiguous', forwarded: 0, record: { status: 400 } });
    expect(outcome.answer.statuses).toEqual([400]);
  });

  it('RFC 6750 §2.2: a token in a form', async () => {
    const outcome = await front.send(
      [...pseudo({ method: 'POST', path: BUILDS }), ['content-type', 'application/x-www-form-urlencoded']],
      'access_token=x',
    );
    expect(outcome).toMatchObject({ reason: 'request.credentials_in_body', forwarded: 0 });
  });

  it('RFC 9112 §6.3: Content-Length that can be read in two ways', async () => {
    const bare = await front.good('POST', BUILDS);
    const outcome = await front.send([...bare, ['content-length', '05']], 'hello');
    expect(outcome).toMatchObject({ reason: 'request.framing', forwarded: 0, record: { status: 400 } });
  });

  it('RFC 9449 §11.1: a proof is used once, over HTTP/2 or HTTP/1.1', async () => {
    const fields = await front.good();
    const connection = await front.connect();
    for (let n = 0; n < 20; n++) connection.request(2 * n + 1, fields);
    await eventually('all answers', () =>
      Array.from({ length: 20 }, (_, n) => connection.answer(2 * n + 1)).every(({ ended }) => ended),
    );
    const statuses = Array.from({ length: 20 }, (_, n) => connection.answer(2 * n + 1).statuses[0]);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    const reasons = Array.from({ length: 20 }, (_, n) => reasonOf(connection.answer(2 * n + 1)));
    expect(reasons.filter((reason) => reason === 'proof.replayed')).toHaveLength(19);
    connection.socket.destroy();
  });

  it('RFC 9110 §10.1.1: 100 comes after the decision, and not for a refusal', async () => {
    const held = async (fields: Fields) => {
      const connection = await front.connect();
      connection.request(1, [...fields, ['expect', '100-continue'], ['content-length', '5']], 0);
      await eventually('an answer', () => connection.answer(1).statuses.length > 0);
      return connection;
    };
    const refused = await held(pseudo({ method: 'POST', path: BUILDS }));
    await eventually('the refusal ends', () => refused.answer(1).reset !== null);
    expect(refused.answer(1)).toMatchObject({ statuses: [401], ended: true, reset: ERROR.NO_ERROR });
    const allowed = await held(await front.good('POST', BUILDS));
    expect(allowed.frames.filter(({ type }) => type === FRAME.HEADERS)).toHaveLength(1);
    allowed.send(frame(FRAME.DATA, FLAG.END_STREAM, 1, Buffer.from('hello')));
    await eventually('the answer', () => allowed.answer(1).ended);
    expect(allowed.answer(1).statuses.at(-1)).toBe(200);
    expect(lastRequest()?.body).toBe('hello');
    for (const { socket } of [refused, allowed]) socket.destroy();
  });

  it('RFC 9113 §8.1: after a refusal the rest of the body is not taken for ever', async () => {
    const connection = await front.connect();
    connection.request(1, pseudo({ method: 'POST', path: BUILDS }), 0);
    await eventually('the refusal', () => connection.answer(1).ended);
    await eventually('the stream is reset', () => connection.answer(1).reset !== null);
    expect(connection.answer(1)).toMatchObject({ statuses: [401], reset: ERROR.NO_ERROR });
    connection.socket.destroy();
  });
});

describe('malformed for HTTP/2 (RFC 9113 §8.1.1): the stream is reset, nothing is forwarded', () => {
  const plus =
    (...more: Fields) =>
    async () => [...(await front.good()), ...more];
  const CASES: [string, () => Promise<Fields>][] = [
    [':path twice', plus()],
    ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map(
      (name) =>
        [`§8.2.2: ${name}`, plus([name, name === 'connection' ? 'close' : 'h2c'])] as [string, () => Promise<Fields>],
    ),
    ['§8.2.2: TE other than trailers', plus(['te', 'gzip'])],
    ['§8.2.1: a name in upper case', plus(['X-Upper', '1'])],
    ['§8.3: an unknown pseudo-header field', plus([':protocol', 'websocket'])],
    ['§8.3: a pseudo-header field after others', async () => [...(await front.good()).slice(1), [':method', 'GET']]],
    ['§8.3.1: no :method', async () => [...pseudo({ method: null }), ...(await front.credentials('GET', PROJECT))]],
    ['§8.3.1: no :scheme', async () => [...pseudo({ scheme: null }), ...(await front.credentials('GET', PROJECT))]],
    ['§8.3.1: no :path', async () => [...pseudo({ path: null }), ...(await front.credentials('GET', PROJECT))]],
    ['§8.3.1: an empty :path', async () => [...pseudo({ path: '' }), ...(await front.credentials('GET', PROJECT))]],
    [
      '§8.3.1: absolute-form in :path',
      async () => [...pseudo({ path: `https://${HOST}${PROJECT}` }), ...(await front.credentials('GET', PROJECT))],
    ],
    [
      '§8.3.1: a space in :path',
      async () => [...pseudo({ path: '/v1/a b' }), ...(await front.credentials('GET', PROJECT))],
    ],
    [
      '§8.3.1: user information in :authority',
      async () => [...pseudo({ authority: `u@${HOST}` }), ...(await front.credentials('GET', PROJECT))],
    ],
    [
      '§8.3.1: neither :authority nor Host',
      async () => [...pseudo({ authority: null }), ...(await front.credentials('GET', PROJECT))],
    ],
    ['§8.3.1: Host twice', plus(['host', HOST], ['host', HOST])],
    ['§8.1.1: Content-Length of a body that is not there', plus(['content-length', '5'])],
    ['§8.1.1: Content-Length twice', plus(['content-length', '0'], ['content-length', '0'])],
    [
      'RFC 8441 §4: extended CONNECT, which is not offered',
      async () => [[':method', 'CONNECT'], [':protocol', 'websocket'], ...pseudo({ method: null })],
    ],
  ];
  for (const name of [':method', ':scheme', ':path', ':authority']) {
    CASES.push([
      `§8.3.1: ${name} twice`,
      async () => {
        const fields = await front.good();
        const twin = fields.find(([field]) => field === name) as [string, string];
        return [twin, ...fields];
      },
    ]);
  }
  it.each(CASES.slice(1))('%s', async (_name, fields) => {
    const connection = await front.connect();
    const before = front.upstream.requests.length;
    connection.request(1, await fields());
    await eventually('the reset', () => connection.answer(1).reset !== null || connection.closed);
    expect(connection.answer(1)).toMatchObject({ statuses: [], reset: ERROR.PROTOCOL_ERROR });
    // The connection goes on.
    connection.request(3, await front.good());
    await eventually('the next request', () => connection.answer(3).ended);
    expect(connection.answer(3).statuses).toEqual([200]);
    expect(front.upstream.requests.length - before).toBe(1);
    connection.socket.destroy();
  });

  it('RFC 9113 §8.2.1: fields that could not stand in HTTP/1.1 are neither judged nor sent', async () => {
    const odd: Fields = [
      ['x-a', 'b\r\nx-b: c'],
      ['x-n', 'a\0b'],
      ['a b', 'c'],
      ['x:y', 'z'],
      ['x-kept', '1'],
    ];
    const { answer } = await front.send([...(await front.good()), ...odd]);
    expect(answer.statuses).toEqual([200]);
    expect(valuesOf(lastRequest(), 'x-kept')).toEqual(['1']);
    for (const name of ['x-a', 'x-b', 'x-n', 'a b', 'x']) expect(valuesOf(lastRequest(), name)).toEqual([]);
  });

  it('RFC 9113 §8.1: trailers do not reach the upstream, pseudo-header fields in them reset the stream', async () => {
    const connection = await front.connect();
    connection.request(1, await front.good('POST', BUILDS), 0);
    connection.send(
      frame(FRAME.DATA, 0, 1, Buffer.from('hello')),
      frame(
        FRAME.HEADERS,
        FLAG.END_HEADERS | FLAG.END_STREAM,
        1,
        headerBlock([
          ['authorization', 'Bearer x'],
          ['x-t', '1'],
        ]),
      ),
    );
    await eventually('the answer', () => connection.answer(1).ended);
    expect(connection.answer(1).statuses).toEqual([200]);
    expect(lastRequest()).toMatchObject({ body: 'hello', complete: true });
    expect(front.upstream.received).not.toContain('Bearer x');
    connection.request(3, await front.good('POST', BUILDS), 0);
    connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 3, headerBlock([[':path', '/admin']])));
    await eventually('the reset', () => connection.answer(3).reset !== null);
    expect(connection.answer(3).reset).toBe(ERROR.PROTOCOL_ERROR);
    expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed' });
    expect(await front.nextRecord()).toMatchObject({ outcome: 'failed' });
    connection.socket.destroy();
  });
});

describe('which protocol is spoken', () => {
  it('RFC 9113 §3.3: HTTP/2 without TLS is never spoken, neither at once nor by Upgrade', async () => {
    const { startTestGateway } = await import('../support/gateway.ts');
    const plain = await startTestGateway({ upstream: front.upstream.origin });
    const before = front.upstream.requests.length;
    const { bytes } = await sendRaw(plain.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    expect(bytes.toString('latin1')).toMatch(/^HTTP\/1\.1 400 /);
    const upgrade = `GET ${PROJECT} HTTP/1.1\r\nHost: 127.0.0.1:${plain.port}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`;
    expect((await sendRaw(plain.port, upgrade)).bytes.toString('latin1')).toMatch(/^HTTP\/1\.1 401 /);
    expect(front.upstream.requests.length).toBe(before);
    await plain.close();
  });

  it('RFC 9113 §3.2: without ALPN, or with http/1.1, HTTP/1.1 is spoken; a connection for h2 takes nothing else', async () => {
    for (const alpn of [[], ['http/1.1']]) {
      const connection = await front.connect({ alpn, quiet: true });
      connection.socket.write(`GET ${PROJECT} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
      const [chunk] = (await new Promise((resolve) => connection.socket.once('data', (data) => resolve([data])))) as [
        Buffer,
      ];
      expect(chunk.toString('latin1')).toMatch(/^HTTP\/1\.1 401 /);
      connection.socket.destroy();
    }
    const h2 = await front.connect({ quiet: true });
    h2.socket.write(`GET ${PROJECT} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await eventually('the connection ends', () => h2.closed);
  });

  it('RFC 7301 §3.2: a protocol that is not offered ends the handshake', async () => {
    await expect(front.connect({ alpn: ['h3', 'spdy/3'] })).rejects.toMatchObject({
      code: expect.stringContaining('ALERT_NO_APPLICATION_PROTOCOL'),
    });
  });

  it('listen.tls.http2: false leaves HTTP/1.1', async () => {
    const old = await Http2Front.start({ tls: { http2: false } });
    await expect(old.connect()).rejects.toMatchObject({
      code: expect.stringContaining('ALERT_NO_APPLICATION_PROTOCOL'),
    });
    await old.close();
  });
});

describe('a graceful stop', () => {
  it('RFC 9113 §6.8: GOAWAY names the last request that was taken, which is answered; then the connection ends', async () => {
    const other = await Http2Front.start({
      script: async (connection) => {
        await connection.request(1);
        await sleep(700);
        connection.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate');
      },
    });
    const connection = await other.connect();
    const idle = await other.connect();
    connection.request(1, await other.good());
    await eventually('it is under way', () => other.upstream.requests.length === 1);
    const closing = other.gateway.gateway.close();
    // On its way when the stop began.
    connection.request(3, await other.good());
    await eventually('GOAWAY', () => connection.goaways.length > 0);
    connection.request(5, await other.good());
    expect(await closing).toBe(true);
    for (const stream of [1, 3]) expect(connection.answer(stream)).toMatchObject({ body: 'late', ended: true });
    expect(connection.answer(5).statuses).toEqual([]);
    await eventually('both connections end', () => connection.closed && idle.closed);
    const goaways = connection.frames.filter(({ type }) => type === FRAME.GOAWAY);
    for (const { payload } of goaways)
      expect([payload.readUInt32BE(0), payload.readUInt32BE(4)]).toEqual([3, ERROR.NO_ERROR]);
    expect(other.upstream.requests).toHaveLength(2);
    await other.close();
  });
});

it('the reasons of these tests are read from problem documents', () => {
  expect(reasonOf({ statuses: [200], body: 'ok', ended: true, reset: null })).toBeNull();
});
