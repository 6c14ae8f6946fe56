import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { namesTarget, normalizeHtu } from '../../src/proof/htu.ts';

const pathUnit = fc.constantFrom(...'abcXYZ019-._~/', '%2F', '%2f', '%41', '%7e', '%C3%A9', ':', '@', '!', ';', '=');
const paths = fc.array(pathUnit, { maxLength: 12 }).map((units) => `/${units.join('')}`);
const authorities = fc.constantFrom('example.com', 'example.com:8443', '127.0.0.1:1', '[::1]', '[::1]:8080', 'a-b.c');
const uris = fc
  .tuple(fc.constantFrom('http', 'https'), authorities, paths)
  .map((parts) => `${parts[0]}://${parts[1]}${parts[2]}`);

describe('RFC 3986 §6.2.2, §6.2.3: normal form', () => {
  it('normalising twice changes nothing', () => {
    fc.assert(
      fc.property(uris, (uri) => {
        const once = normalizeHtu(uri) as string;
        expect(normalizeHtu(once)).toBe(once);
      }),
    );
  });

  it('agrees with the WHATWG parser where that one changes nothing but case and default ports', () => {
    const plain = fc
      .array(fc.constantFrom(...'abcXYZ019-_~/:@!;='), { maxLength: 12 })
      .map((units) => `/${units.join('')}`);
    const hosts = fc.constantFrom('Example.COM', 'example.com:443', 'EXAMPLE.com:80', 'a.b:8443', 'a.b:');
    fc.assert(
      fc.property(fc.constantFrom('HTTP', 'https', 'hTTps'), hosts, plain, (scheme, host, path) => {
        const text = `${scheme}://${host}${path}`;
        expect(normalizeHtu(text)).toBe(new URL(text).href);
      }),
    );
  });

  it('query and fragment never count', () => {
    fc.assert(
      fc.property(uris, fc.stringMatching(/^[!-~]*$/), fc.constantFrom('?', '#'), (uri, rest, mark) => {
        expect(namesTarget(uri + mark + rest, uri)).toBe(true);
      }),
    );
  });

  it('scheme and host in any case name the same; a path in another case does not', () => {
    expect(namesTarget('HTTPS://EXAMPLE.com/Abc', 'https://example.com/Abc')).toBe(true);
    expect(namesTarget('https://example.com/abc', 'https://example.com/Abc')).toBe(false);
  });

  it('two paths are the same only when they are so after decoding unreserved characters', () => {
    const decode = (path: string) =>
      path
        .replace(/%(2d|2e|5f|7e|3\d|[46][1-9a-f]|[57][0-9a])/gi, (triplet) => decodeURIComponent(triplet))
        .replace(/%../g, (t) => t.toUpperCase());
    fc.assert(
      fc.property(paths, paths, (one, two) => {
        expect(namesTarget(`https://h${one}`, `https://h${two}`)).toBe(decode(one) === decode(two));
      }),
    );
  });

  it('dot segments are not removed: they name nothing but themselves', () => {
    expect(normalizeHtu('https://h/a/../b')).toBe('https://h/a/../b');
    expect(normalizeHtu('https://h/a/%2E%2e/b')).toBe('https://h/a/../b');
    expect(namesTarget('https://h/a/../b', 'https://h/b')).toBe(false);
    expect(namesTarget('https://h/bucket/a/../b', 'https://h/bucket/a/../b')).toBe(true);
  });
});

describe('anything else is no htu', () => {
  it.each([
    '',
    'x',
    '/path',
    '//host/path',
    'https:',
    'https:/h',
    'https://',
    'https:///p',
    'https://?q',
    'https://#f',
    '://h',
    'ftp://h/',
    'ws://h/',
    'javascript://h/',
    'https://u@h/',
    'https://u:p@h/',
    'https://@h/',
    'https://:443/',
    'https://h:443:443/',
    'https://h:x/',
    'https://h:-1/',
    'https://[::1/',
    'https://::1/',
    'https://[]/',
    'https://[::1]x/',
    'https://h/%',
    'https://h/%2',
    'https://h/%zz',
    'https://%zz/',
    'https://h/ x',
    'https://h/\t',
    'https://h/é',
    'https://é/',
    'https://h/\u0000',
    '\ufeffhttps://h/',
  ])('refuses %j', (text) => {
    expect(normalizeHtu(text)).toBeNull();
    expect(namesTarget(text, 'https://h/')).toBe(false);
  });

  it('any text: nothing throws, and what is taken is an http or https URI', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl(),
          fc.string().map((rest) => `https://${rest}`),
        ),
        (text) => {
          const normal = normalizeHtu(text);
          if (normal !== null) expect(normal).toMatch(/^https?:\/\/[^/@]+\//);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
