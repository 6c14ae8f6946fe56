import { afterAll, beforeAll, describe, it } from 'vitest';
import { get, post, requestLine } from './messages.ts';
import { BUILDS, PROJECT, Wire } from './wire.ts';
import { passes, refused, runCase, type WireCase } from './wire_case.ts';

/** A GET of a target with good credentials for it is let through as it is. */
const through = (name: string, target: string): WireCase => ({
  name,
  send: get('', target),
  answers: [passes(`GET ${target}`)],
  closes: false,
});

/** A GET of a target with good credentials for what a lenient reader might make of it. */
const ambiguous = (name: string, target: string, closes = false): WireCase => ({
  name,
  send: requestLine(get(), `GET ${target} HTTP/1.1`),
  answers: [refused(400, 'request.target_ambiguous')],
  closes,
});

const accepted: WireCase[] = [
  through('RFC 9112 §3.2.1: origin-form', PROJECT),
  through('RFC 3986 §3.3: every character of pchar', `${BUILDS}/a-._~!$&'()*+,;=:@Z9`),
  through('RFC 3986 §2.1: encoded characters stay encoded', `${BUILDS}/a%20b%3Fc%23d%25e`),
  through('RFC 3986 §2.1: encoded UTF-8', `${BUILDS}/%E4%BD%A0%f0%9f%98%80`),
  through('RFC 3986 §6.2.2.2: encoded unreserved characters stay encoded', `/v1/%70rojects/p%31/builds`),
  through('RFC 3986 §6.2.2.1: digits of an encoding in lower case', `${BUILDS}/%e4%bd%a0`),
  through('a segment of dots that is no dot segment', `${BUILDS}/...`),
  through('a segment that begins with a dot', `${BUILDS}/.hidden`),
  through('a segment with a parameter', `${BUILDS}/a;b=c`),
  through('`+` in a path is a plus sign', `${BUILDS}/a+b`),
  through('RFC 3986 §3.4: a query', `${BUILDS}?page=2&page=3&q=a%20b+c`),
  through('RFC 3986 §3.4: an empty query stays', `${BUILDS}?`),
  through('RFC 3986 §3.4: slashes and question marks in a query', `${BUILDS}?a=/b?c`),
  through('a query with dot segments', `${BUILDS}?a=/../../admin`),
  through('a query with brackets', `${BUILDS}?a[b]=c|d`),
  through('a query with names of object members', `${BUILDS}?__proto__=a&constructor=b&toString`),
  through('a query with encoded ; and #', `${BUILDS}?a=%3B%23`),
  through('a path of 3 kB', `${BUILDS}/${'a'.repeat(3000)}`),
  {
    name: 'RFC 9112 §3.2.2: absolute-form that names our origin is sent in origin-form',
    send: get().replace(`GET ${PROJECT}`, `GET http://{host}${PROJECT}`),
    answers: [passes(`GET ${PROJECT}`)],
    closes: false,
  },
  {
    name: 'RFC 9110 §4.2.3: scheme of absolute-form in upper case',
    send: get().replace(`GET ${PROJECT}`, `GET HTTP://{host}${PROJECT}`),
    answers: [passes(`GET ${PROJECT}`)],
    closes: false,
  },
];

