import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRequests } from '../support/read_requests.ts';
import { chunked, get, post } from './messages.ts';
import { BUILDS, FORGED, PROJECT, Wire } from './wire.ts';
import { cutOff, passes, refused, runCase, type WireCase } from './wire_case.ts';

/** What an attacker would like the upstream to take for a request of its own. It has no credentials, so it is refused where it is read. */
const SMUGGLED = `GET /v1/projects/p2 HTTP/1.1\r\nHost: {host}\r\nX-Forged: ${FORGED}\r\n\r\n`;
const GET_LINE = `GET ${PROJECT}`;
const POST_LINE = `POST ${BUILDS}`;
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const HELLO = '5\r\nhello\r\n';
const INNER = 'GET / HTTP/1.1\r\n\r\n';
const END = '0\r\n\r\n';

const passed = (name: string, send: WireCase['send'], body: string): WireCase => ({
  name,
  send,
  answers: [passes(POST_LINE, body)],
  closes: false,
});
const framing = (name: string, send: WireCase['send']): WireCase => ({
  name,
  send,
  answers: [refused(400, 'request.framing')],
  closes: true,
});
const closing = (name: string, send: WireCase['send'], answer: WireCase['answers'][number]): WireCase => ({
  name,
  send,
  answers: [answer],
  closes: true,
});

const good: WireCase[] = [
  passed('RFC 9112 §6.2: Content-Length', post('Content-Length: 5\r\n', 'hello'), 'hello'),
  passed('RFC 9112 §6.2: Content-Length: 0', post('Content-Length: 0\r\n'), ''),
  passed('RFC 9112 §6.3: neither Content-Length nor Transfer-Encoding is no body', post(''), ''),
  passed(
    'RFC 9110 §5.5: blanks around Content-Length do not count',
    post('Content-Length: \t5 \t\r\n', 'hello'),
    'hello',
  ),
  passed('RFC 9112 §7.1: chunked', chunked(HELLO + END), 'hello'),
  passed('RFC 9112 §7.1: several chunks', chunked(`${HELLO}1\r\n \r\n5\r\nworld\r\n${END}`), 'hello world'),
  passed('RFC 9112 §7.1: a chunked body without bytes', chunked(END), ''),
  passed(
    'RFC 9112 §7: the coding is compared without case',
    post('Transfer-Encoding: CHUNKED\r\n', HELLO + END),
    'hello',
  ),
  passed('RFC 9112 §7.1: the size may be upper case', chunked(`A\r\n0123456789\r\n${END}`), '0123456789'),
  passed('RFC 9112 §7.1: the size may have leading zeros', chunked(`0005\r\nhello\r\n000\r\n\r\n`), 'hello'),
  passed('RFC 9112 §7.1.1: chunk extensions end here', chunked(`5;a=${FORGED};b="c"\r\nhello\r\n0;d\r\n\r\n`), 'hello'),
  passed(
    'RFC 9110 §6.5.1: trailers end here, also those that name trusted fields',
    chunked(
      `${HELLO}0\r\nAuthorization: Bearer ${FORGED}\r\nSallyport-Subject: ${FORGED}\r\nX-Forwarded-For: ${FORGED}\r\nHost: ${FORGED}\r\n\r\n`,
      'Trailer: Sallyport-Subject, Authorization\r\n',
    ),
    'hello',
  ),
  passed('http-proxy issue 1721: a request within a body is a body', post('Content-Length: 18\r\n', INNER), INNER),
  passed('http-proxy issue 1721: a request within a chunk is a body', chunked(`12\r\n${INNER}\r\n${END}`), INNER),
  passed(
    'RFC 9112 §7.1.1: extensions of 20 kB over several chunks',
    chunked(`1;a=${'b'.repeat(1000)}\r\nh\r\n`.repeat(20) + END),
    'h'.repeat(20),
  ),
  passed('a body that comes byte by byte', [post('Content-Length: 5\r\n'), 'h', 'e', 'l', 'l', 'o'], 'hello'),
  passed(
    'chunk framing that comes byte by byte',
    [chunked(''), '5', '\r', '\n', 'he', 'llo', '\r', '\n', '0', '\r\n', '\r', '\n'],
    'hello',
  ),
  passed('a header section that comes in pieces', post('Content-Length: 5\r\n', 'hello').split(/(?=Content)/), 'hello'),
  {
    name: 'RFC 9112 §2.2: an empty line before the request line is skipped',
    send: `\r\n\r\n${get()}`,
    answers: [passes(GET_LINE)],
    closes: false,
  },
];

