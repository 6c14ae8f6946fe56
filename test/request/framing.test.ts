import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeFraming } from '../../src/request/framing.ts';
import { readHeaderSection } from '../../src/request/header_section.ts';
import { outcomeOf, valueOfPassed } from './fixtures.ts';

const LIMIT = 1000;

function judge(fields: readonly string[], message: { method?: string; httpVersion?: string } = {}) {
  const section = valueOfPassed(
    readHeaderSection(['Host', 'cloud.example.com', ...fields], { headers: 100, header_bytes: 16_384 }),
  );
  return judgeFraming(section, { method: 'POST', httpVersion: '1.1', ...message }, LIMIT);
}

describe('RFC 9112 §6: where the request ends', () => {
  it.each<[string[], boolean]>([
    [[], false],
    [['Content-Length', '0'], false],
    [['Content-Length', '1'], true],
    [['Content-Length', '1000'], true],
    [['Transfer-Encoding', 'chunked'], true],
    [['Transfer-Encoding', 'Chunked'], true],
    [['Transfer-Encoding', 'CHUNKED'], true],
  ])('%j', (fields, hasBody) => {
    expect(valueOfPassed(judge(fields))).toEqual({ hasBody, websocket: false });
    expect(valueOfPassed(judge(fields, { method: 'GET' }))).toEqual({ hasBody, websocket: false });
  });

  it('request.framing: Content-Length beside Transfer-Encoding, both ways', () => {
    for (const length of ['0', '5', '05', '']) {
      for (const coding of ['chunked', 'identity', ' ', 'gzip, chunked', 'xchunked']) {
        expect(outcomeOf(judge(['Content-Length', length, 'Transfer-Encoding', coding]))).toBe('request.framing');
        expect(outcomeOf(judge(['Transfer-Encoding', coding, 'Content-Length', length]))).toBe('request.framing');
      }
    }
  });

  it.each([
    '',
    ' ',
    ',',
    ',chunked',
    'chunked,',
    ', chunked',
    'chunked, chunked',
    'chunked,chunked',
    'gzip, chunked',
    'chunked, gzip',
    'chunked, identity',
    'identity',
    'identity, chunked',
    'gzip',
    'deflate',
    'xchunked',
    'chunkedx',
    'chunked;q=1',
    'chunked; foo=bar',
    '"chunked"',
    'chun ked',
    ' chunked',
    'chunked ',
    'chunked\t',
    'cow',
    'x-chunked',
    'chunKed\u212a',
    'chun\u212aed',
  ])('RFC 9112 §6.1 request.framing: Transfer-Encoding: %j', (value) => {
    expect(outcomeOf(judge(['Transfer-Encoding', value]))).toBe('request.framing');
  });

  it('RFC 9112 §6.1 request.framing: Transfer-Encoding with HTTP/1.0', () => {
    expect(outcomeOf(judge(['Transfer-Encoding', 'chunked'], { httpVersion: '1.0' }))).toBe('request.framing');
    expect(outcomeOf(judge(['Content-Length', '5'], { httpVersion: '1.0' }))).toBe('passed');
  });

  it.each([
    '',
    ' ',
    '+5',
    '-5',
    '-0',
    '05',
    '010',
    '00',
    '0x5',
    '0X10',
    '0o7',
    '0b1',
    '5.0',
    '5,5',
    '5, 5',
    '5,6',
    ',5',
    '5,',
    '5 5',
    ' 5',
    '5 ',
    '5\t',
    '5e1',
    '1e3',
    '5;',
    '"5"',
    '５',
    '٥',
    'five',
    'NaN',
    'Infinity',
    '_5',
    '1_0',
  ])('RFC 9110 §8.6 request.framing: Content-Length: %j', (value) => {
    expect(outcomeOf(judge(['Content-Length', value]))).toBe('request.framing');
  });

  it.each(['1001', '4294967296', '9007199254740993', '18446744073709551616', '18446744073709551621', '9'.repeat(400)])(
    'request.body_too_large: Content-Length: %s',
    (value) => {
      expect(outcomeOf(judge(['Content-Length', value]))).toBe('request.body_too_large');
    },
  );

  it('takes exactly the canonical decimal numbers up to the limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 * LIMIT }), (length) => {
        expect(outcomeOf(judge(['Content-Length', String(length)]))).toBe(
          length <= LIMIT ? 'passed' : 'request.body_too_large',
        );
        expect(outcomeOf(judge(['Content-Length', `0${length}`]))).toBe('request.framing');
      }),
    );
  });
});

