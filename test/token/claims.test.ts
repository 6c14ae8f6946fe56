import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_AUTHORIZATION_DETAILS, readAuthorizationDetails } from '../../src/token/authorization_details.ts';
import { checkAudience, checkValidity, readClaims } from '../../src/token/claims.ts';
import { readScope } from '../../src/token/scope.ts';

const GOOD = { sub: 's', client_id: 'c', jti: 'j', aud: 'https://a', exp: 2000, iat: 1000 };

describe('readClaims', () => {
  it('reads what is there, and nbf and scope where they are', () => {
    expect(readClaims(GOOD)).toEqual({
      ok: true,
      value: {
        subject: 's',
        clientId: 'c',
        jti: 'j',
        audience: ['https://a'],
        expiresAt: 2000,
        issuedAt: 1000,
        notBefore: null,
        scopes: [],
      },
    });
    expect(readClaims({ ...GOOD, nbf: 999.5, scope: 'a b' })).toMatchObject({
      value: { notBefore: 999.5, scopes: ['a', 'b'] },
    });
  });

  it('RFC 7519 §2: whatever the values, times are finite and texts are bounded', () => {
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.double(), fc.integer());
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(GOOD), 'nbf', 'scope'), value), (changes) => {
        const read = readClaims({ ...GOOD, ...changes });
        if (!read.ok) {
          expect(read.problem).toMatch(/^[a-z_]+ [\x20-\x7e]+$/i);
          return;
        }
        const { expiresAt, issuedAt, notBefore, subject, audience } = read.value;
        for (const time of [expiresAt, issuedAt, notBefore ?? 0]) {
          expect(time >= 0 && time <= 253_402_300_799).toBe(true);
        }
        expect(subject.length).toBeGreaterThan(0);
        expect(audience.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe('readScope', () => {
  const token = fc.stringMatching(/^[\x21\x23-\x5b\x5d-\x7e]{1,20}$/);

  it('RFC 6749 §3.3: any list of scope tokens comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 20 }), (scopes) => {
        expect(readScope(scopes.join(' '))).toEqual({ ok: true, value: scopes });
      }),
    );
  });

  it('RFC 6749 §3.3: what comes out is always made of scope tokens', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const read = readScope(text);
        if (read.ok) expect(read.value.every((scope) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope))).toBe(true);
      }),
    );
  });

  it('a long text that is wrong at its end is judged in a moment', () => {
    expect(readScope(`${'a '.repeat(200_000)}"`)).toMatchObject({ ok: false });
  });
});

describe('readAuthorizationDetails', () => {
  it('RFC 9396 §2: takes as many items as a token may carry, and no more', () => {
    const items = (count: number) => Array.from({ length: count }, () => ({ type: 'cloud_api' }));
    expect(readAuthorizationDetails(items(MAX_AUTHORIZATION_DETAILS))).toMatchObject({ ok: true });
    expect(readAuthorizationDetails(items(MAX_AUTHORIZATION_DETAILS + 1))).toMatchObject({ ok: false });
    expect(readAuthorizationDetails(items(10_000))).toMatchObject({ ok: false });
    expect(readAuthorizationDetails(undefined)).toEqual({ ok: true, value: [] });
  });

  it('RFC 9396 §2: whatever the value, every item that comes out has a type', () => {
    const item = fc.oneof(fc.jsonValue(), fc.record({ type: fc.oneof(fc.string(), fc.jsonValue()) }));
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.array(item)), (value) => {
        const read = readAuthorizationDetails(value);
        if (!read.ok) return;
        for (const detail of read.value) {
          expect(typeof detail['type'] === 'string' && detail['type'].length > 0).toBe(true);
        }
      }),
    );
  });
});

describe('checkAudience and checkValidity', () => {
  it('RFC 8707 §2: the audience is compared exactly', () => {
    expect(checkAudience(['https://a', 'https://b'], 'https://b')).toMatchObject({ ok: true });
    for (const audience of [[], ['https://b/'], ['https://B'], ['https://bc', 'https://']]) {
      expect(checkAudience(audience, 'https://b')).toMatchObject({ ok: false, denial: { reason: 'token.audience' } });
    }
  });

  it('RFC 7519 §4.1.4, §4.1.5: valid from nbf and iat, ten seconds of skew allowed, until before exp', () => {
    const time = fc.integer({ min: 0, max: 4_000_000 });
    fc.assert(
      fc.property(time, time, fc.option(time), time, (expiresAt, issuedAt, notBefore, now) => {
        const checked = checkValidity({ expiresAt, issuedAt, notBefore }, now * 1000);
        const started = issuedAt <= now + 10 && (notBefore === null || notBefore <= now + 10);
        expect(checked.ok).toBe(now < expiresAt && started);
        if (!checked.ok) {
          expect(checked.denial.reason).toBe(now >= expiresAt ? 'token.expired' : 'token.not_yet_valid');
        }
      }),
    );
  });
});
