import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readRequests } from '../support/read_requests.ts';
import { OK, type UpstreamConnection, type UpstreamScript } from '../support/recording_upstream.ts';
import { get, version } from './messages.ts';
import { answersOn, BUILDS, eventually, FORGED, PROJECT, Wire } from './wire.ts';

/** What an upstream does with one request. */
type Behaviour = string | ((connection: UpstreamConnection) => void | Promise<void>);

/** A misbehaving upstream, and what must come of it. */
interface UpstreamCase {
  readonly name: string;
  readonly does: Behaviour;
  /** Status that the caller sees; null: what was sent is no whole answer, and the connection is over. */
  readonly status: number | null;
  readonly reason: string | null;
  readonly body?: string;
  readonly method?: 'HEAD';
  /** What the answer must, or (null) must not carry. */
  readonly headers?: Readonly<Record<string, readonly string[] | null>>;
}

const ended =
  (bytes: string): Behaviour =>
  (connection) => {
    connection.send(bytes);
    connection.end();
  };
const reset =
  (bytes: string): Behaviour =>
  async (connection) => {
    connection.send(bytes);
    await sleep(50);
    connection.reset();
  };
const LONG = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const field = (line: string) => `HTTP/1.1 200 OK\r\n${line}\r\nContent-Length: 2\r\n\r\nok`;

const invalid = (name: string, does: Behaviour): UpstreamCase => ({
  name,
  does,
  status: 502,
  reason: 'forward.upstream_invalid',
});
const broken = (name: string, does: Behaviour): UpstreamCase => ({
  name,
  does,
  status: 502,
  reason: 'forward.upstream_broken',
});
/** The answer has begun when it turns out that it cannot be passed on. */
const truncated = (name: string, does: Behaviour, reason: string): UpstreamCase => ({
  name,
  does,
  status: null,
  reason,
});
const answered = (name: string, does: Behaviour, more: Partial<UpstreamCase> = {}): UpstreamCase => ({
  name,
  does,
  status: 200,
  reason: null,
  body: 'ok',
  ...more,
});

