import { constants, type KeyObject, verify } from 'node:crypto';
import type { SignatureAlgorithm } from './algorithms.ts';

/**
 * Verifies the signature of a JWS (RFC 7515 §5.2 step 8, RFC 7518 §3, RFC 8037 §3.1). Synchronous: with one process for each core this costs
 * less than a thread hop. ECDSA signatures are given to OpenSSL in DER with a bare KeyObject, since `ieee-p1363` and an options object
 * each cost about a third of a verification more (docs/decisions). Never throws for a bad signature.
 */
export function verifySignature(
  algorithm: SignatureAlgorithm,
  key: KeyObject,
  signed: { readonly signingInput: string; readonly signature: Buffer },
): boolean {
  const data = Buffer.from(signed.signingInput, 'latin1');
  if (algorithm.kty === 'EC') {
    const der = derSignature(signed.signature, algorithm.coordinateBytes);
    return der !== null && verify(algorithm.digest, data, key, der);
  }
  if (algorithm.pss) {
    const options = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
    return verify(algorithm.digest, data, options, signed.signature); // RFC 7518 §3.5: salt as long as the digest
  }
  return verify(algorithm.digest, data, key, signed.signature);
}

/**
 * Turns r and s, each as long as the field (RFC 7518 §3.4), into the DER form that OpenSSL reads (RFC 3279 §2.2.3). Null when the length is
 * wrong or one of them is zero (CVE-2022-21449); values not below the order of the group OpenSSL refuses itself.
 */
export function derSignature(signature: Buffer, coordinateBytes: number): Buffer | null {
  if (signature.length !== coordinateBytes * 2) return null;
  const rStart = firstSignificant(signature, 0, coordinateBytes);
  const sStart = firstSignificant(signature, coordinateBytes, coordinateBytes * 2);
  if (rStart === coordinateBytes || sStart === coordinateBytes * 2) return null;
  const rLength = integerLength(signature, rStart, coordinateBytes);
  const sLength = integerLength(signature, sStart, coordinateBytes * 2);
  const content = rLength + sLength + 4;
  const long = content > 127 ? 1 : 0; // Only P-521 needs the long form of a length.
  const der = Buffer.allocUnsafe(2 + long + content); // Every byte is written below.
  der[0] = 0x30;
  if (long === 1) der[1] = 0x81;
  der[1 + long] = content;
  const r = 2 + long;
  writeInteger(der, r, rLength, signature.subarray(rStart, coordinateBytes));
  writeInteger(der, r + 2 + rLength, sLength, signature.subarray(sStart));
  return der;
}

function firstSignificant(bytes: Buffer, from: number, to: number): number {
  let index = from;
  while (index < to && bytes[index] === 0) index++;
  return index;
}

/** Bytes of the DER integer: one more than the value's where its first bit would read as a sign. */
function integerLength(bytes: Buffer, from: number, to: number): number {
  return to - from + ((bytes[from] ?? 0) >> 7);
}

function writeInteger(der: Buffer, at: number, length: number, value: Buffer): void {
  der[at] = 0x02;
  der[at + 1] = length;
  der[at + 2] = 0; // The sign, or the value's first byte, which comes next.
  der.set(value, at + 2 + length - value.length);
}
