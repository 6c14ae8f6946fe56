import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { RawConnection } from '../support/raw_connection.ts';
import { readRequests } from '../support/read_requests.ts';
import { OK, type UpstreamScript } from '../support/recording_upstream.ts';
import { ANONYMOUS, chunked, get, post } from './messages.ts';
import { answersOn, BUILDS, eventually, PROJECT, Wire } from './wire.ts';
import { cutOff, passes, refused, runCase, type WireCase } from './wire_case.ts';

const GET_LINE = `GET ${PROJECT}`;
const POST_LINE = `POST ${BUILDS}`;
const UNAUTHENTICATED = refused(401, 'request.credentials_missing');
const FRAMING = refused(400, 'request.framing');
const DOUBT = post('Content-Length: 05\r\n', 'hello');
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
const CONNECT = 'CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n';
const WEBSOCKET = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';

/** An anonymous POST with this framing and body. */
const anonymousPost = (fields: string, body: string) =>
  `POST ${BUILDS} HTTP/1.1\r\nHost: {host}\r\n${fields}\r\n${body}`;

const pipelined: WireCase[] = [
  {
    name: 'two good ones',
    send: get() + get('', BUILDS),
    answers: [passes(GET_LINE), passes(`GET ${BUILDS}`)],
    closes: false,
  },
  { name: 'ten good ones', send: get().repeat(10), answers: Array(10).fill(passes(GET_LINE)), closes: false },
  {
    name: 'sixty that are refused',
    send: ANONYMOUS.repeat(60),
    answers: Array(60).fill(UNAUTHENTICATED),
    closes: false,
  },
  {
    name: 'a refused one, then a good one',
    send: ANONYMOUS + get(),
    answers: [UNAUTHENTICATED, passes(GET_LINE)],
    closes: false,
  },
  {
    name: 'a good one, then a refused one',
    send: get() + ANONYMOUS,
    answers: [passes(GET_LINE), UNAUTHENTICATED],
    closes: false,
  },
  {
    name: 'a body-less POST, then a GET',
    send: post('') + get(),
    answers: [passes(POST_LINE), passes(GET_LINE)],
    closes: false,
  },
  {
    name: 'two that change something',
    send: post('Content-Length: 1\r\n', '1') + post('Content-Length: 1\r\n', '2'),
    answers: [passes(POST_LINE, '1'), passes(POST_LINE, '2')],
    closes: false,
  },
  {
    name: 'a chunked one, then a GET',
    send: chunked('1\r\na\r\n0\r\n\r\n') + get(),
    answers: [passes(POST_LINE, 'a'), passes(GET_LINE)],
    closes: false,
  },
  {
    name: 'a refused one with a body, then a good one',
    send: anonymousPost('Content-Length: 5\r\n', 'hello') + get(),
    answers: [UNAUTHENTICATED, passes(GET_LINE)],
    closes: false,
  },
  {
    name: 'a good one, then garbage',
    send: `${get()}\0\r\n\r\n`,
    answers: [passes(GET_LINE), refused(400, 'request.malformed')],
    closes: true,
  },
  {
    name: 'a refused one, then garbage',
    send: `${ANONYMOUS}\0\r\n\r\n`,
    answers: [UNAUTHENTICATED, refused(400, 'request.malformed')],
    closes: true,
  },
  {
    name: 'a good one, garbage, and a good one that is not read',
    send: `${get()}\0\r\n\r\n${get()}`,
    answers: [passes(GET_LINE), refused(400, 'request.malformed')],
    closes: true,
  },
  {
    name: 'a good one, then a method that nobody knows',
    send: `${get()}get / HTTP/1.1\r\n\r\n`,
    answers: [passes(GET_LINE), refused(405, 'request.method_not_allowed')],
    closes: true,
  },
  {
    name: 'a good one, then a header section that is too large',
    send: `${get()}${ANONYMOUS.replace('\r\n\r\n', `\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`)}`,
    answers: [passes(GET_LINE), refused(431, 'request.headers_too_large')],
    closes: true,
  },
  {
    name: 'a good one, framing in doubt, and a good one that is not read',
    send: get() + DOUBT + get(),
    answers: [passes(GET_LINE), FRAMING],
    closes: true,
  },
  {
    name: 'framing in doubt, and two good ones that are not read',
    send: DOUBT + get() + get(),
    answers: [FRAMING],
    closes: true,
  },
  {
    name: 'Host missing, and a good one that is not read',
    send: get().replace('Host: {host}\r\n', '') + get(),
    answers: [refused(400, 'request.host_malformed')],
    closes: true,
  },
  {
    name: 'too many fields, and a good one that is not read',
    send: get('A:b\r\n'.repeat(200)) + get(),
    answers: [refused(431, 'request.too_many_headers')],
    closes: true,
  },
  {
    name: 'a good one, then a chunked one that breaks',
    send: get() + chunked('zz\r\n'),
    answers: [passes(GET_LINE), FRAMING],
    closes: true,
  },
  {
    name: 'three good ones, then a chunked one that breaks',
    send: get().repeat(3) + chunked('5\r\nhello\r\nzz\r\n'),
    answers: [passes(GET_LINE), passes(GET_LINE), passes(GET_LINE), FRAMING],
    closes: true,
  },
  {
    name: 'a good one, then CONNECT',
    send: get() + CONNECT,
    answers: [passes(GET_LINE), refused(405, 'request.method_not_allowed')],
    closes: true,
  },
  {
    name: 'a good one, CONNECT, and a good one that is not read',
    send: get() + CONNECT + get(),
    answers: [passes(GET_LINE), refused(405, 'request.method_not_allowed')],
    closes: true,
  },
  {
    name: 'a good one, then a switch that is refused',
    send: get() + get(WEBSOCKET),
    answers: [passes(GET_LINE), refused(403, 'request.upgrade_not_allowed')],
    closes: true,
  },
  { name: 'framing in doubt, then CONNECT that is not read', send: DOUBT + CONNECT, answers: [FRAMING], closes: true },
  {
    name: 'a good one that closes, and another that is not read',
    send: get() + get('Connection: close\r\n') + get(),
    answers: [passes(GET_LINE), passes(GET_LINE)],
    closes: true,
  },
  {
    name: 'half a request after a good one, and the end',
    send: `${get()}GET /v1`,
    answers: [passes(GET_LINE), refused(400, 'request.body_unreadable')],
    closes: true,
    end: true,
  },
].map((each) => ({ ...each, name: `RFC 9112 §9.3.2: ${each.name}` }));

