import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { answerOk, type FrameBehaviour, FrameUpstream } from '../support/frame_upstream.ts';
import { ERROR, FLAG, FRAME, frame, headerBlock, settings, uint32 } from '../support/http2_frames.ts';
import { Http2Front } from '../support/http2_front.ts';
import { OpenCall, PROTOCOLS, refusalOf } from '../support/open_call.ts';

/** An upstream over HTTP/2 that misbehaves, frame by frame: one request there, one answer or none here, and a record that says so. */

type Fields = readonly (readonly [string, string])[];
interface Case {
  readonly name: string;
  readonly does: FrameBehaviour;
  /** Status that the caller sees; null: it saw a beginning, and that it was cut. */
  readonly status: number | null;
  readonly reason: string | null | readonly string[];
  readonly body?: string;
  readonly method?: 'HEAD';
}

const answer =
  (...fields: Fields): FrameBehaviour =>
  (connection, stream) => {
    connection.headers(stream, fields);
    connection.data(stream, 'ok', FLAG.END_STREAM);
  };
const BAD = ['forward.upstream_invalid', 'forward.upstream_broken'];
const bad = (name: string, does: FrameBehaviour): Case => ({ name, does, status: 502, reason: BAD });
const cut = (name: string, does: FrameBehaviour): Case => ({ name, does, status: null, reason: BAD });
const fine = (name: string, does: FrameBehaviour, more: Partial<Case> = {}): Case => ({
  name,
  does,
  status: 200,
  reason: null,
  body: 'ok',
  ...more,
});
const many = (count: number, part: Buffer) => Buffer.concat(Array.from({ length: count }, () => part));

const status: Case[] = [
  bad('§8.3.2: no :status', answer(['x-a', '1'])),
  bad('§8.3.2: :status twice', answer([':status', '200'], [':status', '404'])),
  bad('§8.3: a pseudo-header field of requests', answer([':status', '200'], [':path', '/'])),
  bad('§8.3: :status after others', answer(['x-a', '1'], [':status', '200'])),
  bad('§8.3.2: a status of letters', answer([':status', 'two'])),
  bad('§8.3.2: a status of four digits', answer([':status', '2000'])),
  bad('RFC 9110 §15: status 600', answer([':status', '600'])),
  bad('RFC 9110 §15: status 99', answer([':status', '099'])),
  bad('§8.6: 101 that nobody can ask for', answer([':status', '101'])),
  bad('RFC 9110 §15.2: interim answers without end', (connection, stream) => {
    for (let n = 0; n < 100; n++) connection.headers(stream, [[':status', '103']]);
  }),
  bad('§8.1: an interim answer that ends the stream', (connection, stream) =>
    connection.headers(stream, [[':status', '103']], FLAG.END_STREAM),
  ),
];

const fields: Case[] = [
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map((name) =>
    bad(`§8.2.2: ${name}`, answer([':status', '200'], [name, name === 'transfer-encoding' ? 'chunked' : 'x'])),
  ),
  bad('§8.2.1: a name in upper case', answer([':status', '200'], ['X-Upper', '1'])),
  bad('§8.1.1: a length of letters', answer([':status', '200'], ['content-length', 'two'])),
  bad('§8.1.1: two lengths', answer([':status', '200'], ['content-length', '2'], ['content-length', '5'])),
  fine('§8.2.1: a value with a line break is left out', answer([':status', '200'], ['x-a', 'b\r\nset-cookie: evil=1'])),
  fine('§8.2.1: a value with a NUL is left out', answer([':status', '200'], ['x-a', 'a\0b'])),
  fine(
    'RFC 9449 §8.2: nonce and challenge do not pass',
    answer([':status', '200'], ['dpop-nonce', 'evil'], ['www-authenticate', 'evil'], ['alt-svc', 'evil']),
  ),
];