const notHttp: UpstreamCase[] = [
  broken('closes without a byte', (connection) => connection.end()),
  broken('resets without a byte', (connection) => connection.reset()),
  broken('closes within the status line', ended('HTTP/1.1 20')),
  broken('closes within the header section', ended('HTTP/1.1 200 OK\r\nX-A: b\r\n')),
  invalid('says something that is not HTTP', 'hello\r\n\r\n'),
  invalid('says HTTP/2', '\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64'),
  invalid('says a version of its own', 'HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  invalid('sends a request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  invalid('status 0', 'HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n'),
  invalid('status 99', 'HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n'),
  invalid('status 600', 'HTTP/1.1 600 None\r\nContent-Length: 0\r\n\r\n'),
  invalid('status 999', 'HTTP/1.1 999 None\r\nContent-Length: 0\r\n\r\n'),
  invalid('a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n'),
  invalid('a status of letters', 'HTTP/1.1 two OK\r\nContent-Length: 0\r\n\r\n'),
];

const framing: UpstreamCase[] = [
  invalid(
    'RFC 9112 §6.1: Content-Length beside Transfer-Encoding',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ),
  invalid('RFC 9112 §6.3: two Content-Lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nok'),
  invalid('RFC 9112 §6.3: a negative Content-Length', field('Content-Length: -1')),
  invalid('RFC 9112 §6.3: a list of Content-Lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok'),
  invalid(
    'RFC 9112 §6.1: a transfer coding that nobody asked for',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  ),
  invalid(
    'RFC 9112 §6.1: a transfer coding that is not chunked',
    ended('HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok'),
  ),
  truncated('RFC 9112 §8: closes within Content-Length', ended(LONG), 'forward.upstream_broken'),
  truncated('RFC 9112 §8: resets within Content-Length', reset(LONG), 'forward.upstream_broken'),
  truncated('RFC 9112 §8: closes within a chunk', ended(`${CHUNKED}5\r\nhal`), 'forward.upstream_broken'),
  truncated('RFC 9112 §8: closes before the last chunk', ended(`${CHUNKED}5\r\nhello\r\n`), 'forward.upstream_broken'),
  truncated('RFC 9112 §8: resets before the last chunk', reset(`${CHUNKED}5\r\nhello\r\n`), 'forward.upstream_broken'),
  truncated(
    'RFC 9112 §6.3: resets a body that lasts until the end',
    reset('HTTP/1.1 200 OK\r\n\r\nhalf'),
    'forward.upstream_broken',
  ),
  truncated('RFC 9112 §7.1: a chunk size that is none', `${CHUNKED}5\r\nhello\r\nzz\r\n`, 'forward.upstream_invalid'),
  truncated(
    'RFC 9112 §7.1: more data than the chunk size says',
    `${CHUNKED}5\r\nhello world\r\n0\r\n\r\n`,
    'forward.upstream_invalid',
  ),
  answered('RFC 9112 §6.3: a body that lasts until the connection closes', ended('HTTP/1.1 200 OK\r\n\r\nok')),
  answered('RFC 9112 §7.1: chunked', `${CHUNKED}2\r\nok\r\n0\r\n\r\n`),
  answered('RFC 9112 §7.1.2: trailers do not pass', `${CHUNKED}2\r\nok\r\n0\r\nX-Trailer: ${FORGED}\r\n\r\n`, {
    headers: { 'x-trailer': null },
  }),
  answered('RFC 9112 §2.3: HTTP/1.0', ended('HTTP/1.0 200 OK\r\n\r\nok')),
];

const fields: UpstreamCase[] = [
  invalid('RFC 9110 §5.5: a bare LF that starts another field', field(`X-A: b\nSet-Cookie: ${FORGED}`)),
  invalid('RFC 9110 §5.5: a bare CR that starts another field', field(`X-A: b\rSet-Cookie: ${FORGED}`)),
  invalid('RFC 9110 §5.5: a NUL within a value', field('X-A: a\0b')),
  invalid('RFC 9112 §5.2: a folded value', field('X-A: a\r\n b')),
  invalid('RFC 9110 §5.1: a blank within a name', field('X A: b')),
  invalid('RFC 9112 §5.1: a blank before the colon', field('X-A : b')),
  invalid('RFC 9112 §5.1: no colon', field('X-A')),
  invalid('RFC 9110 §5.4: a header section of 100 kB', field(`X-A: ${'a'.repeat(100_000)}`)),
  answered(
    'RFC 9110 §7.6.1: hop-by-hop fields do not pass',
    field(`Keep-Alive: timeout=9\r\nProxy-Authenticate: ${FORGED}\r\nUpgrade: h2c`),
    {
      headers: { 'proxy-authenticate': null, upgrade: null },
    },
  ),
  answered('RFC 9110 §7.6.1: what Connection names does not pass', field(`Connection: X-Hop\r\nX-Hop: ${FORGED}`), {
    headers: { 'x-hop': null },
  }),
  answered('RFC 9110 §7.6.1: Connection cannot name the framing', field('Connection: Content-Length'), {
    headers: { 'content-length': ['2'] },
  }),
  answered('RFC 9449 §8.2: the nonce of the upstream does not pass', field(`DPoP-Nonce: ${FORGED}`), {
    headers: { 'dpop-nonce': null },
  }),
  answered('RFC 9110 §11.6.1: a challenge of the upstream does not pass', field(`WWW-Authenticate: ${FORGED}`), {
    headers: { 'www-authenticate': null },
  }),
  answered('RFC 7838 §2: Alt-Svc does not pass', field(`Alt-Svc: h2="${FORGED}"`), { headers: { 'alt-svc': null } }),
  answered('a decision of its own does not pass', field(`Sallyport-Decision-Id: ${FORGED}`)),
  answered('RFC 6265 §3: Set-Cookie passes as often as it stands', field('Set-Cookie: a=1\r\nSet-Cookie: b=2'), {
    headers: { 'set-cookie': ['a=1', 'b=2'] },
  }),
  answered('names of object members are ordinary names', field('__proto__: a\r\nconstructor: b'), {
    headers: { constructor: ['b'] },
  }),
];

const interim: UpstreamCase[] = [
  answered(
    'RFC 9110 §15.2: interim answers are not passed on',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${OK}`,
  ),
  invalid(
    'RFC 9110 §15.2.2: 101 that nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  ),
  invalid(
    'RFC 9110 §15.2.2: 101 to h2c',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
  ),
  invalid('RFC 9110 §15.2: interim answers without end', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100)),
];

/** Bytes that belong to no request must never become the answer to the next one: a connection that had them is not used again. */
const surplus: UpstreamCase[] = [
  answered('a second answer', `${OK}HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned`),
  answered('bytes past Content-Length', `${OK}poisoned`),
  answered('a body in the answer to HEAD', OK, { method: 'HEAD', body: '' }),
  answered('a body after 204', 'HTTP/1.1 204 No Content\r\n\r\npoisoned', { status: 204, body: '' }),
  answered('a length and a body after 204', 'HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\npoisoned', {
    status: 204,
    body: '',
  }),
  answered('a body after 304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\npoisoned', {
    status: 304,
    body: '',
  }),
  answered('a second answer, a moment later', async (connection) => {
    connection.send(OK);
    await sleep(5);
    connection.send('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned');
  }),
];

const slow: UpstreamCase[] = [
  { name: 'never answers', does: () => undefined, status: 504, reason: 'forward.upstream_timeout' },
  {
    name: 'stops within the header section',
    does: 'HTTP/1.1 200 OK\r\nX-A: b\r\n',
    status: 504,
    reason: 'forward.upstream_timeout',
  },
  {
    name: 'sends an interim answer and no other',
    does: 'HTTP/1.1 102 Processing\r\n\r\n',
    status: 504,
    reason: 'forward.upstream_timeout',
  },
  truncated('stops within the body', LONG, 'forward.upstream_timeout'),
  truncated('stops before the last chunk', `${CHUNKED}5\r\nhello\r\n`, 'forward.upstream_timeout'),
];

const CASES = [...notHttp, ...framing, ...fields, ...interim, ...surplus, ...slow];
const targetOf = (each: UpstreamCase) => `${BUILDS}/case-${CASES.indexOf(each)}`;

const script: UpstreamScript = async (connection) => {
  for (let n = 1; ; n++) {
    const { target } = await connection.request(n);
    const does = CASES[Number(/case-(\d+)$/.exec(target)?.[1] ?? -1)]?.does ?? OK;
    if (typeof does === 'string') connection.send(does);
    else await does(connection);
  }
};

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ script, route: { upstream: { timeout_ms: 400 } } });
});
afterAll(() => wire.close());
afterEach(() => wire.hangUp());

async function run(each: UpstreamCase): Promise<void> {
  await wire.settleAfterFailure();
  const method = each.method ?? 'GET';
  const mark = wire.upstreamMark();
  const connection = await wire.connect();
  connection.send(await wire.fill(get('', targetOf(each)).replaceAll('GET', method)));
  const { answers, rest } = await answersOn(connection, 1, [method]);
  const [answer] = answers;
  if (each.status === null) {
    expect(answer?.complete).toBe(false);
    await eventually('the connection is cut', () => connection.ended || connection.socket.closed);
  } else {
    expect(answers).toMatchObject([{ status: each.status, complete: true }]);
    expect(rest).toBe('');
    wire.expectNoSecret('the answer', `${answer?.head}${answer?.body}`);
    if (each.reason !== null) expect(JSON.parse(answer?.body ?? '')).toMatchObject({ reason: each.reason });
    else expect(answer?.body).toBe(each.body);
  }
  for (const [name, values] of Object.entries(each.headers ?? {}))
    expect(answer?.headers[name]).toEqual(values ?? undefined);

  if (surplus.includes(each)) {
    const used = () => wire.upstream.connections.find(({ received }) => received.includes(`${targetOf(each)} `));
    await eventually(
      'the connection to the upstream is given up',
      () => used()?.ended === true || used()?.socket.closed === true,
    );
  }
  const clean = await wire.connect();
  clean.send(await wire.fill(get()));
  expect((await answersOn(clean, 1)).answers).toMatchObject([{ status: 200, body: 'ok', complete: true }]);
  const records = await wire.nextRecords(2);
  const { status, reason } = each;
  const outcome = reason === null ? 'allowed' : 'failed';
  expect(records).toMatchObject([
    { status: status ?? 200, reason, outcome },
    { status: 200, reason: null },
  ]);
  expect(records[0]?.upstream?.complete ?? false).toBe(reason === null);
  const requests = wire.upstreamSince(mark).flatMap(readRequests);
  expect(requests.map((request) => `${request.method} ${request.target}`)).toEqual([
    `${method} ${targetOf(each)}`,
    `GET ${PROJECT}`,
  ]);
  wire.settled = true;
}

describe.each([
  ['that does not speak HTTP', notHttp],
  ['whose framing is in doubt', framing],
  ['and its header fields', fields],
  ['that answers in several steps', interim],
  ['that says more than was asked', surplus],
  ['that is slow', slow],
])('an upstream %s', (_family, cases) => {
  it.each(cases)('$name', run);
});

describe('an upstream that answers before it has the request', () => {
  it('RFC 9112 §9.3: the answer is passed on, the rest of the body is no request, and the connection can be used again', async () => {
    const early: UpstreamScript = async (connection) => {
      await connection.until('\r\n\r\n');
      const small = connection.received.startsWith('GET ');
      connection.send(
        small ? OK : 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno',
      );
    };
    const other = await Wire.start({ script: early });
    const connection = await other.connect();
    const body = 'GET /smuggled HTTP/1.1\r\n\r\n';
    connection.send(
      await other.fill(
        `POST ${BUILDS} HTTP/1.1\r\nHost: {host}\r\n{auth POST ${BUILDS}}Content-Length: ${body.length + 1}\r\n\r\nx`,
      ),
    );
    expect((await answersOn(connection, 1)).answers).toMatchObject([{ status: 413, body: 'no' }]);
    connection.send(body + (await other.fill(get())));
    const { answers, rest } = await answersOn(connection, 2);
    expect(answers).toMatchObject([{ status: 413 }, { status: 200, body: 'ok' }]);
    expect(rest).toBe('');
    expect(await other.nextRecords(2)).toMatchObject([{ status: 413, reason: null }, { status: 200 }]);
    expect(other.upstream.received).not.toContain('smuggled');
    await other.close();
  });
});

describe('an answer for HTTP/1.0', () => {
  const behaviour = (name: string) => targetOf(CASES.find((each) => each.name === name) as UpstreamCase);

  it('RFC 9112 §6.1: is not chunked, and lasts until the connection ends', async () => {
    const connection = await wire.connect();
    connection.send(
      await wire.fill(version(get('Connection: keep-alive\r\n', behaviour('RFC 9112 §7.1: chunked')), 'HTTP/1.0')),
    );
    await eventually('the connection ends', () => connection.ended);
    const { answers } = await answersOn(connection, 1);
    expect(answers).toMatchObject([{ status: 200, body: 'ok' }]);
    expect(answers[0]?.headers['transfer-encoding']).toBeUndefined();
    expect(await wire.nextRecords(1)).toMatchObject([{ status: 200, reason: null }]);
  });

  it('RFC 9112 §8: one that was cut ends with a reset, since a mere end would be its end', async () => {
    const connection = await wire.connect();
    connection.send(
      await wire.fill(version(get('', behaviour('RFC 9112 §8: closes before the last chunk')), 'HTTP/1.0')),
    );
    await eventually('the connection is over', () => connection.socket.closed);
    expect(connection.wasReset).toBe(true);
    expect(await wire.nextRecords(1)).toMatchObject([{ reason: 'forward.upstream_broken' }]);
  });
});

describe('an upstream that is not there', () => {
  it('forward.upstream_unreachable: 502, recorded, and nothing of the token in the answer', async () => {
    const other = await Wire.start();
    await other.upstream.close();
    const connection = await other.connect();
    connection.send(await other.fill(get()));
    const { answers } = await answersOn(connection, 1);
    expect(answers).toMatchObject([{ status: 502, complete: true }]);
    other.expectNoSecret('the answer', answers[0]?.body ?? '');
    expect(await other.nextRecords(1)).toMatchObject([
      { status: 502, reason: 'forward.upstream_unreachable', outcome: 'failed' },
    ]);
    await other.close();
  });
});
