import { afterAll, beforeAll, describe, it } from 'vitest';
import { ANONYMOUS, chunked, get, post } from './messages.ts';
import { BUILDS, COOKIE, FORGED, PROJECT, Wire } from './wire.ts';
import { passes, refused, runCase, type WireCase } from './wire_case.ts';

/** A GET with more header lines is let through; `forwards` says which fields must, or must not, arrive. */
const through = (name: string, fields: string, forwards: WireCase['forwards'] = {}): WireCase => ({
  name,
  send: get(fields, BUILDS),
  answers: [passes(`GET ${BUILDS}`)],
  closes: false,
  forwards,
});
const malformed = (name: string, fields: string): WireCase => ({
  name,
  send: get(fields),
  answers: [refused(400, 'request.header_malformed')],
  closes: true,
});
/** A GET whose Host line is replaced. */
const hosted = (name: string, lines: string, answer: WireCase['answers'][number], closes: boolean): WireCase => ({
  name,
  send: get().replace('Host: {host}\r\n', lines),
  answers: [answer],
  closes,
});

const ordinary: WireCase[] = [
  through('RFC 9110 §5.1: unknown fields pass as they are', 'X-Custom: a, b;c="d"\r\n', { 'x-custom': ['a, b;c="d"'] }),
  through('RFC 9110 §5.3: repeated fields keep their order', 'X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n', { 'x-a': ['1', '3'] }),
  through('RFC 9110 §14.2: Range passes', 'Range: bytes=0-9\r\nIf-Range: "e"\r\n', {
    range: ['bytes=0-9'],
    'if-range': ['"e"'],
  }),
  through('RFC 9110 §5.5: bytes above ASCII pass as they are', 'X-A: \xe4\xff\x80\r\n', { 'x-a': ['\xe4\xff\x80'] }),
  through('RFC 9110 §5.5: a tab within a value passes', 'X-A: a\tb\r\n', { 'x-a': ['a\tb'] }),
  through('RFC 9110 §5.5: blanks around a value do not count', 'X-A: \t a \t\r\n', { 'x-a': ['a'] }),
  through('RFC 9110 §5.5: an empty value passes', 'X-A:\r\n', { 'x-a': [''] }),
  through('RFC 9110 §5.1: every character of a token may stand in a name', "!#$%&'*+.^`|~: a\r\n", {
    "!#$%&'*+.^`|~": ['a'],
  }),
  through(
    'names of object members are ordinary names',
    '__proto__: a\r\nconstructor: b\r\ntoString: c\r\nhasOwnProperty: d\r\n',
    {
      constructor: ['b'],
      tostring: ['c'],
      hasownproperty: ['d'],
    },
  ),
  through('RFC 9110 §7.6.3: Via is appended to', 'Via: 1.1 before\r\n', { via: ['1.1 before', '1.1 sallyport'] }),
  through('a field of 8,000 bytes passes', `X-A: ${'a'.repeat(8000)}\r\n`, { 'x-a': ['a'.repeat(8000)] }),
  through('100 fields pass', 'X-A: b\r\n'.repeat(97), { 'x-a': Array(97).fill('b') }),
];

