import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJsonObject, parseJsonObject, parseStrictJson } from '../../src/oauth/strict_json.ts';

const BOUNDS = { maxBytes: 100_000 };
const parse = (text: string) => parseStrictJson(text, BOUNDS);
const bytesOf = (text: string) => new TextEncoder().encode(text);

describe('RFC 8259: what JSON.parse takes and has one reading', () => {
  it('any JSON value comes back the same, from text and from bytes', () => {
    const values = fc.jsonValue({ maxDepth: 10 }).filter((value) => JSON.stringify(value).isWellFormed());
    fc.assert(
      fc.property(values, (value) => {
        const text = JSON.stringify(value);
        const expected = { ok: true, value: JSON.parse(text) };
        expect(parse(text)).toEqual(expected);
        expect(parseStrictJson(bytesOf(text), BOUNDS)).toEqual(expected);
        expect(parse(JSON.stringify(value, null, '\t'))).toEqual(expected);
      }),
    );
  });

  it('any text that JSON.parse refuses is refused, and nothing throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0deé1.-+ \n\ttrue') }), (text) => {
        const outcome = parse(text);
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (!valid) expect(outcome.ok).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('any bytes: nothing throws', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseStrictJson(bytes, BOUNDS)));
  });

  it.each([
    '1',
    '"x"',
    'null',
    'true',
    '[]',
    '{}',
    ' {"a" : [ 1 , "b:c,{" ] } ',
    '"a\\"b:c"',
    '{"a:b":"{:}"}',
    '"\\\\"',
    '{"\\\\":1,"\\"":2}',
  ])('takes %s', (text) => {
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });
});

describe('RFC 8259 §4, RFC 7515 §4: no member twice', () => {
  it.each([
    '{"a":1,"a":1}',
    '{"a":1,"a":2}',
    '{"a":1,"b":2,"a":3}',
    '{"":1,"":2}',
    '{"a":{"b":1,"b":2}}',
    '[{"b":1,"b":2}]',
    '{"x":[[{"y":{"z":0,"z":0}}]]}',
    '{"a":1,"\\u0061":2}',
    '{"\\u0061":1,"\\u0061":2}',
    '{"/":1,"\\/":2}',
    '{"__proto__":1,"__proto__":2}',
    '{"1":1,"1":2}',
    '{"é":1,"\\u00e9":2}',
    '{"a":null,"a":null}',
    '{"a":[],"a":{}}',
  ])('refuses %s', (text) => {
    expect(parse(text)).toEqual({ ok: false, problem: 'JSON with a repeated member' });
  });

  it('finds a repeated member wherever it stands', () => {
    const objects = fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue({ maxDepth: 3 }), { minKeys: 1 });
    fc.assert(
      fc.property(objects, fc.nat(), fc.jsonValue({ maxDepth: 2 }), (object, pick, value) => {
        const names = Object.keys(object).filter((name) => name.isWellFormed());
        fc.pre(names.length > 0);
        const name = names[pick % names.length] as string;
        const text = `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
        expect(parse(text).ok).toBe(false);
        expect(parse(`[{"deep":${text}}]`).ok).toBe(false);
      }),
    );
  });

  it('the same name in different objects is no repetition', () => {
    expect(parse('{"a":{"a":[{"a":1},{"a":2}]}}').ok).toBe(true);
  });
});

describe('RFC 8259 §8, RFC 7493 §2: one reading of the characters', () => {
  it('refuses a byte order mark', () => {
    expect(parse('\ufeff{}')).toEqual({ ok: false, problem: 'not JSON' });
    expect(parseStrictJson(Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), BOUNDS)).toEqual({
      ok: false,
      problem: 'not JSON',
    });
  });

  it.each([
    ['a continuation byte alone', [0x22, 0x80, 0x22]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['a surrogate in UTF-8', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a sequence cut short', [0x22, 0xe2, 0x82, 0x22]],
    ['above U+10FFFF', [0x22, 0xf5, 0x80, 0x80, 0x80, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00]],
  ])('refuses %s', (_, bytes) => {
    expect(parseStrictJson(Uint8Array.from(bytes), BOUNDS)).toEqual({ ok: false, problem: 'not valid Unicode' });
  });

  it.each(['"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '{"\\ud800":1}', '["x",{"a":"\\udfff"}]'])(
    'refuses the lone surrogate in %s',
    (text) => {
      expect(parse(text)).toEqual({ ok: false, problem: 'JSON with a number or a character that cannot be kept' });
    },
  );

  it('refuses a lone surrogate in the text itself, takes a pair', () => {
    expect(parse('"\ud800"')).toEqual({ ok: false, problem: 'not valid Unicode' });
    expect(parse('"\\ud83d\\ude00"')).toEqual({ ok: true, value: '😀' });
  });
});

describe('bounds', () => {
  it.each(['1e400', '-1e400', '[1e999]', '{"iat":1e400}'])('refuses the number in %s', (text) => {
    expect(parse(text)).toEqual({ ok: false, problem: 'JSON with a number or a character that cannot be kept' });
  });

  it('takes nesting up to the limit, counted over objects and arrays', () => {
    const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`;
    expect(parse(nested(32)).ok).toBe(true);
    expect(parse(nested(34))).toEqual({ ok: false, problem: 'JSON nested too deeply' });
    expect(parseStrictJson('[[]]', { maxBytes: 10, maxDepth: 1 }).ok).toBe(false);
    expect(parseStrictJson('[[]]', { maxBytes: 10, maxDepth: 2 }).ok).toBe(true);
    expect(parse(`"${'['.repeat(1000)}"`).ok).toBe(true);
  });

  it('100,000 levels are refused without an exception', () => {
    expect(parseStrictJson('['.repeat(100_000), { maxBytes: 1_000_000 })).toEqual({
      ok: false,
      problem: 'JSON nested too deeply',
    });
  });

  it('refuses one byte too many', () => {
    expect(parseStrictJson('"abcdef"', { maxBytes: 8 }).ok).toBe(true);
    expect(parseStrictJson('"abcdef"', { maxBytes: 7 })).toEqual({ ok: false, problem: 'JSON too large' });
    expect(parseStrictJson(bytesOf('"é"'), { maxBytes: 3 })).toEqual({ ok: false, problem: 'JSON too large' });
  });
});

describe('objects', () => {
  it('a member named __proto__ is an ordinary one and gives nobody anything', () => {
    const outcome = parseJsonObject('{"__proto__":{"admin":true},"constructor":1}', BOUNDS);
    expect(outcome.ok).toBe(true);
    if (!outcome.ok) return;
    expect(Object.keys(outcome.value)).toEqual(['__proto__', 'constructor']);
    expect(outcome.value['admin']).toBeUndefined();
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
    expect(Object.getPrototypeOf(outcome.value)).toBe(Object.prototype);
  });

  it.each(['[]', 'null', '"x"', '1', 'true'])('refuses %s where an object is asked for', (text) => {
    expect(parseJsonObject(text, BOUNDS)).toEqual({ ok: false, problem: 'not a JSON object' });
  });

  it('tells objects from everything else', () => {
    expect([{}, Object.create(null)].every(isJsonObject)).toBe(true);
    expect([[], null, undefined, 'x', 1, true].some(isJsonObject)).toBe(false);
  });
});
