import { constants, KeyObject, type SignKeyObjectInput, sign } from 'node:crypto';
import { SIGNATURE_ALGORITHMS } from '../../src/oauth/algorithms.ts';
import type { TestKey } from './issuer.ts';

/** A part of a JWS: a text is taken byte for byte, anything else as its JSON. */
export type JwsPart = string | Buffer | Record<string, unknown>;

/** Signs any two parts, also such as no library would sign: repeated members, a byte order mark, no JSON at all. */
export function signJws(header: JwsPart, payload: JwsPart, key: TestKey): string {
  const input = `${encode(header)}.${encode(payload)}`;
  return `${input}.${signInput(input, key).toString('base64url')}`;
}

/** The signature of a signing input, r and s in a row for ECDSA (RFC 7518 §3.4). */
export function signInput(input: string, { alg, privateKey }: TestKey): Buffer {
  const algorithm = SIGNATURE_ALGORITHMS.get(alg);
  if (algorithm === undefined) throw new TypeError(`no such algorithm: ${alg}`);
  const key: SignKeyObjectInput = { key: KeyObject.from(privateKey), dsaEncoding: 'ieee-p1363' };
  if (algorithm.pss) {
    key.padding = constants.RSA_PKCS1_PSS_PADDING;
    key.saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  }
  return sign(algorithm.digest, Buffer.from(input), key);
}

function encode(part: JwsPart): string {
  const bytes = typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part);
  return Buffer.from(bytes as string).toString('base64url');
}
