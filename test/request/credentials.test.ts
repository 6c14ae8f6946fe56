import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCredentials } from '../../src/request/credentials.ts';
import { readHeaderSection } from '../../src/request/header_section.ts';
import { readQuery } from '../../src/request/query.ts';
import { outcomeOf, valueOfPassed } from './fixtures.ts';

function read(fields: readonly string[], query = '') {
  const section = valueOfPassed(
    readHeaderSection(['Host', 'cloud.example.com', ...fields], { headers: 100, header_bytes: 16_384 }),
  );
  return readCredentials(section, readQuery(query) ?? {});
}

describe('RFC 6750 §2.1, RFC 9449 §7.1: the Authorization header', () => {
  it.each([
    ['DPoP abc.def.ghi', 'dpop', 'abc.def.ghi'],
    ['dpop abc', 'dpop', 'abc'],
    ['DPOP abc', 'dpop', 'abc'],
    ['dPoP abc', 'dpop', 'abc'],
    ['Bearer abc', 'bearer', 'abc'],
    ['bearer abc', 'bearer', 'abc'],
    ['BEARER abc==', 'bearer', 'abc=='],
    ['Bearer   abc', 'bearer', 'abc'],
    ['DPoP AZaz09-._~+/==', 'dpop', 'AZaz09-._~+/=='],
  ])('%s', (value, scheme, token) => {
    expect(valueOfPassed(read(['Authorization', value]))).toEqual({ scheme, token });
  });

  it.each([
    ['', 'request.credentials_malformed'],
    [' ', 'request.credentials_malformed'],
    ['DPoP', 'request.credentials_malformed'],
    ['DPoP ', 'request.credentials_malformed'],
    ['Bearer', 'request.credentials_malformed'],
    [' DPoP abc', 'request.credentials_malformed'],
    ['DPoP\tabc', 'request.credentials_malformed'],
    ['DPoP \tabc', 'request.credentials_malformed'],
    ['DPoP abc def', 'request.credentials_malformed'],
    ['DPoP abc ', 'request.credentials_malformed'],
    ['DPoP abc,', 'request.credentials_malformed'],
    ['DPoP abc, DPoP def', 'request.credentials_malformed'],
    ['DPoP abc, Bearer def', 'request.credentials_malformed'],
    ['DPoP ="abc"', 'request.credentials_malformed'],
    ['DPoP "abc"', 'request.credentials_malformed'],
    ['DPoP token=abc', 'request.credentials_malformed'],
    ['DPoP ab=c', 'request.credentials_malformed'],
    ['DPoP =', 'request.credentials_malformed'],
    ['DPoP ab\xe9c', 'request.credentials_malformed'],
    ['DPoP %61bc', 'request.credentials_malformed'],
    ['DPoP:abc', 'request.credentials_malformed'],
    ['DPoP=abc', 'request.credentials_malformed'],
    ['"DPoP" abc', 'request.credentials_malformed'],
    ['Basic dXNlcjpwdw==', 'request.scheme_unsupported'],
    ['Basic', 'request.scheme_unsupported'],
    ['Negotiate abc', 'request.scheme_unsupported'],
    ['Digest username="x"', 'request.scheme_unsupported'],
    ['AWS4-HMAC-SHA256 Credential=x', 'request.scheme_unsupported'],
    ['Bearers abc', 'request.scheme_unsupported'],
    ['DPoPx abc', 'request.scheme_unsupported'],
    ['eyJhbGciOiJFUzI1NiJ9.e30.c2ln', 'request.scheme_unsupported'],
    ['toString abc', 'request.scheme_unsupported'],
  ])('%j: %s', (value, reason) => {
    expect(outcomeOf(read(['Authorization', value]))).toBe(reason);
  });

  it('request.credentials_missing: none', () => {
    expect(outcomeOf(read([]))).toBe('request.credentials_missing');
    expect(outcomeOf(read(['Proxy-Authorization', 'DPoP abc']))).toBe('request.credentials_missing');
    expect(outcomeOf(read(['X-Authorization', 'DPoP abc']))).toBe('request.credentials_missing');
  });

  it.each([
    [['Authorization', 'DPoP abc', 'Authorization', 'DPoP abc']],
    [['Authorization', 'DPoP abc', 'authorization', 'Bearer abc']],
    [['Authorization', 'Basic abc', 'AUTHORIZATION', 'DPoP abc']],
    [['Authorization', '', 'Authorization', 'DPoP abc']],
    [['Authorization', 'DPoP abc', 'Authorization', '']],
  ])('RFC 6750 §2 request.credentials_repeated: %j', (fields) => {
    expect(outcomeOf(read(fields))).toBe('request.credentials_repeated');
  });

  it.each(['access_token=abc', 'a=b&access_token=abc', 'access_token', 'access%5Ftoken=abc', '%61ccess_token='])(
    'RFC 6750 §2.3 request.credentials_in_query: %s',
    (query) => {
      expect(outcomeOf(read([], query))).toBe('request.credentials_in_query');
      expect(outcomeOf(read(['Authorization', 'DPoP abc'], query))).toBe('request.credentials_in_query');
    },
  );

  it.each(['token=abc', 'access_tokens=abc', 'x=access_token', 'x=access_token%3Dabc'])(
    'takes the query %s',
    (query) => {
      expect(outcomeOf(read(['Authorization', 'DPoP abc'], query))).toBe('passed');
    },
  );

  it('takes every token68 and nothing else', () => {
    const character = fc.constantFrom(...'abcXYZ019-._~+/= ,;"%\\é');
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 12 }), (token) => {
        const expected = /^[A-Za-z0-9\-._~+/]+=*$/.test(token.replace(/^ +/, ''));
        expect(outcomeOf(read(['Authorization', `DPoP ${token}`])) === 'passed').toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });
});
