import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { valuesOf } from '../support/read_requests.ts';
import { OK, type UpstreamScript } from '../support/recording_upstream.ts';
import { ANONYMOUS, chunked, get, post, version } from './messages.ts';
import { answersOn, BUILDS, eventually, FORGED, PROJECT, Wire } from './wire.ts';
import { type Expected, passes, refused, runCase, type WireCase } from './wire_case.ts';

const GET_LINE = `GET ${PROJECT}`;
const POST_LINE = `POST ${BUILDS}`;
const UNAUTHENTICATED = refused(401, 'request.credentials_missing');
const HELLO = 'Content-Length: 5\r\n';

/** One message, one answer. */
const one = (name: string, send: WireCase['send'], answer: Expected, closes = true): WireCase => ({
  name,
  send,
  answers: [answer],
  closes,
});
const malformed = refused(400, 'request.malformed');

const versions: WireCase[] = [
  one('RFC 9112 §9.3: HTTP/1.0 is answered and closed', version(get(), 'HTTP/1.0'), passes(GET_LINE)),
  one('RFC 9112 §9.3: HTTP/1.0 with a body', version(post(HELLO, 'hello'), 'HTTP/1.0'), passes(POST_LINE, 'hello')),
  one(
    'RFC 9112 §9.3: HTTP/1.0 that asks to be kept',
    version(get('Connection: keep-alive\r\n'), 'HTTP/1.0'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9112 §6.1: HTTP/1.0 with Transfer-Encoding',
    version(chunked('0\r\n\r\n'), 'HTTP/1.0'),
    refused(400, 'request.framing'),
  ),
  one(
    'RFC 9112 §3.2: HTTP/1.0 without Host',
    version(get().replace('Host: {host}\r\n', ''), 'HTTP/1.0'),
    refused(400, 'request.host_malformed'),
  ),
  one(
    'RFC 9112 §9.6: HTTP/1.0 and bytes after the body',
    version(post(HELLO, `hello${ANONYMOUS}`), 'HTTP/1.0'),
    passes(POST_LINE, 'hello'),
  ),
  one('RFC 9112 §9.6: Connection: close is honoured', get('Connection: close\r\n'), passes(GET_LINE)),
  one('RFC 9112 §9.6: Connection: Close, in a list', get('Connection: X-A, Close\r\n'), passes(GET_LINE)),
  one(
    'RFC 9112 §9.6: what follows Connection: close is not read',
    get('Connection: close\r\n') + get(),
    passes(GET_LINE),
  ),
  one(
    'RFC 9112 §9.6: garbage that follows Connection: close is not read',
    `${get('Connection: close\r\n')}\0\0\0`,
    passes(GET_LINE),
  ),
  one('HTTP/0.9', `GET ${PROJECT}\r\n\r\n`, refused(400, 'request.host_malformed')),
  one('HTTP/0.9 by name', version(get(), 'HTTP/0.9'), malformed),
  one('HTTP/1.2', version(get(), 'HTTP/1.2'), malformed),
  one('HTTP/2.0', version(get(), 'HTTP/2.0'), malformed),
  one('HTTP/3.0', version(get(), 'HTTP/3.0'), malformed),
  one('HTTP/1.10', version(get(), 'HTTP/1.10'), malformed),
  one('HTTP/01.1', version(get(), 'HTTP/01.1'), malformed),
  one('HTTP/1,1', version(get(), 'HTTP/1,1'), malformed),
  one('HTTP/+1.1', version(get(), 'HTTP/+1.1'), malformed),
  one('HTTP/1', version(get(), 'HTTP/1'), malformed),
  one('http/1.1', version(get(), 'http/1.1'), malformed),
  one('HTTPS/1.1', version(get(), 'HTTPS/1.1'), malformed),
  one('ICY', version(get(), 'ICY'), malformed),
  one('a version after a tab', get().replace(' HTTP', '\tHTTP'), refused(400, 'request.target_ambiguous')),
  one('a word after the version', version(get(), 'HTTP/1.1 x'), malformed),
  one('a blank before the method', ` ${get()}`, malformed),
  one('a tab after the method', get().replace(' ', '\t'), malformed),
  one('an empty request line with a blank', ` \r\n${get()}`, malformed),
  one('RFC 9113 §3.4: the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', malformed),
  one('a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', malformed),
  one('an SSH banner', 'SSH-2.0-OpenSSH_9.9\r\n', malformed),
  one('NULs', '\0'.repeat(100), malformed),
  one('a status line', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', malformed),
  one('a method of 100 letters', `${'A'.repeat(100)} / HTTP/1.1\r\nHost: {host}\r\n\r\n`, malformed),
  one('20 kB of one letter', 'A'.repeat(20_000), malformed),
];

const head: WireCase[] = [
  one('RFC 9110 §9.3.2: HEAD passes', get().replaceAll('GET', 'HEAD'), passes(`HEAD ${PROJECT}`), false),
  one(
    'RFC 9110 §9.3.2: a refusal of HEAD has the fields of GET and no body',
    ANONYMOUS.replace('GET', 'HEAD'),
    { ...UNAUTHENTICATED, method: 'HEAD' },
    false,
  ),
  one(
    'RFC 9110 §9.3.2: HEAD of no route',
    ANONYMOUS.replace(GET_LINE, 'HEAD /none'),
    { ...refused(404, 'request.route_unknown'), method: 'HEAD' },
    false,
  ),
  one(
    'RFC 9110 §9.3.2: HEAD whose framing is in doubt',
    ANONYMOUS.replace('GET', 'HEAD').replace('\r\n\r\n', '\r\nContent-Length: 05\r\n\r\nhello'),
    { ...refused(400, 'request.framing'), method: 'HEAD' },
  ),
  {
    name: 'RFC 9110 §9.3.2: HEAD and GET behind each other',
    send: get().replaceAll('GET', 'HEAD') + get(),
    answers: [passes(`HEAD ${PROJECT}`), passes(GET_LINE)],
    closes: false,
  },
];

const EXPECT = 'Expect: 100-continue\r\n';

const expectations: WireCase[] = [
  {
    ...one(
      'RFC 9110 §10.1.1: 100 comes once the request is allowed',
      [post(EXPECT + HELLO), 'hello'],
      passes(POST_LINE, 'hello'),
      false,
    ),
    interim: [100],
  },
  {
    ...one(
      'RFC 9110 §10.1.1: chunked',
      [chunked('', EXPECT), '5\r\nhello\r\n0\r\n\r\n'],
      passes(POST_LINE, 'hello'),
      false,
    ),
    interim: [100],
  },
  {
    ...one(
      'RFC 9110 §10.1.1: in any case',
      [post(`EXPECT: 100-Continue\r\n${HELLO}`), 'hello'],
      passes(POST_LINE, 'hello'),
      false,
    ),
    interim: [100],
  },
  {
    ...one(
      'RFC 9110 §10.1.1: a caller that does not wait',
      post(EXPECT + HELLO, 'hello'),
      passes(POST_LINE, 'hello'),
      false,
    ),
    interim: [100],
  },
  one(
    'RFC 9110 §10.1.1: a refusal comes without 100, and closes',
    ANONYMOUS.replace(GET_LINE, POST_LINE).replace('\r\n\r\n', `\r\n${EXPECT}${HELLO}\r\n`),
    UNAUTHENTICATED,
  ),
  one(
    'RFC 9110 §10.1.1: a refusal while the body comes all the same',
    ANONYMOUS.replace(GET_LINE, POST_LINE).replace('\r\n\r\n', `\r\n${EXPECT}${HELLO}\r\nhello`),
    UNAUTHENTICATED,
  ),
  one(
    'RFC 9110 §10.1.1: no 100 for a body that is too large',
    post(`${EXPECT}Content-Length: 999999999\r\n`),
    refused(413, 'request.body_too_large'),
  ),
  one(
    'RFC 9110 §10.1.1: no 100 for what no route takes',
    ANONYMOUS.replace(GET_LINE, 'POST /none').replace('\r\n\r\n', `\r\n${EXPECT}${HELLO}\r\n`),
    refused(404, 'request.route_unknown'),
  ),
  one(
    'RFC 9110 §10.1.1: no 100 for framing in doubt',
    post(`${EXPECT}Content-Length: 05\r\n`),
    refused(400, 'request.framing'),
  ),
  one(
    'RFC 9110 §10.1.1: HTTP/1.0 has no expectations',
    version(post(EXPECT + HELLO, 'hello'), 'HTTP/1.0'),
    passes(POST_LINE, 'hello'),
  ),
  one(
    'RFC 9110 §10.1.1: another expectation',
    post(`Expect: 200-ok\r\n${HELLO}`, 'hello'),
    refused(417, 'request.expectation_unsupported'),
  ),
  one(
    'RFC 9110 §10.1.1: one of two expectations is unknown',
    post(`Expect: 100-continue, x\r\n${HELLO}`, 'hello'),
    refused(417, 'request.expectation_unsupported'),
  ),
  one(
    'RFC 9110 §10.1.1: twice',
    post(`${EXPECT}${EXPECT}${HELLO}`, 'hello'),
    refused(417, 'request.expectation_unsupported'),
  ),
  one('RFC 9110 §10.1.1: empty', post(`Expect:\r\n${HELLO}`, 'hello'), refused(417, 'request.expectation_unsupported')),
  one(
    'RFC 9110 §10.1.1: obfuscated',
    post(`Expect: y 100-continue\r\n${HELLO}`, 'hello'),
    refused(417, 'request.expectation_unsupported'),
  ),
  {
    name: 'RFC 9110 §10.1.1: the second of two requests',
    send: [get() + post(EXPECT + HELLO), 'hello'],
    answers: [passes(GET_LINE), passes(POST_LINE, 'hello')],
    closes: false,
    interim: [100],
  },
];

const WEBSOCKET = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';
const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\n${WEBSOCKET}`;
const NOT_ALLOWED = refused(403, 'request.upgrade_not_allowed');

/** On a route that does not allow upgrades. */
const upgrades: WireCase[] = [
  one('RFC 9110 §7.8: WebSocket where the route does not allow it', get(UPGRADE), NOT_ALLOWED),
  one('RFC 9110 §7.8: WebSocket in other letters', get(UPGRADE.replace('websocket', 'WebSocket')), NOT_ALLOWED),
  one(
    'RFC 9110 §7.8: WebSocket among other options',
    get(UPGRADE.replace('Upgrade', 'keep-alive, upgrade')),
    NOT_ALLOWED,
  ),
  one('RFC 9110 §7.8: frames sent ahead are not read as a request', get(UPGRADE) + get(), NOT_ALLOWED),
  one(
    'RFC 9110 §7.8: WebSocket without credentials',
    ANONYMOUS.replace('\r\n\r\n', `\r\n${UPGRADE}\r\n`),
    UNAUTHENTICATED,
  ),
  one(
    'RFC 9110 §7.8: WebSocket with a form and no credentials',
    ANONYMOUS.replace('\r\n\r\n', `\r\n${UPGRADE}Content-Type: application/x-www-form-urlencoded\r\n\r\n`),
    UNAUTHENTICATED,
  ),
  one(
    'RFC 9112 §6.3: WebSocket with a body',
    get(`${UPGRADE}${HELLO}`).concat('hello'),
    refused(400, 'request.framing'),
  ),
  one(
    'RFC 9112 §6.3: WebSocket with a chunked body',
    get(`${UPGRADE}Transfer-Encoding: chunked\r\n`).concat('0\r\n\r\n'),
    refused(400, 'request.framing'),
  ),
  one('RFC 9110 §7.8: HTTP/1.0 asks for nothing', version(get(UPGRADE), 'HTTP/1.0'), passes(GET_LINE)),
  one(
    'RFC 9110 §7.8: without Connection it is an ordinary request',
    get('Upgrade: websocket\r\n'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9110 §7.8: without Upgrade it is an ordinary request',
    get('Connection: Upgrade\r\n'),
    passes(GET_LINE),
    false,
  ),
  one('RFC 6455 §4.1: POST cannot switch', post(UPGRADE), passes(POST_LINE), false),
  one(
    'RFC 9113 §3.1: h2c never passes',
    get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'),
    passes(GET_LINE),
    false,
  ),
  one('RFC 9113 §3.1: h2c in other letters', get('Connection: upgrade\r\nUpgrade: H2C\r\n'), passes(GET_LINE), false),
  one('RFC 9110 §7.8: TLS never passes', get('Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n'), passes(GET_LINE), false),
  one(
    'RFC 9110 §7.8: a list of protocols',
    get('Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9110 §7.8: two Upgrade fields',
    get('Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9110 §7.8: a protocol with a version',
    get('Connection: Upgrade\r\nUpgrade: websocket/13\r\n'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9110 §7.8: an option that only contains the word',
    get('Connection: not-upgrade\r\nUpgrade: websocket\r\n'),
    passes(GET_LINE),
    false,
  ),
  one(
    'RFC 9110 §7.8: h2c with a body that holds a request',
    post(`Connection: Upgrade\r\nUpgrade: h2c\r\n${HELLO}`, 'hello'),
    passes(POST_LINE, 'hello'),
    false,
  ),
];

const METADATA = '/.well-known/oauth-protected-resource/projects';
const metadata = (fields = '', method = 'GET') => `${method} ${METADATA} HTTP/1.1\r\nHost: {host}\r\n${fields}\r\n`;

/** What the gateway answers itself is judged like everything else. */
const own: WireCase[] = [
  one(
    'RFC 9112 §6.3: metadata with framing in doubt',
    metadata('Content-Length: 05\r\n').concat('hello'),
    refused(400, 'request.framing'),
  ),
  one(
    'RFC 9112 §3.2: metadata without Host',
    metadata().replace('Host: {host}\r\n', ''),
    refused(400, 'request.host_malformed'),
  ),
  one(
    'RFC 9112 §3.2: metadata with two Hosts',
    metadata('Host: evil.example\r\n'),
    refused(400, 'request.host_malformed'),
  ),
  one(
    'RFC 6585 §5: metadata with too many fields',
    metadata('A:b\r\n'.repeat(200)),
    refused(431, 'request.too_many_headers'),
  ),
  one(
    'RFC 9728 §3: POST is no way to get metadata',
    metadata('', 'POST'),
    refused(404, 'request.route_unknown'),
    false,
  ),
  one(
    'RFC 9728 §3: metadata of no resource',
    metadata().replace('/projects', '/none'),
    refused(404, 'request.route_unknown'),
    false,
  ),
];

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());

describe.each([
  ['versions and what is not HTTP', versions],
  ['HEAD', head],
  ['Expect', expectations],
  ['Upgrade where the route does not allow it', upgrades],
  ["the gateway's own", own],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});

describe('protected resource metadata', () => {
  it('RFC 9728 §3.1: is answered without credentials, recorded, and nothing reaches the upstream', async () => {
    const mark = wire.upstreamMark();
    const connection = await wire.connect();
    connection.send(await wire.fill(metadata() + metadata('', 'HEAD') + get()));
    const { answers, rest } = await answersOn(connection, 3, ['GET', 'HEAD', 'GET']);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(rest).toBe('');
    expect(answers[1]?.headers['content-length']).toEqual([String(answers[0]?.body.length)]);
    const records = await wire.nextRecords(3);
    expect(records.map(({ outcome }) => outcome)).toEqual(['answered', 'answered', 'allowed']);
    expect(wire.upstreamSince(mark)).toHaveLength(1);
    wire.hangUp();
  });

  it('RFC 9112 §9.6: a body that nobody reads closes the connection, and is no request', async () => {
    const mark = wire.upstreamMark();
    const connection = await wire.connect();
    connection.send(await wire.fill(metadata('Content-Length: 5000\r\n') + get()));
    await eventually('the connection ends', () => connection.ended);
    const { answers, rest } = await answersOn(connection, 1);
    expect(answers.map(({ status, headers }) => [status, headers['connection']])).toEqual([[200, ['close']]]);
    expect(rest).toBe('');
    expect(await wire.nextRecords(1)).toMatchObject([{ outcome: 'answered', status: 200 }]);
    expect(wire.upstreamSince(mark)).toEqual([]);
    wire.hangUp();
  });
});

/** Switches when it is asked to, and then says back what it hears. */
const echo: UpstreamScript = async (connection) => {
  for (let n = 1; ; n++) {
    const request = await connection.request(n);
    if (valuesOf(request, 'upgrade')[0] !== 'websocket') {
      connection.send(OK);
      continue;
    }
    connection.send('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    connection.socket.on('data', (bytes: Buffer) => connection.send(bytes));
    return;
  }
};

describe('Upgrade where the route allows WebSocket', () => {
  let open: Wire;
  beforeAll(async () => {
    open = await Wire.start({ route: { websocket: true }, script: echo });
  });
  afterAll(() => open.close());
  afterEach(() => open.hangUp());

  it('RFC 6455 §4.1: switches, passes bytes both ways, and is recorded once when it ends', async () => {
    const mark = open.upstreamMark();
    const connection = await open.connect();
    connection.send(await open.fill(get(`${UPGRADE}Sallyport-Subject: ${FORGED}\r\nCookie: ${FORGED}\r\n`)));
    await connection.until('\r\n\r\n');
    expect(connection.received).toMatch(/^HTTP\/1\.1 101 /);
    connection.send('ping\0\xff');
    await connection.until('ping\0\xff');
    connection.end();
    await eventually('the connection ends', () => connection.ended);
    expect(await open.nextRecords(1)).toMatchObject([{ status: 101, outcome: 'allowed', reason: null }]);
    const bytes = open.upstreamSince(mark);
    expect(bytes).toHaveLength(1);
    open.expectNoSecret('the upstream', bytes[0] as string);
    expect(bytes[0]).toContain('\r\nSallyport-Subject: wf-4711\r\n');
    expect(bytes[0]?.match(/HTTP\/1\.1\r\n/g)).toHaveLength(1);
  });

  it('RFC 6455 §4.1: bytes that come with the request are frames, not a request', async () => {
    const mark = open.upstreamMark();
    const connection = await open.connect();
    connection.send((await open.fill(get(UPGRADE))) + ANONYMOUS);
    await connection.until(ANONYMOUS);
    connection.reset();
    expect(await open.nextRecords(1)).toMatchObject([{ status: 101 }]);
    expect(open.upstreamSince(mark).join('').endsWith(`\r\n\r\n${ANONYMOUS}`)).toBe(true);
  });

  it('RFC 9112 §9.3.2: a switch behind a request waits until that is answered', async () => {
    const connection = await open.connect();
    connection.send(await open.fill(get() + get(UPGRADE)));
    await connection.until('101 Switching');
    expect(connection.received.indexOf('HTTP/1.1 200 OK')).toBe(0);
    connection.send('ping');
    await connection.until('ping');
    connection.end();
    expect(await open.nextRecords(2)).toMatchObject([{ status: 200 }, { status: 101 }]);
  });

  const refusals: [name: string, send: string, answer: Expected][] = [
    ['without credentials', ANONYMOUS.replace('\r\n\r\n', `\r\n${UPGRADE}\r\n`), UNAUTHENTICATED],
    [
      'without a proof',
      get(UPGRADE).replace(/\{auth [^}]+\}/, 'Authorization: DPoP {token}\r\n'),
      refused(401, 'proof.missing'),
    ],
    [
      'for what the token does not cover',
      get(UPGRADE, '/v1/projects/p2'),
      refused(403, 'policy.insufficient_authorization_details'),
    ],
    ['with a body', get(`${UPGRADE}${HELLO}`).concat('hello'), refused(400, 'request.framing')],
    ['as CONNECT', 'CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n', refused(405, 'request.method_not_allowed')],
  ];
  it.each(refusals)('a switch %s is refused and closes', (name, send, answer) =>
    runCase(open, one(name, send, answer)),
  );

  const ordinary: [name: string, send: string, closes: boolean][] = [
    ['h2c', get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'), false],
    ['WebSocket and h2c', get('Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n'), false],
    ['HTTP/1.0', version(get(UPGRADE), 'HTTP/1.0'), true],
    ['no Connection', get('Upgrade: websocket\r\n'), false],
  ];
  it.each(ordinary)('RFC 9110 §7.8: %s is an ordinary request', (name, send, closes) =>
    runCase(open, one(name, send, passes(GET_LINE), closes)),
  );
});