describe('the HTTP version', () => {
  it.each([
    ['1.1', 'passed'],
    ['1.0', 'passed'],
    ['0.9', 'request.malformed'],
    ['1.2', 'request.malformed'],
    ['2.0', 'request.malformed'],
    ['', 'request.malformed'],
  ])('%s: %s', (httpVersion, outcome) => {
    expect(outcomeOf(judge([], { httpVersion }))).toBe(outcome);
  });
});

describe('RFC 9110 §10.1.1: Expect', () => {
  it.each([
    ['100-continue', 'passed'],
    ['100-Continue', 'passed'],
    ['200-ok', 'request.expectation_unsupported'],
    ['100-continue, 100-continue', 'request.expectation_unsupported'],
    ['100-continue, x', 'request.expectation_unsupported'],
    ['100', 'request.expectation_unsupported'],
    ['', 'request.expectation_unsupported'],
  ])('%s: %s', (value, outcome) => {
    expect(outcomeOf(judge(['Expect', value, 'Content-Length', '5']))).toBe(outcome);
  });

  it('is ignored with HTTP/1.0', () => {
    expect(outcomeOf(judge(['Expect', 'x'], { httpVersion: '1.0' }))).toBe('passed');
  });
});

describe('RFC 6455 §4.1: a request to switch to WebSocket', () => {
  const asks = (fields: string[], message = {}) =>
    valueOfPassed(judge(fields, { method: 'GET', ...message })).websocket;

  it.each<[string[], boolean]>([
    [['Upgrade', 'websocket', 'Connection', 'Upgrade'], true],
    [['Upgrade', 'WebSocket', 'Connection', 'keep-alive, upgrade'], true],
    [['Upgrade', 'websocket', 'Connection', 'keep-alive', 'Connection', 'UPGRADE'], true],
    [['Upgrade', 'websocket', 'Connection', 'upgrade', 'Content-Length', '0'], true],
    [['Upgrade', 'websocket'], false],
    [['Connection', 'upgrade'], false],
    [['Upgrade', 'websocket', 'Connection', 'close'], false],
    [['Upgrade', 'websocket', 'Connection', 'upgraded'], false],
    [['Upgrade', 'h2c', 'Connection', 'upgrade, http2-settings', 'HTTP2-Settings', 'AAMAAABk'], false],
    [['Upgrade', 'websocket, h2c', 'Connection', 'upgrade'], false],
    [['Upgrade', 'h2c', 'Upgrade', 'websocket', 'Connection', 'upgrade'], false],
    [['Upgrade', 'TLS/1.3', 'Connection', 'upgrade'], false],
  ])('%j: %s', (fields, expected) => {
    expect(asks(fields)).toBe(expected);
  });

  it('only with GET (RFC 6455 §4.1) and HTTP/1.1 (RFC 9110 §7.8)', () => {
    const fields = ['Upgrade', 'websocket', 'Connection', 'upgrade'];
    expect(asks(fields, { method: 'POST' })).toBe(false);
    expect(asks(fields, { httpVersion: '1.0' })).toBe(false);
  });

  it.each([
    ['Content-Length', '5'],
    ['Transfer-Encoding', 'chunked'],
  ])('request.framing: refuses a body with it, %s', (name, value) => {
    const fields = ['Upgrade', 'websocket', 'Connection', 'upgrade', name, value];
    expect(outcomeOf(judge(fields, { method: 'GET' }))).toBe('request.framing');
  });
});