const framing: Case[] = [
  cut('§8.1.1: more than its length', (connection, stream) => {
    connection.headers(stream, [
      [':status', '200'],
      ['content-length', '1'],
    ]);
    connection.data(stream, 'okok', FLAG.END_STREAM);
  }),
  cut('§8.1.1: less than its length', (connection, stream) => {
    connection.headers(stream, [
      [':status', '200'],
      ['content-length', '9'],
    ]);
    connection.data(stream, 'ok', FLAG.END_STREAM);
  }),
  cut('§8.1: trailers that do not end the stream, and no end', (connection, stream) => {
    connection.headers(stream, [[':status', '200']]);
    connection.data(stream, 'ok');
    connection.headers(stream, [['x-t', '1']]);
  }),
  cut('§8.1: a second answer', (connection, stream) => {
    connection.headers(stream, [[':status', '200']]);
    connection.data(stream, 'ok');
    connection.headers(stream, [[':status', '404']], FLAG.END_STREAM);
  }),
  bad('§5.1: data before the answer', (connection, stream) => connection.data(stream, 'ok', FLAG.END_STREAM)),
  fine(
    '§8.1: a body in the answer to HEAD is none',
    (connection, stream) => {
      connection.headers(
        stream,
        [
          [':status', '200'],
          ['content-length', '2'],
        ],
        FLAG.END_STREAM,
      );
      connection.data(stream, 'evil', FLAG.END_STREAM);
    },
    { method: 'HEAD', body: '' },
  ),
  fine(
    'RFC 9110 §15.3.5: 204 without a body',
    (connection, stream) => connection.headers(stream, [[':status', '204']], FLAG.END_STREAM),
    { status: 204, body: '' },
  ),
  bad('§6.2: a header section that never ends', (connection, stream) => {
    connection.send(frame(FRAME.HEADERS, 0, stream, headerBlock([[':status', '200']])));
    for (let n = 0; n < 200; n++)
      connection.send(frame(FRAME.CONTINUATION, 0, stream, headerBlock([[`x-${n}`, 'y'.repeat(1000)]])));
  }),
  bad('§6.5.2: a header section of 200 kB', (connection, stream) => {
    connection.send(frame(FRAME.HEADERS, 0, stream, headerBlock([[':status', '200']])));
    for (let n = 0; n < 13; n++)
      connection.send(
        frame(
          FRAME.CONTINUATION,
          n === 12 ? FLAG.END_HEADERS : 0,
          stream,
          headerBlock([[`x-${n}`, 'y'.repeat(15_000)]]),
        ),
      );
    connection.data(stream, 'ok', FLAG.END_STREAM);
  }),
];

