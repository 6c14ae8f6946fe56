import { createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { BundleKeyConfig, BundleSigningConfig } from '../config/policy_schema.ts';
import type { BundleVerification } from '../rego/bundle.ts';

/** Bytes of a file with a key. */
const KEY_LIMIT_BYTES = 65_536;
/** Bits that an RSA key must have (RFC 7518 §3.3). */
const RSA_BITS = 2048;
/** Bytes that a shared secret must have (RFC 7518 §3.2: as long as the output of the hash). */
const SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const CURVES: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };

/**
 * What the signature of a bundle must satisfy, with the keys read from their files; undefined where none is configured. The algorithm
 * comes from the configuration of the key, never from what arrives.
 * @throws Error that names the file and says what is wrong with it
 */
export function readVerification(
  signing: BundleSigningConfig | undefined,
  keys: readonly BundleKeyConfig[],
): BundleVerification | undefined {
  if (signing === undefined) return undefined;
  const usable = keys.filter(({ id }) => signing.key === undefined || id === signing.key);
  const read = usable.map((key) => {
    const scope = key.scope === undefined ? {} : { scope: key.scope };
    return [key.id, { key: readKey(key), algorithm: key.algorithm, ...scope }] as const;
  });
  return {
    keys: Object.fromEntries(read),
    ...(signing.key === undefined ? {} : { keyId: signing.key }),
    ...(signing.scope === undefined ? {} : { scope: signing.scope }),
  };
}

function readKey({ id, algorithm, public_key_file, secret_file }: BundleKeyConfig): string {
  if (secret_file !== undefined) return readSecret(secret_file, algorithm);
  const file = public_key_file ?? '';
  const text = readText(file);
  // OPA's verifier would take the public part of a private key, which does not belong on this machine.
  if (text.includes('PRIVATE KEY')) throw new Error(`${file}: expected the public key of ${id}; it is a private one`);
  const problem = problemOf(parsePublicKey(text), algorithm);
  if (problem !== null) throw new Error(`${file}: expected a public key in PEM form for ${algorithm}: ${problem}`);
  return text;
}

function readSecret(file: string, algorithm: string): string {
  const secret = readText(file).replace(/\r?\n$/, '');
  const least = SECRET_BYTES[algorithm] ?? 0;
  if (Buffer.byteLength(secret) < least)
    throw new Error(`${file}: a secret for ${algorithm} has at least ${least} bytes`);
  if (secret.includes('-----BEGIN')) throw new Error(`${file}: expected a shared secret; it is a key in PEM form`);
  return secret;
}

function readText(file: string): string {
  try {
    if (statSync(file).size > KEY_LIMIT_BYTES) throw new Error(`it has more than ${KEY_LIMIT_BYTES} bytes`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`${file}: cannot be read: ${code === 'ENOENT' ? 'there is no such file' : message}`);
  }
}

function parsePublicKey(text: string): KeyObject | null {
  try {
    return createPublicKey(text);
  } catch {
    return null;
  }
}

function problemOf(key: KeyObject | null, algorithm: string): string | null {
  if (key === null) return 'it cannot be read as one';
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key;
  if (algorithm.startsWith('ES')) {
    return type === 'ec' && details.namedCurve === CURVES[algorithm] ? null : 'it is for another algorithm';
  }
  if (algorithm === 'EdDSA') return type === 'ed25519' ? null : 'it is for another algorithm';
  if (type !== 'rsa') return 'it is for another algorithm';
  return (details.modulusLength ?? 0) >= RSA_BITS ? null : `it has fewer than ${RSA_BITS} bits`;
}
