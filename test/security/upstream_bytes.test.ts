import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compilePolicy } from '../support/compiled_policy.ts';
import { eventually } from '../support/eventually.ts';
import { Http2Front } from '../support/http2_front.ts';
import { OpenCall, PROTOCOLS, refusalOf } from '../support/open_call.ts';
import { OK } from '../support/recording_upstream.ts';

/**
 * Bytes of an upstream over HTTP/1.1 that can be read in two ways: passed on in one reading, or not at all; and never as the answer to
 * another request. One request there, one answer here, and a record that says the same.
 */

interface Case {
  readonly name: string;
  readonly bytes: string;
  /** Status and body that the caller sees; null: 502, or an answer that is cut. */
  readonly passes: readonly [status: number, body: string] | null;
  readonly method?: 'HEAD';
  /** Whether the upstream ends the connection afterwards. */
  readonly ends?: boolean;
}

const EVIL = 'evil';
/** What somebody else would get, were it taken for an answer. */
const POISON = `HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n${EVIL}`;
const refused = (name: string, bytes: string, more: Partial<Case> = {}): Case => ({
  name,
  bytes,
  passes: null,
  ...more,
});
const passed = (
  name: string,
  bytes: string,
  passes: readonly [number, string] = [200, 'ok'],
  more: Partial<Case> = {},
): Case => ({ name, bytes, passes, ...more });
const sized = (line: string) => `HTTP/1.1 200 OK\r\n${line}\r\n\r\nok`;
const chunks = (body: string, fields = '') => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${fields}\r\n${body}`;

const statusLines: Case[] = [
  refused('§4: two blanks', 'HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§4: a tab', 'HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§2.3: lower case', 'http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§2.3: HTTP/01.1', 'HTTP/01.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§2.3: HTTP/1.10', 'HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  passed('§2.3: HTTP/2.0 is read as what it is, HTTP/1.1', 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  passed('§2.3: HTTP/0.9 with a header section', 'HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§4: another protocol', 'ICY 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§4: a status with a sign', 'HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok'),
  refused('§4: a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok'),
  passed('§4: a NUL in the reason, which nobody gets to see', 'HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok'),
  refused('§2.2: a bare CR in the reason', `HTTP/1.1 200 OK\rSet-Cookie: ${EVIL}\r\nContent-Length: 2\r\n\r\nok`),
  refused('§2.2: the header section ends in bare LFs', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'),
  refused('§2.2: one line ends in a bare LF', 'HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 2\r\n\r\nok'),
];

const lengths: Case[] = [
  ...['+2', '-2', '0x2', '2.0', '2e0', ' ', '2 2', '2;2', '"2"', '\u0662', '99999999999999999999999'].map((value) =>
    refused(`§6.3: Content-Length: ${value}`, sized(`Content-Length: ${value}`)),
  ),
  refused('§6.3: two equal lengths', sized('Content-Length: 2\r\nContent-Length: 2')),
  refused('§6.3: two lengths, the first in other letters', sized('content-length: 5\r\nContent-Length: 2')),
  refused('§5.1: a blank before the colon', sized('Content-Length : 2')),
  refused('§5.2: a folded length', sized('Content-Length:\r\n 2')),
  refused(
    '§6.3: a length and a coding, in this order',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  ),
  refused(
    '§6.3: a length and a coding in other letters',
    `HTTP/1.1 200 OK\r\ncontent-length: 2\r\nTRANSFER-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  ),
  refused('§6.1: chunked twice', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`),
  refused(
    '§6.1: two fields',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  ),
  refused(
    '§6.1: chunked in front of another',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    { ends: true },
  ),
  refused(
    '§6.1: a coding that nobody knows',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    { ends: true },
  ),
  refused(
    '§6.1: a coding with a vertical tab',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    { ends: true },
  ),
  passed('§5.6.3: blanks around a length', sized('Content-Length:   2  ')),
  refused('§5.6.3: tabs around a length', sized('Content-Length: \t 2 \t')),
  passed('§6.1: chunked in other letters', `HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n`),
];

const chunkCases: Case[] = [
  passed('§7.1.1: an extension', chunks('2;a=b\r\nok\r\n0\r\n\r\n')),
  passed('§7.1: leading zeros', chunks('0002\r\nok\r\n0000\r\n\r\n')),
  ...['+2', '-2', '0x2', ' 2', '2x', '', 'fffffffffffffffff2'].map((size) =>
    refused(`§7.1: a size ${JSON.stringify(size)}`, chunks(`${size}\r\nok\r\n0\r\n\r\n`)),
  ),
  refused('§7.1: a bare LF after the size', chunks('2\nok\r\n0\r\n\r\n')),
  refused('§7.1: a bare LF after the data', chunks('2\r\nok\n0\r\n\r\n')),
  refused('§7.1: nothing after the data', chunks('2\r\nok0\r\n\r\n')),
  refused('§7.1.1: a line break in an extension', chunks(`2;a\nb\r\nok\r\n0\r\n\r\n`)),
  refused('§7.1.2: framing in trailers', chunks('2\r\nok\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n')),
];

const surplus: Case[] = [
  passed(
    '§6.3: an interim answer has no body, whatever its length says',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`,
  ),
  refused(
    '§6.3: an interim answer with a length and a body',
    `HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n${EVIL}${OK}`,
  ),
  passed('§6.3: a second answer to HEAD', `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${POISON}`, [200, ''], {
    method: 'HEAD',
  }),
  passed('§6.3: a chunked answer to HEAD', `${chunks('4\r\nevil\r\n0\r\n\r\n')}${POISON}`, [200, ''], {
    method: 'HEAD',
  }),
  passed(
    '§6.3: 204 with a coding',
    `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n${POISON}`,
    [204, ''],
  ),
  passed(
    '§6.3: 304 with a coding',
    `HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n${POISON}`,
    [304, ''],
  ),
  passed('§9.2: an answer after a whole one', `${OK}${POISON}`),
  passed('§9.2: answers after a chunked one', `${chunks('2\r\nok\r\n0\r\n\r\n')}${POISON}${POISON}`),
  passed('§9.2: a beginning of an answer after a whole one', `${OK}HTTP/1.1 200 OK\r\nContent-Le`),
  passed(
    'RFC 9110 §14.6: several ranges pass as they are',
    'HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 5\r\n\r\n--x--',
    [206, '--x--'],
  ),
];