const hosts: WireCase[] = [
  hosted('RFC 9110 §4.2: without port', 'Host: 127.0.0.1\r\n', passes(`GET ${PROJECT}`), false),
  hosted('RFC 9110 §5.1: the name in any case', 'hOST: {host}\r\n', passes(`GET ${PROJECT}`), false),
  hosted('RFC 9112 §3.2: missing', '', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9112 §3.2: empty', 'Host:\r\n', refused(400, 'request.host_malformed'), true),
  hosted(
    'RFC 9112 §3.2: twice, equal',
    'Host: {host}\r\nHost: {host}\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted(
    'RFC 9112 §3.2: twice, ours first',
    'Host: {host}\r\nHost: evil.example\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted(
    'RFC 9112 §3.2: twice, ours last',
    'Host: evil.example\r\nHost: {host}\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted('RFC 9112 §3.2: a list', 'Host: {host}, evil.example\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9112 §3.2: two words', 'Host: {host} evil.example\r\n', refused(400, 'request.host_malformed'), true),
  hosted(
    'RFC 9110 §4.2.4: with user information',
    'Host: evil@{host}\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted(
    'RFC 9110 §4.2.4: as user information',
    'Host: {host}@evil.example\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted('RFC 9110 §7.2: with a path', 'Host: {host}/v1\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: with a fragment', 'Host: {host}#\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: with a scheme', 'Host: http://{host}\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: percent-encoded', 'Host: 127.0.0%2E1\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: an empty port', 'Host: 127.0.0.1:\r\n', refused(400, 'request.host_malformed'), true),
  hosted(
    'RFC 9110 §7.2: a port that is no number',
    'Host: 127.0.0.1:http\r\n',
    refused(400, 'request.host_malformed'),
    true,
  ),
  hosted('RFC 9110 §7.2: a port with a sign', 'Host: 127.0.0.1:+80\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: non-ASCII', 'Host: \xe4.example\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9110 §7.2: a trailing dot', 'Host: 127.0.0.1.\r\n', refused(400, 'request.host_malformed'), true),
  hosted('RFC 9112 §5.2: folded', 'Host:\r\n {host}\r\n', refused(400, 'request.header_malformed'), true),
  hosted('RFC 9110 §7.4: another host', 'Host: evil.example\r\n', refused(421, 'request.host_unknown'), false),
  hosted('RFC 9110 §7.4: another port', 'Host: 127.0.0.1:1\r\n', refused(421, 'request.host_unknown'), false),
  hosted(
    'RFC 9110 §7.4: a host that only resolves to ours',
    'Host: localhost\r\n',
    refused(421, 'request.host_unknown'),
    false,
  ),
  hosted(
    'RFC 9110 §7.4: our address in another notation',
    'Host: 2130706433\r\n',
    refused(421, 'request.host_unknown'),
    false,
  ),
  hosted(
    'RFC 9110 §7.4: our address in hexadecimal',
    'Host: 0x7f.0.0.1\r\n',
    refused(421, 'request.host_unknown'),
    false,
  ),
  hosted('RFC 9110 §7.4: an IPv6 address', 'Host: [::1]\r\n', refused(421, 'request.host_unknown'), false),
  through(
    'RFC 9110 §7.2: another host in other fields has no effect',
    `X-Forwarded-Host: ${FORGED}\r\nX-Host: ${FORGED}\r\n`,
  ),
];

const forms: WireCase[] = [
  malformed('RFC 9112 §5.2: obs-fold with a blank', 'X-A: b\r\n c\r\n'),
  malformed('RFC 9112 §5.2: obs-fold with a tab', 'X-A: b\r\n\tc\r\n'),
  malformed('RFC 9112 §5.2: obs-fold of an empty value', 'X-A:\r\n b\r\n'),
  malformed('RFC 9112 §5.2: obs-fold that hides a field', `X-A: b\r\n Sallyport-Subject: ${FORGED}\r\n`),
  malformed('RFC 9112 §5.1: a blank before the colon', 'X-A : b\r\n'),
  malformed('RFC 9112 §5.1: a blank within the name', 'X A: b\r\n'),
  malformed('RFC 9112 §5.1: no name', ': b\r\n'),
  malformed('RFC 9112 §5.1: no colon', 'X-A\r\n'),
  malformed('RFC 9110 §5.1: a NUL within the name', 'X\0A: b\r\n'),
  malformed('RFC 9110 §5.1: a slash within the name', 'X/A: b\r\n'),
  malformed('RFC 9110 §5.1: a bracket within the name', 'X[A]: b\r\n'),
  malformed('RFC 9110 §5.1: a byte above ASCII within the name', 'X\xe4: b\r\n'),
  malformed('RFC 9110 §5.5: a NUL within a value', 'X-A: a\0b\r\n'),
  malformed('RFC 9110 §5.5: a NUL within a credential', 'Authorization: DPoP a\0b\r\n'),
  malformed('RFC 9110 §5.5: a NUL within a proof', 'DPoP: a\0b\r\n'),
  malformed('RFC 9110 §5.5: an escape within a value', 'X-A: a\x1b[31mb\r\n'),
  malformed('RFC 9110 §5.5: a vertical tab within a value', 'X-A: a\x0bb\r\n'),
  malformed('RFC 9110 §5.5: DEL within a value', 'X-A: a\x7fb\r\n'),
  {
    name: 'RFC 9112 §2.2: white space before the first field',
    send: get().replace('Host', ' Host'),
    answers: [refused(400, 'request.header_malformed')],
    closes: true,
  },
  {
    name: 'RFC 9110 §8.3: Content-Type twice',
    send: post('Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n', '{}'),
    answers: [refused(400, 'request.header_repeated')],
    closes: true,
  },
];

const amounts: WireCase[] = [
  ['101 fields', 'X-A: b\r\n'.repeat(98), 'request.too_many_headers'],
  ['2,100 fields, more than node:http counts', 'A:b\r\n'.repeat(2097), 'request.too_many_headers'],
  ['2,500 fields', 'A:b\r\n'.repeat(2497), 'request.too_many_headers'],
  ['2,500 fields of 12 bytes', 'X-A: abcd\r\n'.repeat(2497), 'request.headers_too_large'],
  ['a field of 20 kB', `X-A: ${'a'.repeat(20_000)}\r\n`, 'request.headers_too_large'],
  ['a name of 20 kB', `${'X'.repeat(20_000)}: a\r\n`, 'request.headers_too_large'],
  ['a cookie of 20 kB', `Cookie: ${'a'.repeat(20_000)}\r\n`, 'request.headers_too_large'],
  ['20 fields of 1 kB', `X-A: ${'a'.repeat(1000)}\r\n`.repeat(20), 'request.headers_too_large'],
  ['100 kB', `X-A: ${'a'.repeat(100_000)}\r\n`, 'request.headers_too_large'],
  ['300 kB', `X-A: ${'a'.repeat(300_000)}\r\n`, 'request.headers_too_large'],
].map(([what = '', fields = '', reason = '']) => ({
  name: `RFC 6585 §5: ${what}`,
  send: get(fields),
  answers: [refused(431, reason)],
  closes: true,
}));

/** What the caller says of itself, of its connection, or of another request: nobody vouches for it, so it ends here. */
const forged: WireCase[] = [
  'Sallyport-Subject',
  'sallyport-subject',
  'SALLYPORT-SUBJECT',
  'sallyport_subject',
  'Sallyport_Client',
  'SALLYPORT_DECISION-ID',
  'Sallyport-Job',
  'Sallyport-Operation',
  'Sallyport-Anything',
  'Forwarded',
  'X-Forwarded',
  'X-Forwarded-For',
  'X_Forwarded_For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'X-Forwarded-Port',
  'X-Forwarded-Prefix',
  'X-Forwarded-Server',
  'X-Forwarded-User',
  'X-Forwarded-Client-Cert',
  'X-Forwarded-Authorization',
  'X-Real-IP',
  'X_Real_IP',
  'X-Client-IP',
  'True-Client-IP',
  'CF-Connecting-IP',
  'X-Original-URL',
  'X-Original-URI',
  'X-Original-Host',
  'X-Original-Method',
  'X-Rewrite-URL',
  'X-HTTP-Method-Override',
  'X-HTTP-Method',
  'X-Method-Override',
  'X_HTTP_METHOD_OVERRIDE',
  '_method',
  'X-Host',
  'X-HTTP-Host-Override',
  'Remote-User',
  'REMOTE_USER',
  'X-Remote-User',
  'X-Envoy-Original-Path',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Client-Cert',
  'X-SSL-Client-Cert',
  'SSL_CLIENT_S_DN',
  'X-Client-Verify',
  'X-Amzn-Mtls-Clientcert',
  'X-ARR-ClientCert',
  'Proxy',
  'Proxy-Authorization',
  'Proxy-Connection',
  'Keep-Alive',
  'TE',
  'Trailer',
  'HTTP2-Settings',
  'Cookie',
].map((name) =>
  through(`${name} ends at the gateway`, `${name}: ${name === 'Cookie' ? `session=${COOKIE}` : FORGED}\r\n`),
);

const forgedInNumbers: WireCase[] = [
  through(
    'all spellings of an identity at once',
    ['Sallyport-Subject', 'sallyport_subject', 'SALLYPORT-subject', 'Sallyport_Subject']
      .map((name) => `${name}: ${FORGED}\r\n`)
      .join(''),
    { 'sallyport-subject': ['wf-4711'] },
  ),
  through(
    'RFC 7239: what the caller forwarded is not added to',
    `Forwarded: for=${FORGED}\r\nX-Forwarded-For: ${FORGED}\r\n`,
    {
      'x-forwarded-for': null,
    },
  ),
];

/** RFC 9110 §7.6.1: what Connection names ends here; what the gateway states comes after, and cannot be named away. */
const named: WireCase[] = [
  through('Connection names a field of the caller', `Connection: X-Hop\r\nX-Hop: ${FORGED}\r\nX-End: a\r\n`, {
    'x-end': ['a'],
  }),
  through('Connection names a field in another case', `Connection: x-HOP\r\nX-Hop: ${FORGED}\r\n`),
  through('Connection names a field by its alias', `Connection: X-Hop\r\nX_Hop: ${FORGED}\r\n`),
  through(
    'Connection names several',
    `Connection: keep-alive, X-One ,,\tX-Two\r\nX-One: ${FORGED}\r\nX-Two: ${FORGED}\r\n`,
  ),
  through(
    'Connection stands twice',
    `Connection: X-One\r\nConnection: X-Two\r\nX-One: ${FORGED}\r\nX-Two: ${FORGED}\r\n`,
  ),
  through(
    'Traefik CVE-2024-45410: Connection names our identity',
    'Connection: Sallyport-Subject, Sallyport-Client\r\n',
    {
      'sallyport-subject': ['wf-4711'],
      'sallyport-client': ['wf-4711'],
    },
  ),
  through('Traefik CVE-2024-45410: Connection names Forwarded and Via', 'Connection: Forwarded, Via\r\n', {
    via: ['1.1 sallyport'],
  }),
  through('Connection names Host', 'Connection: Host\r\n'),
  through('Connection names the credentials', 'Connection: Authorization, DPoP\r\n'),
  through('Connection names Connection', 'Connection: Connection\r\n'),
  through('Connection names every field', 'Connection: *\r\nX-A: a\r\n', { 'x-a': ['a'] }),
  through('Connection that is quoted names nothing', 'Connection: "X-A"\r\nX-A: a\r\n', { 'x-a': ['a'] }),
  {
    name: 'Connection names Content-Length',
    send: post('Connection: Content-Length\r\nContent-Length: 5\r\n', 'hello'),
    answers: [passes(`POST ${BUILDS}`, 'hello')],
    closes: false,
    forwards: { 'content-length': ['5'] },
  },
  {
    name: 'Connection names Transfer-Encoding',
    send: chunked('5\r\nhello\r\n0\r\n\r\n', 'Connection: Transfer-Encoding\r\n'),
    answers: [passes(`POST ${BUILDS}`, 'hello')],
    closes: false,
  },
  {
    name: 'Connection names Content-Type',
    send: post('Connection: Content-Type\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n', 'hello'),
    answers: [passes(`POST ${BUILDS}`, 'hello')],
    closes: false,
    forwards: { 'content-type': null },
  },
];

/** Neither the answer nor the record repeats what a refused request said of itself. */
const refusals: WireCase[] = ['Sallyport-Subject', 'Cookie', 'X-Forwarded-For', 'Forwarded', 'X-Request-Id'].map(
  (name) => ({
    name: `${name} of a refused request is not repeated`,
    send: ANONYMOUS.replace('\r\n\r\n', `\r\n${name}: ${FORGED}\r\n\r\n`),
    answers: [refused(401, 'request.credentials_missing')],
    closes: false,
  }),
);

let wire: Wire;
beforeAll(async () => {
  wire = await Wire.start();
});
afterAll(() => wire.close());

describe.each([
  ['ordinary fields', ordinary],
  ['Host', hosts],
  ['form', forms],
  ['amount', amounts],
  ['forged fields', forged],
  ['forged fields, several', forgedInNumbers],
  ['fields that Connection names', named],
  ['refusals', refusals],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});