const dots: WireCase[] = [
  ['..', '/v1/projects/p2/../p1'],
  ['.', '/v1/projects/./p1'],
  ['.. at the end', '/v1/projects/p1/builds/..'],
  ['. at the end', '/v1/projects/p1/.'],
  ['.. at the start', '/../v1/projects/p1'],
  ['.. out of the route', '/v1/../admin'],
  ['%2e%2e', '/v1/projects/p2/%2e%2e/p1'],
  ['%2E.', '/v1/projects/p2/%2E./p1'],
  ['.%2e', '/v1/projects/p2/.%2e/p1'],
  ['%2e', '/v1/projects/%2e/p1'],
  ['doubly encoded', '/v1/projects/p2/%252e%252e/p1'],
  ['triply encoded', '/v1/projects/p2/%25252e%25252e/p1'],
  ['encoded in parts', '/v1/projects/p2/%25%32%65%25%32%65/p1'],
  ['with a parameter', '/v1/projects/p2/..;/p1'],
  ['with a parameter and a value', '/v1/projects/p2/..;a=b/p1'],
  ['with an encoded parameter', '/v1/projects/p2/..%3ba/p1'],
  ['overlong UTF-8', '/v1/projects/p2/%c0%ae%c0%ae/p1'],
  ['overlong UTF-8 of three bytes', '/v1/projects/p2/%e0%80%ae%e0%80%ae/p1'],
  ['full-width', '/v1/projects/p2/%ef%bc%8e%ef%bc%8e/p1'],
  ['a two dot leader', '/v1/projects/p2/%e2%80%a5/p1'],
  ['IIS %u', '/v1/projects/p2/%u002e%u002e/p1'],
  ['before an encoded slash', '/v1/projects/p2/..%2fp1'],
].map(([what = '', target = '']) => ambiguous(`RFC 3986 §5.2.4: dot segments: ${what}`, target));

const separators: WireCase[] = [
  ['encoded slash', '/v1/projects/p2%2fp1'],
  ['encoded slash in upper case', '/v1/projects%2Fp1'],
  ['doubly encoded slash', '/v1/projects/p2%252fp1'],
  ['overlong slash', '/v1/projects/p2%c0%afp1'],
  ['full-width slash', '/v1/projects/p2%ef%bc%8fp1'],
  ['encoded backslash', '/v1/projects/p2%5cp1'],
  ['doubly encoded backslash', '/v1/projects/p2%255cp1'],
  ['backslash', '/v1/projects\\p1'],
  ['backslashes and dots', '/v1/projects/p2\\..\\p1'],
  ['full-width backslash', '/v1/projects/p2%ef%bc%bcp1'],
  ['two slashes at the start', '//v1/projects/p1'],
  ['an authority at the start', '//evil.example/v1/projects/p1'],
  ['an empty segment', '/v1//projects/p1'],
  ['two empty segments', '/v1///projects/p1'],
  ['two slashes at the end', '/v1/projects/p1//'],
  ['a segment of parameters only', '/v1/;a/projects/p1'],
].map(([what = '', target = '']) => ambiguous(`opa-envoy-plugin CVE-2026-26205: ${what}`, target));

const bytes: WireCase[] = [
  ambiguous('a backslash at the start', '\\v1/projects/p1', true),
  ambiguous('encoded NUL', '/v1/projects/p1%00'),
  ambiguous('encoded NUL and a suffix', '/v1/projects/p1%00.json'),
  ambiguous('encoded line feed', '/v1/projects/p1%0aX'),
  ambiguous('encoded CR LF', '/v1/projects/p1%0d%0aX-Forged:%201'),
  ambiguous('encoded tab', '/v1/projects/p1%09'),
  ambiguous('encoded escape', '/v1/projects/p1%1b%5b31m'),
  ambiguous('encoded DEL', '/v1/projects/p1%7f'),
  ambiguous('encoded C1 control', '/v1/projects/p1%c2%85'),
  ambiguous('encoded surrogate', '/v1/projects/p1%ed%a0%80'),
  ambiguous('a lone continuation byte', '/v1/projects/p1%80'),
  ambiguous('a cut sequence', '/v1/projects/p1%e4%bd'),
  ambiguous('Latin-1', '/v1/projects/p%fc'),
  ambiguous('a percent sign alone', '/v1/projects/p1%'),
  ambiguous('a percent sign and one digit', '/v1/projects/p1%2'),
  ambiguous('a percent sign and no digits', '/v1/projects/p1%zz'),
  ambiguous('a percent sign and a sign', '/v1/projects/p1%+2'),
  ambiguous('a fragment', '/v1/projects/p1#x'),
  ambiguous('a fragment with a path', '/v1/projects/p2#/../p1'),
  ambiguous('a quote', '/v1/projects/p1"'),
  ambiguous('angle brackets', '/v1/projects/<p1>'),
  ambiguous('braces', '/v1/projects/{p1}'),
  ambiguous('a caret', '/v1/projects/p1^'),
  ambiguous('a bar', '/v1/projects/p1|'),
  ambiguous('a back quote', '/v1/projects/p1`'),
  ambiguous('square brackets', '/v1/projects/p[1]'),
  ambiguous('9 kB', `/v1/projects/${'a'.repeat(9000)}`),
  ambiguous('a NUL', '/v1/projects/p1\0', true),
  ambiguous('a tab', '/v1/projects/p1\tx', true),
  ambiguous('a form feed', '/v1/projects/p1\x0c', true),
  ambiguous('DEL', '/v1/projects/p1\x7f', true),
  ambiguous('a byte above ASCII', '/v1/projects/p\xe4', true),
  ambiguous('raw UTF-8', '/v1/projects/p\xc3\xa4', true),
];

