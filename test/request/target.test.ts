import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DOT_SEGMENTS, EMPTY_SEGMENTS, ENCODED_SLASH } from '../../src/request/path.ts';
import { allowedBy, readTarget } from '../../src/request/target.ts';
import { outcomeOf, valueOfPassed } from './fixtures.ts';

/** What a target comes to: the refusal, or the deviations that a route must allow (0: none). */
function judge(raw: string): string | number {
  const read = readTarget(raw);
  return read.ok ? read.value.needs : read.denial.reason;
}

const AMBIGUOUS = 'request.target_ambiguous';

describe('RFC 9112 §3.2.1 origin-form: accepted', () => {
  it.each<[string, string[]]>([
    ['/', ['']],
    ['/v1', ['v1']],
    ['/v1/', ['v1', '']],
    ['/v1/projects/p1/builds/b1', ['v1', 'projects', 'p1', 'builds', 'b1']],
    ['/v1/%70rojects', ['v1', 'projects']],
    ['/v1/a%20b', ['v1', 'a b']],
    ['/v1/a+b', ['v1', 'a+b']],
    ['/v1/%C3%A9t%c3%a9', ['v1', 'été']],
    ['/v1/%E2%82%AC', ['v1', '€']],
    ['/v1/%F0%9F%98%80', ['v1', '😀']],
    ['/v1/100%25', ['v1', '100%']],
    ['/v1/100%25off', ['v1', '100%off']],
    ['/v1/%2541', ['v1', '%41']],
    ['/v1/a%3Fb%23c', ['v1', 'a?b#c']],
    ["/v1/-._~!$&'()*+,=:@", ['v1', "-._~!$&'()*+,=:@"]],
    ['/v1/a;v=1', ['v1', 'a;v=1']],
    ['/v1/a..b', ['v1', 'a..b']],
    ['/v1/...', ['v1', '...']],
    ['/v1/.hidden', ['v1', '.hidden']],
    ['/v1/..a', ['v1', '..a']],
    ['/v1/a..', ['v1', 'a..']],
    ['/.well-known/x', ['.well-known', 'x']],
    ['/__proto__/constructor', ['__proto__', 'constructor']],
  ])('%s', (raw, segments) => {
    const read = valueOfPassed(readTarget(raw));
    expect(read).toMatchObject({ needs: 0, origin: null, target: { path: raw, segments, query: null } });
  });
});