const connections: Case[] = [
  bad('§6.6: PUSH_PROMISE, which we do not take', (connection, stream) => {
    connection.send(
      frame(
        FRAME.PUSH_PROMISE,
        FLAG.END_HEADERS,
        stream,
        Buffer.concat([
          uint32(2),
          headerBlock([
            [':method', 'GET'],
            [':path', '/x'],
            [':scheme', 'http'],
            [':authority', 'x'],
          ]),
        ]),
      ),
    );
  }),
  bad('§6.4: reset with NO_ERROR', (connection, stream) =>
    connection.send(frame(FRAME.RST_STREAM, 0, stream, uint32(ERROR.NO_ERROR))),
  ),
  bad('§6.4: refused, and not sent again', (connection, stream) =>
    connection.send(frame(FRAME.RST_STREAM, 0, stream, uint32(ERROR.REFUSED_STREAM))),
  ),
  bad('§6.8: GOAWAY that did not take the request, and it is not sent again', (connection) =>
    connection.send(frame(FRAME.GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(ERROR.NO_ERROR)]))),
  ),
  bad('§4.1: a frame that is too large', (connection, stream) =>
    connection.send(frame(FRAME.DATA, 0, stream, Buffer.alloc(60_000))),
  ),
  bad('§4.2: SETTINGS of five bytes', (connection) => connection.send(frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(5)))),
  bad('RFC 7541: a block that cannot be decoded', (connection, stream) =>
    connection.send(frame(FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, stream, Buffer.alloc(20, 0xff))),
  ),
  bad('HTTP/1.1 instead', (connection) =>
    connection.send(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')),
  ),
  fine('§6.7: PING and SETTINGS before the answer', (connection, stream) => {
    connection.send(
      many(50, frame(FRAME.PING, 0, 0, Buffer.alloc(8))),
      many(50, frame(FRAME.SETTINGS, 0, 0, settings([4, 65_535]))),
    );
    answerOk(connection, stream);
  }),
  bad('§10.5: SETTINGS without end', (connection) => {
    for (let n = 0; n < 40; n++) connection.send(many(100, frame(FRAME.SETTINGS, 0, 0, settings([4, 65_535 + n]))));
  }),
  {
    name: '§10.5: PING without end, and no answer',
    does: (connection) => connection.send(many(3000, frame(FRAME.PING, 0, 0, Buffer.alloc(8)))),
    status: null,
    reason: [...BAD, 'forward.upstream_timeout'],
  },
  {
    name: '§10.5: empty frames without end',
    does: (connection, stream) => {
      connection.headers(stream, [[':status', '200']]);
      connection.send(many(3000, frame(FRAME.DATA, 0, stream)));
    },
    status: null,
    reason: [...BAD, 'forward.upstream_timeout'],
  },
];

let upstream: FrameUpstream;
let front: Http2Front;
const open: OpenCall[] = [];
beforeAll(async () => {
  upstream = await FrameUpstream.start();
  front = await Http2Front.start({
    upstream: upstream.origin,
    artifact: await compilePolicy('package sallyport\n\ndecision := {"allow": true}\n'),
    route: { upstream: { url: upstream.origin, protocol: 'http2', timeout_ms: 600, connect_timeout_ms: 2000 } },
  });
});
afterAll(async () => {
  await front.close();
  await upstream.close();
});
afterEach(() => {
  for (const call of open.splice(0)) call.hangUp();
  upstream.behaviour = answerOk;
});

describe.each([
  ['status and interim answers', status],
  ['header fields', fields],
  ['framing', framing],
  ['streams and connections', connections],
])('RFC 9113, %s', (_family, cases) => {
  describe.each(PROTOCOLS)('a caller that speaks %s', (protocol) => {
    it.each(cases)('$name', async ({ does, status: expected, reason, body, method }) => {
      await front.skipRecords();
      const before = upstream.requests;
      upstream.behaviour = does;
      const call = await OpenCall.open(front, protocol, { path: '/v1/case', ...(method && { method }) });
      open.push(call);
      await eventually('it is over', () => call.view().whole || call.view().cut);
      upstream.behaviour = answerOk;
      const view = call.view();
      const record = await front.nextRecord();
      if (reason === null) {
        expect(view).toMatchObject({ status: expected, body, whole: true });
        expect(record).toMatchObject({ outcome: 'allowed', status: expected, upstream: { complete: true } });
      } else {
        expect(reason).toContain(record['reason']);
        expect(record).toMatchObject({ outcome: 'failed' });
        if (view.whole) expect(refusalOf(view)).toBe(record['reason']);
        else expect(view.cut).toBe(true);
        if (expected !== null) expect(view).toMatchObject({ status: expected, whole: true });
      }
      expect(upstream.requests - before).toBe(1);
      const clean = await OpenCall.open(front, protocol, { path: '/v1/clean' });
      open.push(clean);
      await eventually('a clean request is answered', () => clean.view().whole || clean.view().cut);
      expect(clean.view()).toMatchObject({ status: 200, body: 'ok' });
      expect(upstream.requests - before).toBe(2);
      expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', status: 200 });
      expect(await front.recordsLeft()).toBe(0);
    });
  });
});