const CASES = [...statusLines, ...lengths, ...chunkCases, ...surplus];
let front: Http2Front;
const open: OpenCall[] = [];
let count = 0;
beforeAll(async () => {
  front = await Http2Front.start({
    script: async (connection) => {
      for (let n = 1; ; n++) {
        const { target } = await connection.request(n);
        const each = CASES[Number(/case-(\d+)$/.exec(target)?.[1] ?? -1)];
        connection.send(each?.bytes ?? OK);
        if (each?.ends) connection.end();
      }
    },
    artifact: await compilePolicy('package sallyport\n\ndecision := {"allow": true}\n'),
    // One connection, so that what is left on it would meet the next request.
    upstreamOptions: { timeout_ms: 500, connections: 1 },
  });
});
afterAll(() => front.close());
afterEach(() => {
  for (const call of open.splice(0)) call.hangUp();
});

describe.each([
  ['the status line', statusLines],
  ['lengths and codings', lengths],
  ['chunks', chunkCases],
  ['more than an answer', surplus],
])('RFC 9112, %s', (_family, cases) => {
  describe.each(PROTOCOLS)('a caller that speaks %s', (protocol) => {
    it.each(cases)('$name', async (each) => {
      await front.skipRecords();
      const path = `/v1/${++count}/case-${CASES.indexOf(each)}`;
      const before = front.upstream.requests.length;
      const fields = each.name.includes('ranges') ? ([['range', 'bytes=0-1,3-4,5-']] as const) : [];
      const call = await OpenCall.open(front, protocol, { path, fields, ...(each.method && { method: each.method }) });
      open.push(call);
      await eventually('it is over', () => call.view().whole || call.view().cut);
      const view = call.view();
      const record = await front.nextRecord();
      expect(record).toMatchObject({ path });
      if (each.passes !== null) {
        expect(view).toMatchObject({ status: each.passes[0], body: each.passes[1], whole: true });
        expect(record).toMatchObject({ outcome: 'allowed', status: each.passes[0], upstream: { complete: true } });
      } else {
        expect(record['outcome']).toBe('failed');
        expect(record['reason']).toMatch(/^forward\.upstream_(?:invalid|broken|timeout)$/);
        if (view.whole) expect(refusalOf(view)).toBe(record['reason']);
        else expect(view).toMatchObject({ cut: true, whole: false });
      }
      expect(view.body).not.toContain(EVIL);
      // Whatever is left on the connection comes before the next request.
      await sleep(20);
      for (let n = 0; n < 2; n++) {
        const clean = await OpenCall.open(front, protocol, { path: `/v1/${count}/clean-${n}` });
        open.push(clean);
        await eventually('a clean request is answered', () => clean.view().whole || clean.view().cut);
        expect(clean.view()).toMatchObject({ status: 200, body: 'ok', whole: true });
        expect(await front.nextRecord()).toMatchObject({ outcome: 'allowed', status: 200 });
      }
      expect(front.upstream.requests.slice(before).map(({ target }) => target)).toEqual([
        path,
        `/v1/${count}/clean-0`,
        `/v1/${count}/clean-1`,
      ]);
      expect(await front.recordsLeft()).toBe(0);
    });
  });
});