describe('request.target_ambiguous: refused whatever the route allows', () => {
  it.each<[string, string]>([
    ['empty', ''],
    ['asterisk', '*'],
    ['no leading slash', 'v1/projects'],
    ['authority form', 'cloud.example.com:443'],
    ['authority form without port', 'cloud.example.com'],
    ['two leading slashes', '//evil/admin'],
    ['three leading slashes', '///evil'],
    ['slash and backslash', '/\\evil/admin'],
    ['backslash first', '\\v1'],
    ['raw backslash', '/v1\\..\\admin'],
    ['encoded backslash', '/v1/%5Cadmin'],
    ['encoded backslash, lower case', '/v1/..%5c..%5cadmin'],
    ['doubly encoded backslash', '/v1/%255Cadmin'],
    ['triply encoded backslash', '/v1/%25255cadmin'],
    ['fullwidth backslash', '/v1/%EF%BC%BCadmin'],
    ['raw fragment', '/v1/projects#admin'],
    ['fragment after query', '/v1?a=b#c'],
    ['raw space', '/v1/a b'],
    ['trailing space', '/v1 '],
    ['raw tab', '/v1/a\tb'],
    ['raw CR LF', '/v1/a\r\nX: y'],
    ['raw NUL', '/v1/a\0b'],
    ['raw DEL', '/v1/a\x7fb'],
    ['raw latin1', '/v1/\xe9'],
    ['raw UTF-8 as latin1', '/v1/\xc3\xa9'],
    ['raw beyond latin1', '/v1/€'],
    ['raw double quote', '/v1/"'],
    ['raw angle brackets', '/v1/<a>'],
    ['raw braces', '/v1/{project}'],
    ['raw brackets', '/v1/a[0]'],
    ['raw caret', '/v1/^'],
    ['raw backtick', '/v1/`'],
    ['raw bar', '/v1/|'],
    ['encoded NUL', '/v1/a%00'],
    ['encoded NUL before a suffix', '/v1/secrets%00.json'],
    ['doubly encoded NUL', '/v1/a%2500'],
    ['encoded CR LF', '/v1/a%0d%0aX:%20y'],
    ['encoded newline', '/v1/a%0A'],
    ['doubly encoded newline', '/v1/a%250A'],
    ['encoded tab', '/v1/a%09b'],
    ['encoded escape', '/v1/%1b[2J'],
    ['encoded DEL', '/v1/%7F'],
    ['encoded C1 control', '/v1/%C2%85'],
    ['percent alone', '/v1/%'],
    ['percent and one digit', '/v1/%2'],
    ['percent and no hex', '/v1/%zz'],
    ['percent and half hex', '/v1/%2g'],
    ['percent u', '/v1/%u002e'],
    ['encoded minus hex', '/v1/%-1'],
    ['not UTF-8', '/v1/%ff'],
    ['UTF-8 cut short', '/v1/%C3'],
    ['UTF-8 cut short before ASCII', '/v1/%C3a'],
    ['UTF-8 continuation alone', '/v1/%80'],
    ['UTF-8 surrogate', '/v1/%ED%A0%80'],
    ['UTF-8 beyond Unicode', '/v1/%F4%90%80%80'],
    ['overlong dot, 2 bytes', '/v1/%C0%AE%C0%AE/admin'],
    ['overlong slash, 2 bytes', '/v1/..%C0%AFadmin'],
    ['overlong slash, 3 bytes', '/v1/%E0%80%AF'],
    ['overlong slash, 4 bytes', '/v1/%F0%80%80%AF'],
    ['overlong NUL', '/v1/%C0%80'],
    ['overlong dot, doubly encoded', '/v1/%25C0%25AE'],
    ['overlong slash, doubly encoded, 3 bytes', '/v1/%25E0%2580%25AF'],
    ['overlong slash, doubly encoded, 4 bytes', '/v1/%25F0%2580%2580%25AF'],
    ['encoded many times over', `/v1/%${'25'.repeat(12)}2e`],
    ['longer than 8192 bytes', `/${'a'.repeat(8192)}`],
    ['query that makes it longer than 8192 bytes', `/v1?${'a'.repeat(8192)}`],
    ['question mark first', '?a=b'],
    ['file scheme', 'file:///etc/passwd'],
    ['ftp scheme', 'ftp://cloud.example.com/v1'],
    ['websocket scheme', 'wss://cloud.example.com/v1'],
    ['javascript', 'javascript:alert(1)'],
    ['one slash after the scheme', 'https:/cloud.example.com/v1'],
    ['three slashes after the scheme, then two', 'https:////v1'],
    ['absolute-form without path', 'https://cloud.example.com'],
    ['absolute-form with query and no path', 'https://cloud.example.com?a=b'],
    ['absolute-form with fragment', 'https://cloud.example.com/v1#x'],
    ['absolute-form with backslash', 'https://cloud.example.com\\@evil/v1'],
    ['absolute-form in an absolute-form', 'https://cloud.example.com//evil/v1'],
    ['absolute-form with newline', 'https://cloud.example.com/v1\nX: y'],
    ['leading space', ' /v1'],
  ])('%s', (_, raw) => {
    expect(judge(raw)).toBe(AMBIGUOUS);
  });

  it('takes a target of exactly 8192 bytes', () => {
    expect(judge(`/${'a'.repeat(8191)}`)).toBe(0);
  });
});

