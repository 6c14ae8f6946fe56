import { createPublicKey, type KeyObject } from 'node:crypto';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from './algorithms.ts';
import { decodeBase64url } from './base64url.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { isJsonObject, type JsonObject } from './strict_json.ts';

/** The members of a public key that its thumbprint is made of, and nothing else (RFC 7638 §3.2, RFC 8037 §2). */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: string; readonly x: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** Members that only a private or a symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

const MIN_MODULUS_BITS = 2048;
/** A longer modulus costs milliseconds for each verification. */
const MAX_MODULUS_BITS = 4096;
/** A long exponent makes verification as slow as signing. */
const MAX_EXPONENT_BYTES = 4;

/** y of the points of small order on the curve of Ed25519, little-endian: with such a key, signatures fit that nobody had to make (RFC 8032 §8.9). */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
]);
/** y that is not below 2^255 − 19: a second spelling of a small one. */
const NOT_REDUCED = /^(?:ed|ee|ef|f.)(?:ff){30}7f$/;

/**
 * Reads a JWK as the public key of one signature algorithm: `kty` and `crv` as the algorithm asks, nothing private, coordinates and numbers
 * canonical and of the right length (so that one key has one thumbprint), an RSA modulus of 2048 to 4096 bits with a small odd exponent, and
 * `use`, `key_ops` and `alg`, where present, in agreement (RFC 7517 §4, RFC 7518 §6, RFC 9449 §4.3 checks 5 to 7). Other members do not count.
 * Whether an EC point lies on its curve shows when the key is imported.
 */
export function readPublicJwk(value: unknown, alg: string): Parsed<PublicJwk> {
  const algorithm = SIGNATURE_ALGORITHMS.get(alg);
  if (algorithm === undefined) return unparsed('algorithm unknown');
  if (!isJsonObject(value)) return unparsed('JWK not an object');
  // RFC 9449 §4.3 check 7: the key must not contain a private key.
  for (const name of PRIVATE_MEMBERS) if (Object.hasOwn(value, name)) return unparsed('JWK with a private member');
  if (value['kty'] !== algorithm.kty) return unparsed('JWK of another key type than the algorithm');
  if (!agrees(value, algorithm)) return unparsed('JWK for another use');
  return algorithm.kty === 'RSA' ? readRsa(value) : readCurve(value, algorithm);
}

/** Makes a key of a JWK that `readPublicJwk` accepted. Null when it is none after all: the point is not on the curve (RFC 7518 §6.2.1). */
export function importPublicJwk(jwk: PublicJwk): KeyObject | null {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' });
  } catch {
    return null;
  }
}

/** RFC 7517 §4.2 to §4.4: a key that says what it is for must be for verifying with this algorithm. */
function agrees(jwk: JsonObject, algorithm: SignatureAlgorithm): boolean {
  const { use, key_ops: operations, alg } = jwk;
  if (use !== undefined && use !== 'sig') return false;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return false;
  // Compared by meaning, since EdDSA and Ed25519 name one algorithm.
  return alg === undefined || (typeof alg === 'string' && SIGNATURE_ALGORITHMS.get(alg) === algorithm);
}

function readCurve(jwk: JsonObject, algorithm: SignatureAlgorithm): Parsed<PublicJwk> {
  const { crv, x, y } = jwk;
  if (typeof crv !== 'string' || crv !== algorithm.crv) return unparsed('JWK on another curve than the algorithm');
  // RFC 7518 §6.2.1.2: as long as the field, leading zeros included.
  if (!isOctets(x, algorithm.coordinateBytes)) return unparsed('JWK with a malformed coordinate');
  if (algorithm.kty === 'OKP') {
    return isEdwardsKey(x) ? parsed({ kty: 'OKP', crv, x }) : unparsed('JWK with a point that is no key');
  }
  if (!isOctets(y, algorithm.coordinateBytes)) return unparsed('JWK with a malformed coordinate');
  return parsed({ kty: 'EC', crv, x, y });
}

/** RFC 8032 §5.1.3: y in its one spelling, of a point that is not of small order. The last bit is the sign of x. */
function isEdwardsKey(x: string): boolean {
  const bytes = Buffer.from(x, 'base64url');
  bytes[31] = (bytes[31] ?? 0) & 0x7f;
  const y = bytes.toString('hex');
  return !SMALL_ORDER.has(y) && !NOT_REDUCED.test(y);
}

function isOctets(value: unknown, bytes: number): value is string {
  // The length of the text is looked at first, so that a huge one is not decoded.
  return typeof value === 'string' && value.length === Math.ceil((bytes * 4) / 3) && decodeBase64url(value) !== null;
}

function readRsa(jwk: JsonObject): Parsed<PublicJwk> {
  const { n, e } = jwk;
  const modulus = readNumber(n, MAX_MODULUS_BITS / 8);
  const exponent = readNumber(e, MAX_EXPONENT_BYTES);
  if (modulus === null || exponent === null) return unparsed('JWK with a malformed or too large RSA number');
  if (bitLength(modulus) < MIN_MODULUS_BITS) return unparsed('JWK with a short RSA modulus');
  if (!isOdd(modulus) || !isOdd(exponent) || (exponent.length === 1 && exponent[0] === 1)) {
    return unparsed('JWK with an impossible RSA number');
  }
  return parsed({ kty: 'RSA', n: n as string, e: e as string });
}

/** RFC 7518 §2, Base64urlUInt: the shortest form, without a leading zero octet. */
function readNumber(value: unknown, maxBytes: number): Buffer | null {
  if (typeof value !== 'string' || value.length > Math.ceil((maxBytes * 4) / 3)) return null;
  const bytes = decodeBase64url(value);
  return bytes === null || bytes.length === 0 || bytes[0] === 0 ? null : bytes;
}

function bitLength(number: Buffer): number {
  return number.length * 8 - (Math.clz32(number[0] ?? 0) - 24);
}

function isOdd(number: Buffer): boolean {
  return ((number.at(-1) ?? 0) & 1) === 1;
}
