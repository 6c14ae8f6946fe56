import { generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { describe, expect, it } from 'vitest';
import { allowedAlgorithms, SIGNATURE_ALGORITHMS } from '../../src/oauth/algorithms.ts';
import { importPublicJwk, readPublicJwk } from '../../src/oauth/public_jwk.ts';
import { certificateThumbprint, jwkThumbprint, sha256Base64url } from '../../src/oauth/thumbprint.ts';
import { makeKey } from '../support/issuer.ts';

describe.each([...SIGNATURE_ALGORITHMS.keys()])('a key for %s', (alg) => {
  it('is read, has the thumbprint that jose computes, and is imported', async () => {
    const { publicJwk } = await makeKey(alg);
    const read = readPublicJwk({ ...publicJwk, kid: 'k', ext: true }, alg);
    if (!read.ok) throw new Error(read.problem);
    expect(Object.keys(read.value).sort()).toEqual(
      { EC: ['crv', 'kty', 'x', 'y'], OKP: ['crv', 'kty', 'x'], RSA: ['e', 'kty', 'n'] }[read.value.kty],
    );
    expect(jwkThumbprint(read.value)).toBe(await calculateJwkThumbprint(publicJwk as JWK));
    const key = importPublicJwk(read.value);
    expect(key?.type).toBe('public');
    expect(key?.export({ format: 'jwk' })).toEqual(read.value);
  });

  it('is read for no algorithm of another kind', async () => {
    const { publicJwk } = await makeKey(alg);
    const own = SIGNATURE_ALGORITHMS.get(alg);
    for (const [name, algorithm] of SIGNATURE_ALGORITHMS) {
      const same = algorithm.kty === own?.kty && algorithm.crv === own?.crv;
      expect(readPublicJwk(publicJwk, name).ok).toBe(same);
    }
  });
});

describe('what is refused', () => {
  it('an algorithm that is not known', async () => {
    const { publicJwk } = await makeKey();
    for (const alg of ['none', 'HS256', '', 'es256', 'toString']) {
      expect(readPublicJwk(publicJwk, alg)).toEqual({ ok: false, problem: 'algorithm unknown' });
    }
  });

  it('RFC 9449 §4.3 check 7: private keys of every kind', async () => {
    const pairs = [
      ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
      ['EdDSA', generateKeyPairSync('ed25519')],
      ['PS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ] as const;
    for (const [alg, { privateKey }] of pairs) {
      const jwk = privateKey.export({ format: 'jwk' });
      expect(readPublicJwk(jwk, alg)).toEqual({ ok: false, problem: 'JWK with a private member' });
    }
    expect(readPublicJwk({ kty: 'oct', k: 'AQAB' }, 'ES256')).toEqual({
      ok: false,
      problem: 'JWK with a private member',
    });
  });

  it('X25519, Ed448 and secp256k1', () => {
    for (const pair of [generateKeyPairSync('x25519'), generateKeyPairSync('ed448')]) {
      expect(readPublicJwk(pair.publicKey.export({ format: 'jwk' }), 'EdDSA').ok).toBe(false);
    }
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
    expect(readPublicJwk(publicKey.export({ format: 'jwk' }), 'ES256').ok).toBe(false);
  });

  it('a member that is not an own one', () => {
    const inherited = Object.create({ kty: 'EC' }) as object;
    expect(readPublicJwk(inherited, 'ES256').ok).toBe(false);
  });
});

describe('RFC 9864 §2.2: EdDSA and Ed25519 are one algorithm', () => {
  it('allowing one allows both, and no other', () => {
    for (const name of ['EdDSA', 'Ed25519']) {
      expect([...allowedAlgorithms([name, 'ES256']).keys()].sort()).toEqual(['ES256', 'Ed25519', 'EdDSA']);
    }
    expect([...allowedAlgorithms(['PS256', 'HS256', 'none']).keys()]).toEqual(['PS256']);
  });
});

describe('RFC 8705 §3.1', () => {
  it('x5t#S256 is the digest of the DER', () => {
    expect(certificateThumbprint(Buffer.from('abc'))).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
    expect(sha256Base64url('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
  });
});