describe('request.target_ambiguous: refused unless the route allows dot segments', () => {
  it.each([
    '/v1/../admin',
    '/v1/./admin',
    '/v1/..',
    '/v1/.',
    '/..',
    '/.',
    '/../v1',
    '/v1/../',
    '/v1/%2e%2e/admin',
    '/v1/%2E%2E/admin',
    '/v1/.%2e/admin',
    '/v1/%2e./admin',
    '/v1/%2e/admin',
    '/v1/%252e%252e/admin',
    '/v1/%252E%252e/admin',
    '/v1/%25252e%25252e/admin',
    '/v1/%2525252e./admin',
    '/v1/.%252e/admin',
    '/v1/%25%32%65%25%32%65/admin',
    '/v1/%25%32%65%2e/admin',
    '/v1/..;/admin',
    '/v1/..;x/admin',
    '/v1/..;x=y;z/admin',
    '/v1/.;/admin',
    '/v1/%2e%2e;/admin',
    '/v1/%2e%2e;x/admin',
    '/v1/%2e%2e%3b/admin',
    '/v1/..%3Bx/admin',
    '/v1/..%253bx/admin',
    '/v1/%252e%252e%253bx/admin',
    '/v1/%EF%BC%8E%EF%BC%8E/admin',
    '/v1/%E2%80%A4%E2%80%A4/admin',
    '/v1/%E2%80%A5/admin',
    '/v1/.%EF%BC%8E/admin',
  ])('%s', (raw) => {
    expect(judge(raw)).toBe(DOT_SEGMENTS);
  });
});

describe('request.target_ambiguous: refused unless the route allows an encoded slash', () => {
  it.each<[string, number]>([
    ['/v1/a%2Fb', ENCODED_SLASH],
    ['/v1/a%2fb', ENCODED_SLASH],
    ['/v1/a%252Fb', ENCODED_SLASH],
    ['/v1/a%25252fb', ENCODED_SLASH],
    ['/v1/a%25%32%46b', ENCODED_SLASH],
    ['/v1/a%EF%BC%8Fb', ENCODED_SLASH],
    ['/v1/..%2Fadmin', ENCODED_SLASH | DOT_SEGMENTS],
    ['/v1/a%2F..%2Fadmin', ENCODED_SLASH | DOT_SEGMENTS],
    ['/v1/a%2F%2e%2e%2Fadmin', ENCODED_SLASH | DOT_SEGMENTS],
    ['/v1/a%2F%252e%252e%2Fadmin', ENCODED_SLASH | DOT_SEGMENTS],
    ['/v1/a%2F..;x%2Fadmin', ENCODED_SLASH | DOT_SEGMENTS],
    ['/v1/%2Fadmin', ENCODED_SLASH | EMPTY_SEGMENTS],
    ['/v1/a%2F%2Fb', ENCODED_SLASH | EMPTY_SEGMENTS],
    ['/v1/a%2F', ENCODED_SLASH | EMPTY_SEGMENTS],
    ['/%2Fevil/admin', ENCODED_SLASH | EMPTY_SEGMENTS],
  ])('%s', (raw, needs) => {
    expect(judge(raw)).toBe(needs);
  });
});

describe('request.target_ambiguous: refused unless the route allows empty segments', () => {
  it.each([
    '/v1//projects',
    '/v1///projects',
    '/v1/projects//',
    '/v1/;/projects',
    '/v1/;x/projects',
    '/v1/projects/;',
    '/v1/%3Bx/projects',
    '/v1/%253b/projects',
  ])('%s', (raw) => {
    expect(judge(raw)).toBe(EMPTY_SEGMENTS);
  });

  it('keeps the segments as they are sent', () => {
    expect(valueOfPassed(readTarget('/v1//a%2Fb/../c')).target.segments).toEqual(['v1', '', 'a/b', '..', 'c']);
  });
});

describe('the deviations that a route allows', () => {
  it.each([
    [{ encodedSlash: false, emptySegments: false, dotSegmentsInKeys: false }, 0],
    [{ encodedSlash: true, emptySegments: false, dotSegmentsInKeys: false }, ENCODED_SLASH],
    [{ encodedSlash: false, emptySegments: true, dotSegmentsInKeys: false }, EMPTY_SEGMENTS],
    [{ encodedSlash: false, emptySegments: false, dotSegmentsInKeys: true }, DOT_SEGMENTS],
    [{ encodedSlash: true, emptySegments: true, dotSegmentsInKeys: true }, 7],
  ])('%o', (rules, bits) => {
    expect(allowedBy(rules)).toBe(bits);
  });
});

