import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readHeaderSection } from '../../src/request/header_section.ts';
import { outcomeOf, valueOfPassed } from './fixtures.ts';

const HOST = ['Host', 'cloud.example.com'];
const LIMITS = { headers: 100, header_bytes: 16_384 };
const read = (...fields: string[]) => readHeaderSection([...HOST, ...fields], LIMITS);

describe('the header section', () => {
  it('finds the fields that stage 1 judges, in any case', () => {
    const fields = ['AUTHORIZATION', 'DPoP t', 'dpop', 'p', 'Content-length', '5', 'transfer-Encoding', 'chunked'];
    const more = ['EXPECT', '100-continue', 'Connection', 'close', 'Upgrade', 'h2c', 'X-Other', 'x'];
    expect(valueOfPassed(read(...fields, ...more))).toEqual({
      host: 'cloud.example.com',
      authorization: 'DPoP t',
      authorizationRepeated: false,
      proof: 'p',
      proofRepeated: false,
      contentLength: '5',
      transferEncoding: 'chunked',
      expect: '100-continue',
      connection: 'close',
      upgrade: 'h2c',
    });
  });

  it('RFC 9110 §5.3: joins repeated list fields', () => {
    const fields = ['Connection', 'close', 'connection', 'upgrade', 'Expect', 'a', 'expect', 'b', 'Upgrade', 'c'];
    const section = valueOfPassed(read(...fields, 'upgrade', 'websocket'));
    expect(section).toMatchObject({ connection: 'close, upgrade', expect: 'a, b', upgrade: 'c, websocket' });
  });

  it('notes a second Authorization and a second DPoP, which Node.js drops and joins', () => {
    const twice = valueOfPassed(read('Authorization', 'DPoP a', 'DPoP', 'p', 'authorization', 'DPoP a', 'dpop', 'p'));
    expect(twice).toMatchObject({ authorizationRepeated: true, proofRepeated: true });
    const thrice = valueOfPassed(read('DPoP', 'p', 'DPoP', 'p', 'DPoP', 'p'));
    expect(thrice).toMatchObject({ proofRepeated: true, authorizationRepeated: false });
  });

  it('takes names that an object would have anyway', () => {
    expect(outcomeOf(read('__proto__', 'x', 'constructor', 'y', 'hasOwnProperty', 'z'))).toBe('passed');
  });

  it('takes tabs and bytes above ASCII in values (RFC 9110 §5.5)', () => {
    expect(outcomeOf(read('A', 'b\tc', 'B', '\xe9', 'C', ''))).toBe('passed');
  });
});

describe('request.too_many_headers', () => {
  const fill = (count: number) => Array.from({ length: count }, (_, index) => [`X-${index}`, 'x']).flat();
  it.each([
    [99, 'passed'],
    [100, 'request.too_many_headers'],
    [2500, 'request.too_many_headers'],
  ])('%i fields beside Host, of 100 allowed', (count, outcome) => {
    expect(outcomeOf(read(...fill(count)))).toBe(outcome);
  });
});

describe('request.header_malformed (RFC 9110 §5.1, §5.5, RFC 9112 §5.2)', () => {
  it.each([
    ['no name', '', 'x'],
    ['space in a name', 'A b', 'x'],
    ['space after a name', 'Content-Length ', '5'],
    ['space before a name', ' Content-Length', '5'],
    ['tab after a name', 'Transfer-Encoding\t', 'chunked'],
    ['colon in a name', 'A:', 'x'],
    ['parenthesis in a name', 'A(b', 'x'],
    ['NUL in a name', 'A\0', 'x'],
    ['newline in a name', 'A\nB', 'x'],
    ['byte above ASCII in a name', 'Hóst', 'x'],
    ['NUL in a value', 'A', 'b\0c'],
    ['CR in a value', 'A', 'b\rc'],
    ['LF in a value', 'A', 'b\nc'],
    ['obs-fold', 'A', 'b\r\n c'],
    ['obs-fold with a tab', 'A', 'b\r\n\tc'],
    ['vertical tab in a value', 'Transfer-Encoding', '\x0bchunked'],
    ['escape in a value', 'A', '\x1b[2J'],
    ['DEL in a value', 'A', 'b\x7f'],
  ])('%s', (_, name, value) => {
    expect(outcomeOf(read(name, value))).toBe('request.header_malformed');
  });

  it('any control character but the tab, anywhere in any value', () => {
    const control = fc.constantFrom(...Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)), '\x7f');
    const text = fc.string({ maxLength: 5 });
    fc.assert(
      fc.property(text, control, text, (before, bad, after) => {
        expect(outcomeOf(read('A', `${before}${bad}${after}`))).toBe(
          bad === '\t' ? 'passed' : 'request.header_malformed',
        );
      }),
    );
  });
});

describe('fields that may stand once', () => {
  it.each([
    ['request.host_malformed', ['Host', 'cloud.example.com']],
    ['request.host_malformed', ['HOST', 'evil.example.com']],
    ['request.host_malformed', ['host', '']],
    ['request.framing', ['Content-Length', '5', 'Content-Length', '5']],
    ['request.framing', ['Content-Length', '5', 'content-length', '6']],
    ['request.framing', ['Transfer-Encoding', 'chunked', 'transfer-encoding', 'chunked']],
    ['request.framing', ['Transfer-Encoding', 'identity', 'Transfer-Encoding', 'chunked']],
    ['request.framing', ['Content_Length', '5']],
    ['request.framing', ['Transfer_Encoding', 'chunked']],
    ['request.header_repeated', ['Content-Type', 'application/json', 'content-type', 'application/json']],
    ['request.header_repeated', ['Content-Type', 'application/json', 'Content-Type', 'text/plain']],
  ])('%s: %j', (reason, fields) => {
    expect(outcomeOf(read(...fields))).toBe(reason);
  });

  it('request.host_malformed: Host missing', () => {
    expect(outcomeOf(readHeaderSection(['A', 'b'], LIMITS))).toBe('request.host_malformed');
    expect(outcomeOf(readHeaderSection([], LIMITS))).toBe('request.host_malformed');
  });
});
