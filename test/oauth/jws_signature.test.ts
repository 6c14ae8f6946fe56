import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from '../../src/oauth/algorithms.ts';
import { derSignature, verifySignature } from '../../src/oauth/jws_signature.ts';

const CURVES = [
  ['ES256', 'P-256', 32],
  ['ES384', 'P-384', 48],
  ['ES512', 'P-521', 66],
] as const;

describe.each(CURVES)('RFC 7518 §3.4: %s', (alg, namedCurve, bytes) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  const algorithm = SIGNATURE_ALGORITHMS.get(alg) as SignatureAlgorithm;

  it('agrees with OpenSSL on r and s in a row, for signatures of every shape', () => {
    for (let index = 0; index < 100; index++) {
      const signingInput = `input-${index}`;
      const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
      const signature = sign(algorithm.digest, Buffer.from(signingInput), key);
      expect(verifySignature(algorithm, publicKey, { signingInput, signature })).toBe(true);
      expect(verifySignature(algorithm, publicKey, { signingInput: `${signingInput}x`, signature })).toBe(false);
    }
  });

  it('the DER form is the one of RFC 3279 §2.2.3: minimal integers, read back as the same numbers', () => {
    const number = fc.uint8Array({ minLength: bytes, maxLength: bytes });
    const leadingZeros = fc.nat(bytes - 1);
    fc.assert(
      fc.property(number, number, leadingZeros, leadingZeros, (r, s, zerosOfR, zerosOfS) => {
        r.fill(0, 0, zerosOfR);
        s.fill(0, 0, zerosOfS);
        const der = derSignature(Buffer.concat([r, s]), bytes);
        if (r.every((byte) => byte === 0) || s.every((byte) => byte === 0)) {
          expect(der).toBeNull();
        } else {
          expect(readDer(der as Buffer)).toEqual([hexOf(r), hexOf(s)]);
        }
      }),
    );
  });

  it.each([0, 1, bytes * 2 - 1, bytes * 2 + 1, bytes * 4])('refuses %i bytes', (length) => {
    expect(derSignature(Buffer.alloc(length, 1), bytes)).toBeNull();
  });
});

const hexOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);

/** A strict reader of `SEQUENCE { INTEGER, INTEGER }`. */
function readDer(der: Buffer): bigint[] {
  let at = 2;
  expect(der[0]).toBe(0x30);
  if (der[1] === 0x81) {
    expect(der[2]).toBeGreaterThan(127);
    at = 3;
  } else expect(der[1]).toBeLessThan(128);
  expect(der[at - 1]).toBe(der.length - at);
  const numbers: bigint[] = [];
  while (at < der.length) {
    expect(der[at]).toBe(0x02);
    const length = der[at + 1] as number;
    const content = der.subarray(at + 2, at + 2 + length);
    expect(content).toHaveLength(length);
    expect((content[0] as number) < 128).toBe(true);
    if (content.length > 1 && content[0] === 0) expect(content[1]).toBeGreaterThan(127);
    numbers.push(hexOf(content));
    at += 2 + length;
  }
  expect(numbers).toHaveLength(2);
  return numbers;
}

describe('RFC 7518 §3.5: PS256', () => {
  it('takes a salt as long as the digest, and no other', () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const algorithm = SIGNATURE_ALGORITHMS.get('PS256') as SignatureAlgorithm;
    for (const [saltLength, expected] of [
      [32, true],
      [0, false],
      [20, false],
      [64, false],
    ] as const) {
      const signature = sign('sha256', Buffer.from('x'), { key: privateKey, padding: 6, saltLength });
      expect(verify('sha256', Buffer.from('x'), { key: publicKey, padding: 6, saltLength }, signature)).toBe(true);
      expect(verifySignature(algorithm, publicKey, { signingInput: 'x', signature })).toBe(expected);
    }
  });
});

describe('any bytes as a signature', () => {
  it('are refused, and nothing throws', () => {
    const keys = [
      ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
      ['PS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
      ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
      ['EdDSA', generateKeyPairSync('ed25519')],
    ] as const;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...keys), (bytes, [alg, pair]) => {
        const algorithm = SIGNATURE_ALGORITHMS.get(alg) as SignatureAlgorithm;
        const key = createPublicKey(pair.privateKey);
        expect(verifySignature(algorithm, key, { signingInput: 'x', signature: Buffer.from(bytes) })).toBe(false);
      }),
    );
  });
});
