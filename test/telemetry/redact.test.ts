import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isSecretName,
  REDACTED,
  redactJson,
  redactQuery,
  redactText,
  redactTokens,
  redactValue,
} from '../../src/telemetry/redact.ts';

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const SIGNATURE = 'c2lnbmF0dXJlLXNlY3JldA';
const JWS = `${part({ typ: 'at+jwt', alg: 'ES256' })}.${part({ sub: 'wf-4711' })}.${SIGNATURE}`;

describe('redactTokens', () => {
  it.each([
    ['alone', JWS, REDACTED],
    ['in a sentence', `the token ${JWS} was refused`, `the token ${REDACTED} was refused`],
    ['after a percent-encoded blank', `DPoP%20${JWS}`, `DPoP%20${REDACTED}`],
    ['after other letters', `prefix_${JWS}`, `prefix_${REDACTED}`],
    ['two of them', `${JWS} ${JWS}`, `${REDACTED} ${REDACTED}`],
    ['without signature', JWS.slice(0, JWS.lastIndexOf('.') + 1), REDACTED],
    ['as JWE with five parts', `${JWS}.eHg.eHg`, REDACTED],
    ['with percent-encoded dots', JWS.replaceAll('.', '%2E'), REDACTED],
    ['whose header begins with a blank', `${Buffer.from('{ "alg":"x"}').toString('base64url')}.e30.x`, REDACTED],
    ['whose header begins with a line end', `${Buffer.from('{\n"alg":"x"}').toString('base64url')}.e30.x`, REDACTED],
    ['behind a false start', `eyAgreement-${JWS}`, `eyAgreement-${REDACTED}`],
  ])('takes a token out: %s', (_where, text, expected) => {
    expect(redactTokens(text)).toBe(expected);
  });

  it.each(['/v1/keyAgreements.list/eyAgreement.create.x', 'newoperation.create.v1', 'eyJ', 'heyJude.mp3', 'a.b.c'])(
    'leaves what is no token: %s',
    (text) => {
      expect(redactTokens(text)).toBe(text);
    },
  );

  it('keeps JSON valid when the token seems to begin in an escape', () => {
    const json = JSON.stringify({
      a: `\u001e${JWS.slice(1)}`,
      b: `\\u001e${JWS.slice(1)}`,
      c: `\ud8fe${JWS.slice(1)}`,
    });
    const redacted = redactTokens(json);
    expect(redacted).not.toContain(SIGNATURE);
    expect(() => JSON.parse(redacted)).not.toThrow();
  });

  it('is linear in hostile input', () => {
    const hostile = ['eyJ'.repeat(100_000), 'ewo'.repeat(100_000), `${'eyA'.repeat(100_000)}.`];
    for (const text of hostile) expect(typeof redactTokens(text)).toBe('string');
  });
});

describe('redactText', () => {
  it.each([
    ['access_token=abc123&x=1', `access_token=${REDACTED}&x=1`],
    ['/path?a=1&Access-Token=abc', `/path?a=1&Access-Token=${REDACTED}`],
    ['Authorization: DPoP abcdefghij1234567890', `Authorization: ${REDACTED}`],
    ['Authorization: Basic dXNlcjpwYXNz', `Authorization: ${REDACTED}`],
    ['cookie: session=1234', `cookie: ${REDACTED}`],
    ['{"client_secret":"s3cret","x":1}', `{"client_secret":"${REDACTED}","x":1}`],
    ['sent Bearer 2YotnFZFEjr1zCsicMWpAA here', `sent Bearer ${REDACTED} here`],
  ])('takes credentials out of %s', (text, expected) => {
    expect(redactText(text)).toBe(expected);
    expect(redactText(expected)).toBe(expected);
  });

  it.each(['DPoP authorization_details are missing', 'token: expected a string', 'accesses_token_count is 3'])(
    'leaves plain words: %s',
    (text) => {
      expect(redactText(text)).toBe(text);
    },
  );
});

