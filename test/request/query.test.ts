import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeQuery, readQuery } from '../../src/request/query.ts';
import { readTarget } from '../../src/request/target.ts';
import { valueOfPassed } from './fixtures.ts';

describe('the query, as application/x-www-form-urlencoded', () => {
  it.each<[string, Record<string, string[]>]>([
    ['', {}],
    ['a', { a: [''] }],
    ['a=', { a: [''] }],
    ['=b', { '': ['b'] }],
    ['=', { '': [''] }],
    ['a=b', { a: ['b'] }],
    ['a=b=c', { a: ['b=c'] }],
    ['a=1&a=2&b=3', { a: ['1', '2'], b: ['3'] }],
    ['&&a=1&', { a: ['1'] }],
    ['a=1+2', { a: ['1 2'] }],
    ['a+b=1', { 'a b': ['1'] }],
    ['a=1%2B2', { a: ['1+2'] }],
    ['a=%26b%3Dc', { a: ['&b=c'] }],
    ['%61=b', { a: ['b'] }],
    ['a=%C3%A9', { a: ['é'] }],
    ['a=%0A', { a: ['\n'] }],
    ['path=../..%2Fx//y', { path: ['../../x//y'] }],
    ['a=%252e', { a: ['%2e'] }],
    ['filter[name]={x}|"y"^`<z>', { 'filter[name]': ['{x}|"y"^`<z>'] }],
    ['a=?/:@', { a: ['?/:@'] }],
    ['a=%3B', { a: [';'] }],
  ])('%s', (query, parameters) => {
    expect({ ...readQuery(query) }).toEqual(parameters);
  });

  it('takes names that an object would have anyway as ordinary ones', () => {
    const read = readQuery('__proto__=x&constructor=y&toString=z&__proto__=w&hasOwnProperty=v');
    expect(Object.getPrototypeOf(read)).toBe(null);
    expect(Object.entries(read ?? {})).toEqual([
      ['__proto__', ['x', 'w']],
      ['constructor', ['y']],
      ['toString', ['z']],
      ['hasOwnProperty', ['v']],
    ]);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it.each<[string, string]>([
    ['percent alone', 'a=%'],
    ['percent and no hex', 'a=%zz'],
    ['in a name', '%zz=a'],
    ['not UTF-8', 'a=%ff'],
    ['overlong UTF-8', 'a=%c0%af'],
    ['surrogate', 'a=%ED%A0%80'],
    ['encoded NUL', 'a=x%00y'],
    ['encoded NUL in a name', 'a%00=x'],
    ['raw space', 'a=b c'],
    ['raw tab', 'a=b\tc'],
    ['raw newline', 'a=b\nc'],
    ['raw NUL', 'a=\0'],
    ['raw DEL', 'a=\x7f'],
    ['raw latin1', 'a=\xe9'],
    ['raw backslash', 'a=b\\c'],
    ['fragment', 'a=b#c'],
    ['raw semicolon, a separator for some', 'a=1;admin=true'],
  ])('request.target_ambiguous: refuses %s', (_, query) => {
    expect(readQuery(query)).toBeNull();
    expect(readTarget(`/v1?${query}`)).toMatchObject({ ok: false, denial: { reason: 'request.target_ambiguous' } });
  });

  it('keeps the bytes: an empty query is not an absent one', () => {
    expect(valueOfPassed(readTarget('/v1')).target.query).toBeNull();
    expect(valueOfPassed(readTarget('/v1?')).target.query).toBe('');
    expect(valueOfPassed(readTarget('/v1?b=%7e&a=+?')).target.query).toBe('b=%7e&a=+?');
  });

  it('reads what URLSearchParams writes, as it was', () => {
    const text = fc
      .string({ unit: 'grapheme', maxLength: 8 })
      .filter((value) => value.isWellFormed() && !value.includes('\0'));
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 6 }), (pairs) => {
        const expected: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
        for (const [name, value] of pairs) expected[name] = [...(expected[name] ?? []), value];
        expect(readQuery(new URLSearchParams(pairs).toString())).toEqual(expected);
      }),
    );
  });

  it('agrees with URLSearchParams wherever it accepts', () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      '=',
      '&',
      '+',
      '%',
      '%2',
      '%20',
      '%26',
      '%3d',
      '%c3%a9',
      '%c3',
      '[',
      '?',
      '/',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 16 }), (pieces) => {
        const query = pieces.join('');
        const read = readQuery(query);
        if (read === null) return;
        const expected = [...new URLSearchParams(`?${query}`)];
        const names = new Set(expected.map(([name]) => name));
        expect(Object.keys(read).sort()).toEqual([...names].sort());
        for (const name of names) expect(read[name]).toEqual(new URLSearchParams(`?${query}`).getAll(name));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a query in one piece', () => {
  it('property: is readable when, and only when, its parameters are, and holds every name and value', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'a',
        'b=c',
        '&',
        '=',
        '%',
        '%41',
        '%c3%a9',
        '%c3',
        '%a9',
        '%00',
        '+',
        ';',
        '%26',
        '%c0%ae',
        '[',
        '~',
      ),
      fc.string({ maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const query = parts.join('');
        const [decoded, parameters] = [decodeQuery(query), readQuery(query)];
        expect(decoded === null).toBe(parameters === null);
        if (decoded === null || parameters === null) return;
        for (const [name, values] of Object.entries(parameters)) {
          for (const text of [name, ...values]) expect(decoded).toContain(text);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