describe('RFC 9112 §3.2.2 absolute-form: read as origin-form', () => {
  it.each([
    ['https://cloud.example.com/v1/x?a=b', 'https', 'cloud.example.com'],
    ['HTTPS://Cloud.Example.COM:443/v1/x?a=b', 'https', 'cloud.example.com:443'],
    ['http://user:pw@cloud.example.com/v1/x?a=b', 'http', 'user:pw@cloud.example.com'],
    ['http:///v1/x?a=b', 'http', ''],
  ])('%s', (raw, scheme, authority) => {
    const { target, origin } = valueOfPassed(readTarget(raw));
    expect(target).toMatchObject({ path: '/v1/x', query: 'a=b' });
    expect(origin).toEqual({ scheme, authority });
  });
});

/** Decodes as often as anything changes, as lenient as a server can be. */
function decodeFully(text: string): string[] {
  const levels = [text];
  for (let current = text; ; ) {
    const next = current.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
    if (next === current) return levels;
    levels.push(next);
    current = next;
  }
}

const piece = fc.constantFrom(
  ...['.', '..', '%', '%2e', '%2E', '%25', '25', '2e', '2f', '%2f', '%5c', ';', '%3b', 'x', 'a', '%00', '%c0%ae'],
  ...['/', '//', '%c3%a9', '5c', '00', '%0', '-', '%E0%80%AF', '%ef%bc%8e', '+', '=', '&', '@', ':'],
);
const trickyPath = fc.array(piece, { maxLength: 14 }).map((parts) => `/${parts.join('')}`);

describe('the rule for targets, as properties', () => {
  it('invariant one parse: an accepted path is kept byte for byte, and its segments encoded anew compare equal to it', () => {
    fc.assert(
      fc.property(trickyPath, (path) => {
        const read = readTarget(path);
        if (!read.ok) return;
        expect(read.value.target.path).toBe(path);
        const sent = path.slice(1).split('/');
        expect(read.value.target.segments).toHaveLength(sent.length);
        const canonical = (text: string) => encodeURIComponent(decodeURIComponent(text));
        expect(read.value.target.segments.map(encodeURIComponent)).toEqual(sent.map(canonical));
      }),
      { numRuns: 5000 },
    );
  });

  it('no accepted target has a segment that decodes, however often, to a dot segment, a slash, a backslash or a control character', () => {
    fc.assert(
      fc.property(trickyPath, (path) => {
        const read = readTarget(path);
        if (!read.ok || read.value.needs !== 0) return;
        const segments = path.slice(1).split('/');
        for (const [index, segment] of segments.entries()) {
          for (const level of decodeFully(segment)) {
            // biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the point.
            expect(level).not.toMatch(/[/\\\x00-\x1f\x7f]/);
            expect(level.split(';')[0]).not.toMatch(/^\.\.?$/);
            if (index < segments.length - 1) expect(level.split(';')[0]).not.toBe('');
          }
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('accepts what consists of plain names, with every name encoded in any way once', () => {
    const name = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_~é€😀 !*'), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 6 }), (names) => {
        const raw = `/${names.map(encodeURIComponent).join('/')}`;
        expect(valueOfPassed(readTarget(raw)).target.segments).toEqual(names);
      }),
    );
  });

  it('never throws, and answers a hostile 8192 bytes at once', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(['passed', AMBIGUOUS]).toContain(outcomeOf(readTarget(`/${text}`)));
        expect(['passed', AMBIGUOUS]).toContain(outcomeOf(readTarget(text)));
      }),
    );
    expect(judge(`/${'%25'.repeat(2730)}`)).toBe(0);
    expect(judge(`/%${'25'.repeat(4000)}2e`)).toBe(AMBIGUOUS);
    expect(judge(`/${'a/'.repeat(4000)}`)).toBe(0);
    expect(judge(`/${';'.repeat(8000)}`)).toBe(EMPTY_SEGMENTS);
  });
});