describe('redactQuery', () => {
  it.each([
    ['access_token=abc', `access_token=${REDACTED}`],
    ['a=1&access%5Ftoken=abc&b=2', `a=1&access%5Ftoken=${REDACTED}&b=2`],
    ['a=1;ACCESS_TOKEN=abc', `a=1;ACCESS_TOKEN=${REDACTED}`],
    ['X-Amz-Signature=00ff&X-Amz-Date=20260101', `X-Amz-Signature=${REDACTED}&X-Amz-Date=20260101`],
    [`q=${JWS}`, `q=${REDACTED}`],
    [`q=${encodeURIComponent(`Bearer ${JWS}`)}`, `q=${REDACTED}`],
    [`q=${[...JWS].map((character) => `%${character.charCodeAt(0).toString(16)}`).join('')}`, `q=${REDACTED}`],
    [`x=%zz&token=abc`, `x=%zz&token=${REDACTED}`],
  ])('takes credentials out of %s', (query, expected) => {
    expect(redactQuery(query)).toBe(expected);
  });

  it.each(['dry_run=true&page=2', 'access_token', '', '&&;;', 'a=b=c', 'q=%E2%82%AC+x'])(
    'leaves %s as it is',
    (query) => {
      expect(redactQuery(query)).toBe(query);
    },
  );
});

describe('redactJson', () => {
  it('names what it took out, by JSON pointer (RFC 6901)', () => {
    const json = JSON.stringify({
      request: {
        query: { access_token: ['abc'], 'a/b': [{ 'set-cookie': 'x' }] },
        headers: { DPoP: ['p'], sig: ['s'] },
      },
    });
    const { json: redacted, masked } = redactJson(json);
    expect(JSON.parse(redacted)).toEqual({
      request: {
        query: { access_token: REDACTED, 'a/b': [{ 'set-cookie': REDACTED }] },
        headers: { DPoP: REDACTED, sig: REDACTED },
      },
    });
    expect(masked).toEqual([
      '/request/query/access_token',
      '/request/query/a~1b/0/set-cookie',
      '/request/headers/DPoP',
      '/request/headers/sig',
    ]);
  });

  it('RFC 7518 §6.2.2: takes private members out of a key, and only there', () => {
    const key = { kty: 'EC', crv: 'P-256', x: 'pub', y: 'pub', d: 'private' };
    const { json } = redactJson(JSON.stringify({ key, query: { q: ['text'], d: ['1'] } }));
    expect(JSON.parse(json)).toEqual({ key: { ...key, d: REDACTED }, query: { q: ['text'], d: ['1'] } });
  });

  it('leaves the token, job and client of a policy input as they are', () => {
    const json = JSON.stringify({
      token: { kind: 'jwt', binding: { method: 'dpop' } },
      client: { id: 'a', auth_method: 'private_key_jwt' },
      operation: { params: { secret: 'db', token: 't1' } },
    });
    expect(redactJson(json)).toEqual({ json, masked: [] });
  });

  it('property: no member with a secret name keeps its value, at any depth', () => {
    const names = fc.constantFrom(
      'access_token',
      'Authorization',
      'setCookie',
      'client-assertion',
      'PASSWORD',
      'x',
      '__proto__',
    );
    const tree = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        fc.constant('hidden-value'),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(names, tie('node'), { maxKeys: 4 }),
      ),
    })).node;
    fc.assert(
      fc.property(tree, (value) => {
        const redacted: unknown = JSON.parse(redactJson(JSON.stringify(value)).json);
        for (const [name, member] of members(redacted)) {
          if (isSecretName(name)) expect(member).toBe(REDACTED);
        }
      }),
    );
  });

  it('replaces what is nested too deep to look into', () => {
    const deep = `${'{"a":'.repeat(3000)}{"password":"x"}${'}'.repeat(3000)}`;
    const { json, masked } = redactJson(deep);
    expect(json).not.toContain('"x"');
    expect(masked).toHaveLength(1);
  });
});

describe('redactValue', () => {
  it('does not change what it is given, nor any prototype', () => {
    const value = JSON.parse('{"__proto__":{"password":"x"},"password":"y"}') as object;
    const before = JSON.stringify(value);
    const redacted = redactValue(value) as object;
    expect(JSON.stringify(value)).toBe(before);
    expect(JSON.stringify(redacted)).toBe(`{"__proto__":{"password":"${REDACTED}"},"password":"${REDACTED}"}`);
    expect(Object.getPrototypeOf(redacted)).toBe(Object.prototype);
    expect(({} as { password?: string }).password).toBeUndefined();
  });
});

function* members(value: unknown): Generator<[string, unknown]> {
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    if (!Array.isArray(value)) yield [name, member];
    yield* members(member);
  }
}
