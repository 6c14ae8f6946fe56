import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { type KeySet, MAX_KEYS, readKeySet } from '../../src/oauth/key_set.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';

let ec: TestKey;
let okp: TestKey;
let rsa: TestKey;

beforeAll(async () => {
  [ec, okp, rsa] = await Promise.all([makeKey('ES256'), makeKey('EdDSA'), makeKey('PS256')]);
});

function read(keys: unknown, previous: KeySet | null = null): KeySet {
  const set = readKeySet({ keys }, previous);
  if (!set.ok) throw new Error(set.problem);
  return set.value;
}

describe('RFC 7517 §5: a JWK Set', () => {
  it('finds keys by kid and alg', () => {
    const set = read([
      { ...ec.publicJwk, kid: 'a' },
      { ...okp.publicJwk, kid: 'b' },
      { ...rsa.publicJwk, kid: 'c' },
    ]);
    const thumbprints = (kid: string | undefined, alg: string) =>
      set.fitting({ kid, alg }).map((key) => key.thumbprint);
    expect(thumbprints('a', 'ES256')).toEqual([ec.thumbprint]);
    expect(thumbprints('a', 'EdDSA')).toEqual([]);
    expect(thumbprints('a', 'ES384')).toEqual([]);
    expect(thumbprints('A', 'ES256')).toEqual([]);
    expect(thumbprints('b', 'EdDSA')).toEqual([okp.thumbprint]);
    expect(thumbprints('b', 'Ed25519')).toEqual([okp.thumbprint]);
    expect(thumbprints('c', 'PS256')).toEqual([rsa.thumbprint]);
    expect(thumbprints('c', 'RS512')).toEqual([rsa.thumbprint]);
    expect(thumbprints(undefined, 'ES256')).toEqual([ec.thumbprint]);
    expect(thumbprints(undefined, 'HS256')).toEqual([]);
    expect(thumbprints('', 'ES256')).toEqual([]);
  });

  it('RFC 7517 §4.4: a key that names its algorithm is for no other', () => {
    const set = read([{ ...rsa.publicJwk, kid: 'c', alg: 'PS256' }]);
    expect(set.fitting({ kid: 'c', alg: 'PS256' })).toHaveLength(1);
    expect(set.fitting({ kid: 'c', alg: 'RS256' })).toHaveLength(0);
  });

  it('keys that share a kid are all found', () => {
    const set = read([
      { ...ec.publicJwk, kid: 'a' },
      { ...okp.publicJwk, kid: 'a' },
      { ...ec.publicJwk, kid: 'a' },
    ]);
    expect(set.fitting({ kid: 'a', alg: 'ES256' })).toHaveLength(2);
  });

  it('skips what cannot verify a signature, and keeps the others', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'x' };
    const offCurve = { ...ec.publicJwk, y: (ec.publicJwk as { x: string }).x };
    const unusable: unknown[] = [
      null,
      1,
      'text',
      [],
      {},
      secret,
      weak,
      offCurve,
      { ...ec.publicJwk, use: 'enc' },
      { ...ec.publicJwk, key_ops: ['sign'] },
      { ...ec.publicJwk, alg: 'ECDH-ES' },
      { ...ec.publicJwk, alg: 'HS256' },
      { ...ec.publicJwk, d: 'AAAA' },
      { ...ec.publicJwk, kid: 1 },
      { ...ec.publicJwk, crv: 'secp256k1' },
      { kty: 'EC', crv: 'P-256' },
    ];
    const set = read([...unusable, { ...ec.publicJwk, kid: 'good', x5c: ['MIIB'], x5u: 'https://evil.example.com' }]);
    expect(set.keys.map(({ kid }) => kid)).toEqual(['good']);
    expect(set.skipped).toBe(unusable.length);
  });

  it('refuses what is no JWK Set, and too large a one whole', () => {
    for (const document of [null, [], 'x', {}, { keys: {} }, { keys: null }, { keys: 'x' }]) {
      expect(readKeySet(document, null)).toEqual({ ok: false, problem: 'the keys are not a JWK Set' });
    }
    const many = Array.from({ length: MAX_KEYS + 1 }, () => ec.publicJwk);
    expect(readKeySet({ keys: many }, null)).toMatchObject({ ok: false });
    expect(read(many.slice(1)).keys).toHaveLength(MAX_KEYS);
    expect(read([]).keys).toEqual([]);
  });

  it('a key that stays published stays the same object; one that changed its kid or algorithm does not', () => {
    const first = read([
      { ...ec.publicJwk, kid: 'a' },
      { ...rsa.publicJwk, kid: 'c' },
    ]);
    const second = read(
      [
        { ...rsa.publicJwk, kid: 'c', alg: 'PS256' },
        { ...ec.publicJwk, kid: 'a' },
      ],
      first,
    );
    const third = read([{ ...ec.publicJwk, kid: 'b' }], second);
    const key = first.fitting({ kid: 'a', alg: 'ES256' })[0]!;
    expect(second.has(key)).toBe(true);
    expect(third.has(key)).toBe(false);
    expect(second.has(first.fitting({ kid: 'c', alg: 'PS256' })[0]!)).toBe(false);
  });
});
