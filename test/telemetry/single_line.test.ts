import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { singleLine, singleLineJson, visible } from '../../src/telemetry/single_line.ts';

/** What a line must not hold: controls, format characters (bidirectional overrides among them), separators, lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

describe('visible', () => {
  it.each([
    ['a line feed', 'a\nb', 'a\\u000ab'],
    ['a carriage return', 'a\r\nb', 'a\\u000d\\u000ab'],
    ['an ANSI escape', '\u001b[31mred', '\\u001b[31mred'],
    ['a one-byte ANSI escape', '\u009b31m', '\\u009b31m'],
    ['DEL and NUL', '\u007f\u0000', '\\u007f\\u0000'],
    ['line and paragraph separators', 'a\u2028b\u2029c', 'a\\u2028b\\u2029c'],
    ['a bidirectional override', 'a\u202eb', 'a\\u202eb'],
    ['a zero-width space and a byte order mark', '\u200b\ufeff', '\\u200b\\ufeff'],
    ['a tag outside the basic plane', '\u{e0041}', '\\u{e0041}'],
    ['a lone surrogate', 'a\ud800b', 'a\\ud800b'],
  ])('shows %s as an escape', (_name, text, expected) => {
    expect(visible(text)).toBe(expected);
  });

  it('leaves letters of any script and pairs of surrogates', () => {
    expect(visible('Zürich 東京 😀')).toBe('Zürich 東京 😀');
  });

  it('bounds the text and says how much there was', () => {
    expect(visible('x'.repeat(10), 4)).toBe('xxxx… (6 more)');
  });

  it('does not leave half of a pair at the cut', () => {
    expect(visible('abc😀', 4)).toBe('abc\\ud83d… (1 more)');
  });
});

describe('singleLine', () => {
  it('property: nothing unsafe is left, and the length is bounded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const line = singleLine(text, 100);
        expect(line).not.toMatch(UNSAFE);
        // The longest escape of one code unit is six characters, and what says how much there was is short.
        expect(line.length).toBeLessThan(100 * 6 + 30);
      }),
    );
  });
});

describe('singleLineJson', () => {
  const anyJson = fc.jsonValue({ stringUnit: 'binary', noUnicodeString: false } as object);

  it('property: one line, safe, valid, and equal but for lone surrogates', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const line = singleLineJson(JSON.stringify(value));
        expect(line).not.toMatch(UNSAFE);
        expect(JSON.parse(line)).toEqual(wellFormed(JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  it('makes one line of JSON that stands on several', () => {
    const line = singleLineJson(JSON.stringify({ a: [1, { b: '\n' }] }, null, '\t'));
    expect(line).not.toContain('\n');
    expect(JSON.parse(line)).toEqual({ a: [1, { b: '\n' }] });
  });

  it.each([
    ['a lone surrogate as escape', '"\\ud800"', '"\ufffd"'],
    ['two low halves', '"\\udc00\\udc00"', '"\ufffd\ufffd"'],
    ['a pair as escapes', '"\\ud83d\\ude00"', '"\\ud83d\\ude00"'],
    ['a backslash before the letters', '"\\\\ud800"', '"\\\\ud800"'],
    ['a lone surrogate as it is', '"\ud800"', '"\ufffd"'],
  ])('makes strings well-formed: %s', (_name, json, expected) => {
    expect(singleLineJson(json)).toBe(expected);
  });
});

function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(wellFormed);
  return Object.fromEntries(
    Object.entries(value).map(([name, member]: [string, unknown]) => [name.toWellFormed(), wellFormed(member)]),
  );
}