/** A refusal leaves the rest of the body unread: no byte of it may become a request. */
const unread: WireCase[] = [
  {
    name: 'Content-Length',
    send: anonymousPost(`Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED),
    answers: [UNAUTHENTICATED],
    closes: false,
  },
  {
    name: 'Content-Length, in pieces',
    send: [anonymousPost('Content-Length: 30\r\n', ''), 'GET /smuggled HTTP/1.1\r\n', '\r\n1234'],
    answers: [UNAUTHENTICATED],
    closes: false,
  },
  {
    name: 'chunked',
    send: anonymousPost('Transfer-Encoding: chunked\r\n', '1a\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n'),
    answers: [UNAUTHENTICATED],
    closes: false,
  },
  {
    name: 'chunked, in pieces',
    send: [
      anonymousPost('Transfer-Encoding: chunked\r\n', '1a\r\n'),
      'GET /smuggled HTTP/1.1\r\n',
      '\r\n\r\n0\r\n\r\n',
    ],
    answers: [UNAUTHENTICATED],
    closes: false,
  },
  {
    name: '200 kB',
    send: anonymousPost('Content-Length: 200000\r\n', 'a'.repeat(200_000)),
    answers: [UNAUTHENTICATED],
    closes: false,
  },
  {
    name: 'of a target without a route',
    send: anonymousPost('Content-Length: 5\r\n', 'hello').replace(BUILDS, '/none'),
    answers: [refused(404, 'request.route_unknown')],
    closes: false,
  },
  {
    name: 'of a method that is not allowed',
    send: anonymousPost('Content-Length: 5\r\n', 'hello').replace('POST', 'PROPFIND'),
    answers: [refused(405, 'request.method_not_allowed')],
    closes: false,
  },
  {
    name: 'of a token that does not cover',
    send: post('Content-Length: 5\r\n', 'hello').replaceAll('/p1/', '/p2/'),
    answers: [refused(403, 'policy.insufficient_authorization_details')],
    closes: false,
  },
  {
    name: 'chunked, that breaks in the same packet',
    send: anonymousPost('Transfer-Encoding: chunked\r\n', `zz\r\n${ANONYMOUS}`),
    answers: [FRAMING],
    closes: true,
  },
].map((each) => ({ ...each, name: `RFC 9112 §9.3: an unread body: ${each.name}` }));

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());
afterEach(() => wire.hangUp());

describe.each([
  ['requests behind each other', pipelined],
  ['connections after a refusal', unread],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});

describe('bodies that are not worth waiting for', () => {
  it('RFC 9112 §9.6: of a refused request 256 kB are taken, then the connection is cut', async () => {
    const connection = await wire.connect();
    connection.send(await wire.fill(anonymousPost('Content-Length: 50000000\r\n', '')));
    const { answers } = await answersOn(connection, 1);
    expect(answers.map(({ status }) => status)).toEqual([401]);
    const piece = Buffer.alloc(65_536, 'a');
    while (!connection.socket.closed && connection.socket.bytesWritten < 20_000_000) {
      connection.send(piece);
      await sleep(1);
    }
    await eventually('the connection is cut', () => connection.socket.closed || connection.ended);
    expect(connection.socket.bytesWritten).toBeLessThan(20_000_000);
    expect(await wire.nextRecords(1)).toMatchObject([{ reason: 'request.credentials_missing' }]);
  });

  it('RFC 9112 §9.6: a body that does not come is not waited for beyond two seconds', async () => {
    const connection = await wire.connect();
    connection.send(await wire.fill(anonymousPost('Content-Length: 5\r\n', 'h')));
    expect((await answersOn(connection, 1)).answers.map(({ status }) => status)).toEqual([401]);
    await eventually('the connection is cut', () => connection.socket.closed || connection.ended);
    expect(await wire.nextRecords(1)).toMatchObject([{ reason: 'request.credentials_missing' }]);
  });

  it('a refused body that breaks later is no second request', async () => {
    const connection = await wire.connect();
    connection.send(await wire.fill(anonymousPost('Transfer-Encoding: chunked\r\n', '5\r\nhel')));
    expect((await answersOn(connection, 1)).answers.map(({ status }) => status)).toEqual([401]);
    connection.send('loXX');
    await eventually('the connection is cut', () => connection.socket.closed || connection.ended);
    await sleep(50);
    expect(await wire.nextRecords(1)).toHaveLength(1);
  });
});

describe('order towards the upstream', () => {
  let slow: Wire;
  let release = (): void => undefined;
  const held: UpstreamScript = async (connection) => {
    for (let n = 1; ; n++) {
      const request = await connection.request(n);
      if (request.method === 'POST') await new Promise<void>((resolve) => (release = resolve));
      connection.send(OK);
    }
  };
  beforeAll(async () => {
    slow = await Wire.start({ script: held });
  });
  afterAll(() => slow.close());
  afterEach(() => slow.hangUp());
  const arrived = (mark: ReturnType<Wire['upstreamMark']>) =>
    slow
      .upstreamSince(mark)
      .flatMap(readRequests)
      .map(({ method }) => method);

  it('RFC 9112 §9.3.2: a request is not sent before the one in front of it is answered', async () => {
    const mark = slow.upstreamMark();
    const connection = await slow.connect();
    connection.send(await slow.fill(post('Content-Length: 0\r\n') + get()));
    await eventually('the first arrives', () => arrived(mark).length === 1);
    await sleep(50);
    expect(arrived(mark)).toEqual(['POST']);
    release();
    expect((await answersOn(connection, 2)).answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(arrived(mark).sort()).toEqual(['GET', 'POST']);
    expect((await slow.nextRecords(2)).map(({ method }) => method)).toEqual(['POST', 'GET']);
  });

  it('RFC 9112 §9.3.2: forty that come in pieces meanwhile are all answered, in order', async () => {
    const mark = slow.upstreamMark();
    const connection = await slow.connect();
    connection.send(await slow.fill(post('Content-Length: 0\r\n')));
    await eventually('the first arrives', () => arrived(mark).length === 1);
    for (let n = 0; n < 40; n++) {
      connection.send(await slow.fill(n % 10 === 9 ? get() : ANONYMOUS));
      await sleep(2);
    }
    release();
    const { answers, rest } = await answersOn(connection, 41);
    const expected = Array.from({ length: 40 }, (_, n) => (n % 10 === 9 ? 200 : 401));
    expect(answers.map(({ status }) => status)).toEqual([200, ...expected]);
    expect(rest).toBe('');
    expect((await slow.nextRecords(41)).map(({ status }) => status)).toEqual([200, ...expected]);
  });

  it('RFC 9112 §9.6: a caller that hangs up meanwhile has sent one request, and it is recorded', async () => {
    const mark = slow.upstreamMark();
    const connection = await slow.connect();
    connection.send(await slow.fill(post('Content-Length: 0\r\n') + get() + get()));
    await eventually('the first arrives', () => arrived(mark).length === 1);
    connection.reset();
    expect(await slow.nextRecords(1)).toMatchObject([{ reason: 'forward.client_closed', status: 499, method: 'POST' }]);
    await sleep(50);
    expect(arrived(mark)).toEqual(['POST']);
    expect(await slow.nextRecords(0)).toEqual([]);
    release();
  });

  it('RFC 9112 §9.6: a caller that ends its side while it waits has hung up, as far as anyone can tell', async () => {
    const mark = slow.upstreamMark();
    const connection = await slow.connect();
    connection.send(await slow.fill(post('Content-Length: 0\r\n')));
    await eventually('it arrives', () => arrived(mark).length === 1);
    connection.end();
    await eventually('the connection ends', () => connection.ended);
    expect(connection.received).toBe('');
    expect(await slow.nextRecords(1)).toMatchObject([{ reason: 'forward.client_closed', status: 499 }]);
    release();
  });

  it('a caller that goes on sending while it waits is not read without bound', async () => {
    const mark = slow.upstreamMark();
    const connection = await slow.connect();
    connection.send(await slow.fill(post('Content-Length: 0\r\n')));
    await eventually('the first arrives', () => arrived(mark).length === 1);
    const request = Buffer.from(await slow.fill(ANONYMOUS.replace('\r\n\r\n', `\r\nX: ${'a'.repeat(1000)}\r\n\r\n`)));
    const batch = Buffer.concat(Array(64).fill(request));
    for (let sent = 0; sent < 400; sent++) {
      connection.socket.write(batch);
      await sleep(1);
    }
    await sleep(100);
    const stuck = connection.socket.writableLength;
    expect(stuck, 'bytes that the gateway does not take').toBeGreaterThan(0);
    connection.reset();
    release();
    expect((await slow.nextRecords(1))[0]).toMatchObject({ reason: 'forward.client_closed', method: 'POST' });
  });
});

describe('callers that are slow', () => {
  let hasty: Wire;
  beforeAll(async () => {
    const limits = { headers_timeout_ms: 300, request_timeout_ms: 700, keep_alive_timeout_ms: 300, connections: 3 };
    hasty = await Wire.start({ config: { limits } });
  });
  afterAll(() => hasty.close());
  afterEach(() => hasty.hangUp());

  const timeouts: WireCase[] = [
    { name: 'a request line', send: 'GET /v1', answers: [refused(408, 'request.timeout')], closes: true },
    { name: 'a header section', send: get().slice(0, -2), answers: [refused(408, 'request.timeout')], closes: true },
    {
      name: 'a second header section',
      send: get() + get().slice(0, -2),
      answers: [passes(GET_LINE), refused(408, 'request.timeout')],
      closes: true,
    },
    {
      name: 'a body of which nothing comes',
      send: post('Content-Length: 5\r\n'),
      answers: [cutOff(408, 'request.timeout', POST_LINE)],
      closes: true,
    },
    {
      name: 'the end of a body',
      send: post('Content-Length: 5\r\n', 'hell'),
      answers: [cutOff(408, 'request.timeout', POST_LINE, 'hell')],
      closes: true,
    },
    {
      name: 'the last chunk',
      send: chunked('5\r\nhello\r\n'),
      answers: [cutOff(408, 'request.timeout', POST_LINE, 'hello')],
      closes: true,
    },
    {
      name: 'a body that was asked for',
      send: post('Expect: 100-continue\r\nContent-Length: 5\r\n'),
      answers: [cutOff(408, 'request.timeout', POST_LINE)],
      closes: true,
      interim: [100],
    },
  ];
  it.each(timeouts)('RFC 9110 §15.5.9: $name does not come', (each) => runCase(hasty, each));

  it('RFC 9110 §15.5.9: a header section that comes one byte at a time', async () => {
    const connection = await hasty.connect();
    for (const byte of await hasty.fill(ANONYMOUS)) {
      if (connection.ended || connection.socket.closed) break;
      connection.send(byte);
      await sleep(60);
    }
    await eventually('the connection ends', () => connection.ended);
    expect((await answersOn(connection, 1)).answers.map(({ status }) => status)).toEqual([408]);
    expect(await hasty.nextRecords(1)).toMatchObject([{ reason: 'request.timeout', status: 408 }]);
  });

  it('RFC 9112 §9.5: a connection on which nothing is sent is closed, and is no request', async () => {
    const connection = await hasty.connect();
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    expect(connection.received).toBe('');
    await sleep(30);
    expect(await hasty.nextRecords(0)).toEqual([]);
  });

  it('RFC 9112 §9.5: a connection that is kept and not used is closed, and is no request', async () => {
    const connection = await hasty.connect();
    connection.send(await hasty.fill(get()));
    expect((await answersOn(connection, 1)).answers).toHaveLength(1);
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    expect((await answersOn(connection, 1)).rest).toBe('');
    expect(await hasty.nextRecords(1)).toMatchObject([{ status: 200 }]);
  });

  it('gateway.overloaded: a connection past the limit is told so, and the next one after another ended is served', async () => {
    const mark = hasty.upstreamMark();
    const [first] = [await hasty.connect(), await hasty.connect(), await hasty.connect()];
    const fourth = await hasty.connect();
    fourth.send(await hasty.fill(get()));
    await eventually('the connection ends', () => fourth.ended || fourth.socket.closed);
    const { answers, rest } = await answersOn(fourth, 1);
    expect(answers).toMatchObject([{ status: 503, headers: { 'retry-after': ['1'], connection: ['close'] } }]);
    expect(JSON.parse(answers[0]?.body ?? '')).toMatchObject({ reason: 'gateway.overloaded' });
    expect(rest).toBe('');
    expect(hasty.upstreamSince(mark)).toEqual([]);
    first.socket.destroy();
    await eventually('a connection is served again', () => first.socket.closed);
    await sleep(20);
    const fifth = await hasty.connect();
    fifth.send(await hasty.fill(get()));
    expect((await answersOn(fifth, 1)).answers).toMatchObject([{ status: 200 }]);
    expect(await hasty.nextRecords(1)).toMatchObject([{ status: 200 }]);
  });
});

describe('connections over TLS', () => {
  let secure: Wire;
  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-tls-'));
    const { cert, key } = makeCertificate({ name: 'gateway', hosts: ['127.0.0.1'] });
    writeFileSync(join(folder, 'cert.pem'), cert);
    writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 });
    const tls = { certificate_file: join(folder, 'cert.pem'), key_file: join(folder, 'key.pem') };
    const limits = { headers_timeout_ms: 300, request_timeout_ms: 700 };
    secure = await Wire.start({ config: { listen: { port: 0, tls }, limits } });
    rmSync(folder, { recursive: true });
  });
  afterAll(() => secure.close());
  afterEach(() => secure.hangUp());

  const connectTls = async () => {
    const socket = connect({ host: '127.0.0.1', port: secure.gateway.port, rejectUnauthorized: false });
    const connection = new RawConnection(socket);
    await once(socket, 'secureConnect');
    return connection;
  };

  it('RFC 9112 §9.3.2: requests and garbage are answered in order, as without', async () => {
    const connection = await connectTls();
    connection.send(await secure.fill(`${get()}${ANONYMOUS}\0\r\n\r\n${get()}`));
    const { answers, rest } = await answersOn(connection, 3);
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 400]);
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    expect(rest).toBe('');
    expect((await secure.nextRecords(3)).map(({ status }) => status)).toEqual([200, 401, 400]);
  });

  it('RFC 9112 §9.6: nothing is read behind framing in doubt, as without', async () => {
    const mark = secure.upstreamMark();
    const connection = await connectTls();
    connection.send(await secure.fill(DOUBT + get()));
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    expect((await answersOn(connection, 1)).answers.map(({ status }) => status)).toEqual([400]);
    expect(await secure.nextRecords(1)).toMatchObject([{ reason: 'request.framing' }]);
    expect(secure.upstreamSince(mark)).toEqual([]);
  });

  it('a connection on which nothing is sent after the handshake is closed, and is no request', async () => {
    const connection = await connectTls();
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    await sleep(30);
    expect(connection.received).toBe('');
    expect(await secure.nextRecords(0)).toEqual([]);
  });

  it.each([
    ['nothing', ''],
    ['half a handshake', '\x16\x03\x01\x02\x00\x01\x00'],
    ['HTTP', ANONYMOUS],
  ])('%s where a handshake is due: closed in time, and no request', async (_what, bytes) => {
    const connection = await secure.connect();
    connection.send(bytes);
    await eventually('the connection ends', () => connection.ended || connection.socket.closed);
    await sleep(30);
    expect(connection.received).not.toContain('HTTP/1.1');
    expect(await secure.nextRecords(0)).toEqual([]);
  });
});