const queries: WireCase[] = [
  ambiguous('a raw semicolon', '/v1/projects/p1?a=1;b=2'),
  ambiguous('a raw backslash', '/v1/projects/p1?a=\\'),
  ambiguous('a fragment', '/v1/projects/p1?a=1#b'),
  ambiguous('encoded NUL', '/v1/projects/p1?a=%00'),
  ambiguous('a percent sign alone', '/v1/projects/p1?a=%'),
  ambiguous('a percent sign and no digits', '/v1/projects/p1?a=%zz'),
  ambiguous('not UTF-8', '/v1/projects/p1?a=%ff'),
  ambiguous('overlong UTF-8', '/v1/projects/p1?a=%c0%80'),
  ambiguous('9 kB', `/v1/projects/p1?a=${'a'.repeat(9000)}`),
  ambiguous('a byte above ASCII', '/v1/projects/p1?a=\xe4', true),
];

const forms: WireCase[] = [
  ambiguous('RFC 9112 §3.2.2: absolute-form of another host', `http://evil.example${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form of another port', `http://127.0.0.1:1${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form without port while Host has one', `http://127.0.0.1${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form of another scheme', `https://{host}${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form of an unknown scheme', `ftp://{host}${PROJECT}`),
  ambiguous('RFC 9110 §4.2.4: absolute-form with user information', `http://u@{host}${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form whose authority is ours and more', `http://{host}@evil.example${PROJECT}`),
  ambiguous('RFC 9112 §3.2.2: absolute-form without a path', 'http://{host}'),
  ambiguous('RFC 9112 §3.2.2: absolute-form with a query and no path', 'http://{host}?a'),
  ambiguous('RFC 9112 §3.2.2: absolute-form with dot segments', 'http://{host}/v1/projects/p2/../p1'),
  ambiguous('RFC 9112 §3.2.2: absolute-form with two slashes', 'http://{host}//v1/projects/p1'),
  ambiguous('RFC 9112 §3.2.2: absolute-form with a backslash', `http://{host}\\@evil.example${PROJECT}`, true),
  ambiguous('RFC 9112 §3.2.2: file', 'file:///etc/passwd'),
  ambiguous('RFC 9112 §3.2.3: authority-form without CONNECT', '{host}', true),
  ambiguous('RFC 9112 §3.2.4: asterisk-form without OPTIONS', '*'),
  ambiguous('RFC 9112 §3.2: no leading slash', 'v1/projects/p1', true),
  ambiguous('RFC 9112 §3.2: a query only', '?a=b', true),
];

const elsewhere: WireCase[] = [
  ['/', 404],
  ['/v1x/projects/p1', 404],
  ['/v', 404],
  ['/V1/projects/p1', 404],
  ['/admin', 404],
  ['/metrics', 404],
  ['/.well-known/oauth-protected-resource', 404],
  ['/.well-known/oauth-protected-resource/none', 404],
  ['/.well-known/oauth-authorization-server', 404],
].map(([target]) => ({
  name: `RFC 9110 §15.5.5: no route for ${target}`,
  send: requestLine(get(), `GET ${target} HTTP/1.1`),
  answers: [refused(404, 'request.route_unknown')],
  closes: false,
}));

/** A method that the route does not allow; `closes`: one that node:http does not know. */
const method = (name: string, line: string, closes: boolean): WireCase => ({
  name: `RFC 9110 §15.5.6: ${name}`,
  send: requestLine(get(), line),
  answers: [refused(405, 'request.method_not_allowed')],
  closes,
});

const methods: WireCase[] = [
  method('TRACE', `TRACE ${PROJECT} HTTP/1.1`, false),
  method('OPTIONS *', 'OPTIONS * HTTP/1.1', false),
  method('OPTIONS of a path', `OPTIONS ${PROJECT} HTTP/1.1`, false),
  method('CONNECT', 'CONNECT {host} HTTP/1.1', true),
  method('CONNECT to somebody else', 'CONNECT evil.example:443 HTTP/1.1', true),
  method('CONNECT with a path', `CONNECT ${PROJECT} HTTP/1.1`, true),
  method('PROPFIND', `PROPFIND ${PROJECT} HTTP/1.1`, false),
  method('PURGE', `PURGE ${PROJECT} HTTP/1.1`, false),
  method('QUERY', `QUERY ${PROJECT} HTTP/1.1`, false),
  method('M-SEARCH', `M-SEARCH ${PROJECT} HTTP/1.1`, false),
  method('lower case', `get ${PROJECT} HTTP/1.1`, true),
  method('mixed case', `Get ${PROJECT} HTTP/1.1`, true),
  method('unknown', `FROBNICATE ${PROJECT} HTTP/1.1`, true),
  method('a known one and more', `GETS ${PROJECT} HTTP/1.1`, true),
  method('a token with other characters', `GET!#$ ${PROJECT} HTTP/1.1`, true),
  method('one letter', `G ${PROJECT} HTTP/1.1`, true),
  {
    name: 'RFC 9110 §9.1: the method is judged, not what other fields say of it',
    send: post('X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\n'),
    answers: [passes(`POST ${BUILDS}`)],
    closes: false,
    forwards: { 'x-http-method-override': null, 'x-http-method': null, 'x-method-override': null },
  },
];

/** With every deviation allowed by name, what was judged still is what is sent, and the rest is still refused. */
const allowing: WireCase[] = [
  through('encoded_slash: sent as it is', `${BUILDS}/a%2Fb%2fc`),
  through('dot_segments_in_keys: sent as it is', `${BUILDS}/..`),
  through('dot_segments_in_keys: encoded, sent as it is', `${BUILDS}/%2e%2e`),
  through('both: sent as it is', `${BUILDS}/..%2f..%2fp2`),
  ambiguous('encoded NUL', `${BUILDS}/a%00`),
  ambiguous('backslash', `${BUILDS}/a\\b`),
  ambiguous('encoded backslash', `${BUILDS}/a%5cb`),
  ambiguous('two slashes at the start', `/${BUILDS}`),
  ambiguous('overlong UTF-8', `${BUILDS}/%c0%af`),
  {
    name: 'dot segments are not resolved: out of the route they lead nowhere',
    send: get('', '/v1/../v1/projects/p1'),
    answers: [refused(403, 'policy.denied')],
    closes: false,
  },
];

let wire: Wire;
let lenient: Wire;
beforeAll(async () => {
  wire = await Wire.start();
  lenient = await Wire.start({ route: { allow: ['encoded_slash', 'empty_segments', 'dot_segments_in_keys'] } });
});
afterAll(async () => {
  await wire.close();
  await lenient.close();
});

describe.each([
  ['targets with one reading', accepted],
  ['dot segments', dots],
  ['separators', separators],
  ['bytes of a path', bytes],
  ['bytes of a query', queries],
  ['forms', forms],
  ['paths without a route', elsewhere],
  ['methods', methods],
])('%s', (_family, cases) => {
  it.each(cases)('$name', (each) => runCase(wire, each));
});

describe('a route that allows deviations by name', () => {
  it.each(allowing)('$name', (each) => runCase(lenient, each));
});