const lengthAndCoding: WireCase[] = [
  framing('CL.TE: Content-Length before Transfer-Encoding', post(`Content-Length: 5\r\n${CHUNKED}`, END + SMUGGLED)),
  framing(
    'TE.CL: Transfer-Encoding before Content-Length',
    post(`${CHUNKED}Content-Length: 4\r\n`, `2e\r\n${SMUGGLED}\r\n${END}`),
  ),
  framing('CL.TE where both agree', post(`Content-Length: ${HELLO.length + END.length}\r\n${CHUNKED}`, HELLO + END)),
  framing('CL.TE with Content-Length: 0', post(`Content-Length: 0\r\n${CHUNKED}`, HELLO + END)),
  framing('CL.TE on GET', get(`Content-Length: 5\r\n${CHUNKED}`) + END),
  framing(
    'an alias of Transfer-Encoding beside Content-Length',
    post('Content-Length: 5\r\nTransfer_Encoding: chunked\r\n', 'hello'),
  ),
  framing('an alias of Content-Length beside Transfer-Encoding', post(`Content_Length: 5\r\n${CHUNKED}`, HELLO + END)),
  framing('CL.CL: two that differ', post('Content-Length: 5\r\nContent-Length: 0\r\n', 'hello')),
  framing('CL.CL: two that are equal', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')),
  framing('CL.CL: twice in other cases', post('Content-Length: 5\r\ncontent-length: 5\r\n', 'hello')),
];

const lengths: WireCase[] = [
  ['a list', '5, 5'],
  ['a plus sign', '+5'],
  ['a minus sign', '-5'],
  ['minus zero', '-0'],
  ['hexadecimal', '0x5'],
  ['octal, or decimal with a leading zero', '05'],
  ['two zeros', '00'],
  ['a fraction', '5.0'],
  ['an exponent', '5e0'],
  ['a quoted number', '"5"'],
  ['a number and a word', '5 bytes'],
  ['two numbers', '5 5'],
  ['a number and a semicolon', '5;'],
  ['an underscore', '1_0'],
  ['a vertical tab before', '\x0b5'],
  ['a vertical tab after', '5\x0b'],
  ['a form feed after', '5\x0c'],
  ['a no-break space', '\xa05'],
  ['no value', ''],
  ['a word', 'chunked'],
  ['more than 64 bits', '18446744073709551616'],
  ['64 bits that wrap to 5', '18446744073709551621'],
].map(([what, value]) =>
  framing(`RFC 9110 §8.6: Content-Length is ${what}`, post(`Content-Length: ${value}\r\n`, 'hello') + SMUGGLED),
);

const codings: WireCase[] = [
  ['unknown', 'Transfer-Encoding: xchunked'],
  ['chunked twice', 'Transfer-Encoding: chunked, chunked'],
  ['identity', 'Transfer-Encoding: identity'],
  ['chunked, then identity', 'Transfer-Encoding: chunked, identity'],
  ['identity, then chunked', 'Transfer-Encoding: identity, chunked'],
  ['gzip, then chunked', 'Transfer-Encoding: gzip, chunked'],
  ['an empty element, then chunked', 'Transfer-Encoding: ,chunked'],
  ['chunked, then an empty element', 'Transfer-Encoding: chunked,'],
  ['chunked with a parameter', 'Transfer-Encoding: chunked;q=1'],
  ['quoted', 'Transfer-Encoding: "chunked"'],
  ['in single quotes', "Transfer-Encoding: 'chunked'"],
  ['empty', 'Transfer-Encoding:'],
  ['a no-break space before', 'Transfer-Encoding: \xa0chunked'],
  ['on two lines', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked'],
  ['on two lines, the second not chunked', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow'],
  ['on two lines, the first not chunked', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked'],
  ['under an alias', 'Transfer_Encoding: chunked'],
].map(([what, field]) =>
  framing(`TE.TE, RFC 9112 §6.1: Transfer-Encoding ${what}`, post(`${field}\r\n`, END + SMUGGLED)),
);

const codingFields: WireCase[] = [
  ['a blank before the colon', 'Transfer-Encoding : chunked'],
  ['a tab before the colon', 'Transfer-Encoding\t: chunked'],
  ['a vertical tab before the value', 'Transfer-Encoding:\x0bchunked'],
  ['a NUL before the value', 'Transfer-Encoding:\0chunked'],
  ['a NUL in the name', 'Transfer\0-Encoding: chunked'],
  ['a folded value', 'Transfer-Encoding:\r\n chunked'],
  ['a value folded after a comma', 'Transfer-Encoding: identity,\r\n\tchunked'],
  ['a blank before the name', ' Transfer-Encoding: chunked'],
  ['no colon', 'Transfer-Encoding chunked'],
  ['a quote before the name', '"Transfer-Encoding": chunked'],
].map(([what, field]) =>
  closing(
    `TE.TE, RFC 9112 §5: Transfer-Encoding with ${what}`,
    post(`X-First: 1\r\n${field}\r\n`, END + SMUGGLED),
    refused(400, 'request.header_malformed'),
  ),
);

const lineEnds: WireCase[] = [
  closing(
    'RFC 9112 §2.2: a bare CR within a field that hides Transfer-Encoding',
    post('X-A: b\rTransfer-Encoding: chunked\r\n', END),
    refused(400, 'request.malformed'),
  ),
  closing(
    'RFC 9112 §2.2: a bare LF within a field that hides Transfer-Encoding',
    post('X-A: b\nTransfer-Encoding: chunked\r\n', END),
    refused(400, 'request.malformed'),
  ),
  closing('RFC 9112 §2.2: bare LF everywhere', get().replaceAll('\r\n', '\n'), refused(400, 'request.malformed')),
  closing(
    'RFC 9112 §2.2: bare LF after the request line',
    get().replace('\r\n', '\n'),
    refused(400, 'request.malformed'),
  ),
  closing(
    'RFC 9112 §2.2: the empty line is a bare LF',
    `${get().slice(0, -2)}\n`,
    refused(400, 'request.header_malformed'),
  ),
  closing(
    'RFC 9112 §2.2: the empty line is a bare CR',
    `${get().slice(0, -2)}\rX: y\r\n\r\n`,
    refused(400, 'request.malformed'),
  ),
];

/** Chunk framing that is broken. What came before may be on its way already: it has no end there. */
const chunkFraming: WireCase[] = [
  ['size with a prefix', 'request.framing', '0x5\r\nhello\r\n'],
  ['size after a blank', 'request.framing', ' 5\r\nhello\r\n'],
  ['size before a blank', 'request.framing', '5 \r\nhello\r\n'],
  ['size before a tab', 'request.framing', '5\t\r\nhello\r\n'],
  ['blank before the extension', 'request.framing', '5 ;a=b\r\nhello\r\n'],
  ['size with a plus sign', 'request.framing', '+5\r\nhello\r\n'],
  ['size with a minus sign', 'request.framing', '-5\r\nhello\r\n'],
  ['no size', 'request.framing', '\r\nhello\r\n'],
  ['a word for a size', 'request.framing', 'five\r\nhello\r\n'],
  ['size with an underscore', 'request.framing', '5_0\r\nhello\r\n'],
  ['size of 17 digits that wraps to 5', 'request.framing', '10000000000000005\r\nhello\r\n'],
  ['size of 18 digits', 'request.framing', 'ffffffffffffffffff\r\nhello\r\n'],
  ['size before a NUL', 'request.framing', '5\0\r\nhello\r\n'],
  ['an extension of 20 kB', 'request.framing', `5;a=${'b'.repeat(20_000)}\r\nhello\r\n`],
  ['bare LF after the size', 'request.malformed', '5\nhello\r\n'],
  ['bare CR after the size', 'request.malformed', '5\rhello\r\n'],
  ['bare LF after an extension', 'request.malformed', '5;a\nhello\r\n'],
  ['bare LF within a quoted extension', 'request.malformed', '5;a="\nX"\r\nhello\r\n'],
  ['CR LF within a quoted extension', 'request.malformed', '5;a="\r\nX"\r\nhello\r\n'],
  ['bare LF after the data', 'request.malformed', '5\r\nhello\n'],
  ['bare CR after the data', 'request.malformed', '5\r\nhello\r'],
  ['nothing after the data', 'request.malformed', '5\r\nhello'],
  ['more data than the size says', 'request.malformed', '5\r\nhello world\r\n'],
  ['bare LF after the last size', 'request.malformed', '5\r\nhello\r\n0\n\r\n'],
  ['bare LF for the end', 'request.header_malformed', '5\r\nhello\r\n0\r\n\n'],
  ['a request line where trailers are', 'request.header_malformed', '5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n'],
  ['a trailer without a colon', 'request.header_malformed', '5\r\nhello\r\n0\r\nX-Trailer\r\n\r\n'],
  ['a trailer with a blank in its name', 'request.header_malformed', '5\r\nhello\r\n0\r\nX Trailer: a\r\n\r\n'],
  ['a trailer that is Content-Length', 'request.framing', '5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n'],
  ['a trailer that is Transfer-Encoding', 'request.framing', '5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'],
].map(([what = '', reason = '', body = '']) => ({
  name: `RFC 9112 §7.1: ${what}`,
  send: chunked(`${body}${END}${SMUGGLED}`),
  answers: [cutOff(400, reason, POST_LINE, 'hello')],
  closes: true,
}));

const tooMuch: WireCase[] = [
  closing(
    'RFC 9112 §7.1.2: trailers of 20 kB',
    chunked(`${HELLO}0\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`),
    cutOff(431, 'request.headers_too_large', POST_LINE, 'hello'),
  ),
  closing(
    'RFC 9110 §15.5.14: Content-Length past the limit',
    post('Content-Length: 70000\r\n', 'a'.repeat(70_000)),
    refused(413, 'request.body_too_large'),
  ),
  closing(
    'RFC 9110 §15.5.14: Content-Length of 12 digits',
    post('Content-Length: 999999999999\r\n', 'hello'),
    refused(413, 'request.body_too_large'),
  ),
  closing(
    'RFC 9110 §15.5.14: a chunked body past the limit',
    chunked(`11170\r\n${'a'.repeat(70_000)}\r\n${END}`),
    cutOff(413, 'request.body_too_large', POST_LINE, 'a'.repeat(70_000)),
  ),
  closing(
    'RFC 9110 §15.5.14: many chunks past the limit',
    chunked(`400\r\n${'a'.repeat(1024)}\r\n`.repeat(70) + END),
    cutOff(413, 'request.body_too_large', POST_LINE, 'a'.repeat(70_000)),
  ),
];

/** The body is answered for, and what comes after it is a request of its own. */
const after: WireCase[] = [
  {
    name: 'RFC 9112 §9.3.2: garbage after the last chunk',
    send: chunked(`${HELLO}${END}X`.concat('YZ\r\n\r\n')),
    answers: [passes(POST_LINE, 'hello'), refused(400, 'request.malformed')],
    closes: true,
  },
  {
    name: 'CL.0: a request after Content-Length: 0 is judged like any other',
    send: post('Content-Length: 0\r\n', SMUGGLED),
    answers: [passes(POST_LINE), refused(401, 'request.credentials_missing')],
    closes: false,
  },
  {
    name: 'CL.0: bytes after a POST without a length are not its body',
    send: post('', SMUGGLED),
    answers: [passes(POST_LINE), refused(401, 'request.credentials_missing')],
    closes: false,
  },
  {
    name: 'RFC 9112 §6.3: bytes past Content-Length are judged like any request',
    send: post('Content-Length: 5\r\n', `hello${SMUGGLED}`),
    answers: [passes(POST_LINE, 'hello'), refused(401, 'request.credentials_missing')],
    closes: false,
  },
  {
    name: 'RFC 9112 §6.3: one byte too many',
    send: post('Content-Length: 4\r\n', 'hello\r\n\r\n'),
    answers: [passes(POST_LINE, 'hell'), refused(400, 'request.malformed')],
    closes: true,
  },
  {
    name: 'RFC 9112 §9.6: what follows a request whose framing is in doubt is not looked at, whatever credentials it has',
    send: post('Content-Length: 05\r\n', 'hello') + get(),
    answers: [refused(400, 'request.framing')],
    closes: true,
  },
];

/** The caller ends its side, or goes on with something else, before the body is there. */
const short: [name: string, template: string, body: string][] = [
  ['Content-Length, no byte', post('Content-Length: 5\r\n'), ''],
  ['Content-Length, one byte too few', post('Content-Length: 5\r\n', 'hell'), 'hell'],
  ['chunked, no byte', chunked(''), ''],
  ['chunked, within the size', chunked('5'), ''],
  ['chunked, within the data', chunked('5\r\nhel'), 'hel'],
  ['chunked, no last chunk', chunked(HELLO), 'hello'],
  ['chunked, no end of the trailers', chunked(`${HELLO}0\r\n`), 'hello'],
  ['chunked, a huge size', chunked(`7fffffffffffffff\r\nhello`), 'hello'],
];

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start({ config: { limits: { body_bytes: 65_536 } } });
});
afterAll(() => wire.close());

describe.each([
  ['bodies that have one length', good],
  ['Content-Length beside Transfer-Encoding', lengthAndCoding],
  ['Content-Length that can be read in two ways', lengths],
  ['Transfer-Encoding that can be read in two ways', codings],
  ['Transfer-Encoding in a field that can be read in two ways', codingFields],
  ['line ends', lineEnds],
  ['chunk framing', chunkFraming],
  ['more than the limits', tooMuch],
  ['what follows a body', after],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});

describe('a body that ends early', () => {
  it.each(short)(
    'RFC 9112 §8: %s: refused, and the upstream never sees the end of a request',
    async (name, template, body) => {
      const answers = [cutOff(400, 'request.body_unreadable', POST_LINE, body)];
      await runCase(wire, { name, send: template, answers, closes: true, end: true });
    },
  );

  it.each(short)('RFC 9112 §9.5: %s, and then a reset: recorded once', async (_name, template, body) => {
    const mark = wire.upstreamMark();
    const connection = await wire.connect();
    connection.send(await wire.fill(template));
    await sleep(50);
    connection.reset();
    const [record, ...others] = await wire.nextRecords(1);
    expect(record).toMatchObject({ reason: 'forward.client_closed', status: 499, outcome: 'failed' });
    expect(others).toEqual([]);
    const [request] = wire.upstreamSince(mark).flatMap(readRequests);
    expect(request?.complete ?? false).toBe(false);
    expect(body.startsWith(request?.body ?? '')).toBe(true);
  });
});

describe('a route whose policy sees the body', () => {
  let seeing: Wire;
  beforeAll(async () => {
    seeing = await Wire.start({
      route: { body: 'json', body_limit_bytes: 1024 },
      config: { limits: { body_bytes: 65_536, request_timeout_ms: 700 } },
    });
  });
  afterAll(() => seeing.close());

  const JSON_TYPE = 'Content-Type: application/json\r\n';
  const BODY = '{"a":1}';
  const LARGE = `"${'a'.repeat(2000)}"`;
  const sized = (body: string, more = '') => post(`${JSON_TYPE}Content-Length: ${body.length}\r\n${more}`, body);
  const pieces = (body: string, more = '') => chunked(body, JSON_TYPE + more);
  const cases: WireCase[] = [
    { name: 'Content-Length', send: sized(BODY), answers: [passes(POST_LINE, BODY)], closes: false },
    {
      name: 'chunked, in pieces',
      send: [pieces('3\r\n{"a\r\n'), '4\r\n":1}\r\n', END],
      answers: [passes(POST_LINE, BODY)],
      closes: false,
    },
    { name: 'no body at all', send: post(JSON_TYPE), answers: [passes(POST_LINE)], closes: false },
    { name: 'chunked without bytes', send: pieces(END), answers: [passes(POST_LINE)], closes: false },
    { name: 'not JSON, byte for byte', send: sized('{"a":'), answers: [passes(POST_LINE, '{"a":')], closes: false },
    {
      name: 'more than the policy sees, byte for byte',
      send: sized(LARGE),
      answers: [passes(POST_LINE, LARGE)],
      closes: false,
    },
    {
      name: 'more than the policy sees, chunked',
      send: pieces(`${LARGE.length.toString(16)}\r\n${LARGE}\r\n${END}`),
      answers: [passes(POST_LINE, LARGE)],
      closes: false,
    },
    {
      name: '100 comes once token and proof are good',
      send: [post(`${JSON_TYPE}Expect: 100-continue\r\nContent-Length: 7\r\n`), BODY],
      answers: [passes(POST_LINE, BODY)],
      closes: false,
      interim: [100],
    },
    {
      name: 'what follows the body is a request of its own',
      send: sized(BODY) + SMUGGLED,
      answers: [passes(POST_LINE, BODY), refused(401, 'request.credentials_missing')],
      closes: false,
    },
    {
      name: 'chunk framing that breaks: nothing is sent',
      send: [pieces('3\r\n{"a\r\n'), 'zz\r\n'],
      answers: [refused(400, 'request.framing')],
      closes: true,
    },
    {
      name: 'a body that ends early: nothing is sent',
      send: post(`${JSON_TYPE}Content-Length: 7\r\n`, '{"a"'),
      answers: [refused(400, 'request.body_unreadable')],
      closes: true,
      end: true,
    },
    {
      name: 'a body that does not come: nothing is sent',
      send: post(`${JSON_TYPE}Content-Length: 7\r\n`, '{"a"'),
      answers: [refused(408, 'request.timeout')],
      closes: true,
    },
    {
      name: 'Content-Type twice',
      send: post(`${JSON_TYPE}Content-Type: text/plain\r\nContent-Length: 7\r\n`, BODY),
      answers: [refused(400, 'request.header_repeated')],
      closes: true,
    },
  ];
  it.each(cases)('$name', (each) => runCase(seeing, each));
});
