import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBase64url, encodeBase64url } from '../../src/oauth/base64url.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

describe('RFC 4648 §5, RFC 7515 §2: base64url without padding', () => {
  it('any bytes come back the same', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = encodeBase64url(bytes);
        expect(text).toMatch(/^[A-Za-z0-9_-]*$/);
        expect(decodeBase64url(text)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('a part of a larger buffer is encoded alone; a text as UTF-8', () => {
    expect(encodeBase64url(Buffer.from('xxabcxx').subarray(2, 5))).toBe('YWJj');
    expect(encodeBase64url('é')).toBe('w6k');
  });

  it('no two texts mean the same bytes: what decodes also encodes to itself', () => {
    const units = fc.constantFrom(...ALPHABET, '+', '/', '=', ' ', '\n', 'é', '.', '\0');
    fc.assert(
      fc.property(fc.string({ unit: units, maxLength: 12 }), (text) => {
        const bytes = decodeBase64url(text);
        if (bytes !== null) expect(encodeBase64url(bytes)).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['padding', 'YQ=='],
    ['one padding character', 'YWI='],
    ['the standard alphabet, plus', '-_+_'],
    ['the standard alphabet, slash', 'ab/_'],
    ['a space', 'YW Jj'],
    ['a trailing space', 'YWJj '],
    ['a line break', 'YWJj\n'],
    ['CR LF inside', 'YW\r\nJj'],
    ['a tab', '\tYWJj'],
    ['an impossible length', 'YWJjZ'],
    ['one character', 'Y'],
    ['spare bits', 'YR'],
    ['spare bits of three', 'YWJ'],
    ['a dot', 'YWJj.'],
    ['not ASCII', 'YWJé'],
    ['a full-width letter', 'YWJj\uff21'],
    ['NUL', 'YWJj\0'],
  ])('refuses %s', (_, text) => {
    expect(decodeBase64url(text)).toBeNull();
  });

  it('of the 64 ways to write the last character only the one without spare bits is taken', () => {
    const taken = [...ALPHABET].filter((last) => decodeBase64url(`A${last}`) !== null);
    expect(taken.join('')).toBe('AQgw');
    expect([...ALPHABET].filter((last) => decodeBase64url(`AA${last}`) !== null)).toHaveLength(16);
  });

  it('the empty text is no bytes', () => {
    expect(decodeBase64url('')).toEqual(Buffer.alloc(0));
  });
});
