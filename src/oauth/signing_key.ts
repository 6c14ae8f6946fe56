import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { type PublicJwk, readPublicJwk } from './public_jwk.ts';
import { jwkThumbprint } from './thumbprint.ts';

/** A key pair that signs assertions or proofs. */
export interface SigningKey {
  readonly privateKey: CryptoKey;
  /** Extractable, since a proof carries it. */
  readonly publicKey: CryptoKey;
  readonly publicJwk: PublicJwk;
  /** SHA-256 thumbprint of the public key (RFC 7638): `jkt` of the tokens bound to it. */
  readonly thumbprint: string;
  readonly alg: string;
  /** The name under which the other side knows the key, where the JWK has one. */
  readonly kid: string | null;
}

/** Makes a P-256 key as a private JWK, to be stored where only its owner can read it. */
export async function generatePrivateJwk(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: 'ES256' };
}

/** Makes a key whose private half cannot leave this process: it lives as long as the process, or the last who holds it. */
export async function generateSigningKey(alg: 'ES256' | 'EdDSA'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: false });
  const read = readPublicJwk(await exportJWK(publicKey), alg);
  if (!read.ok) throw new TypeError(`the key cannot be used: ${read.problem}`);
  const publicJwk = read.value;
  return { privateKey, publicKey, publicJwk, thumbprint: jwkThumbprint(publicJwk), alg, kid: null };
}

/** Makes a key of a private JWK: P-256 (ES256), Ed25519 (EdDSA) or RSA (PS256). The private half cannot be exported again. @throws TypeError */
export async function importSigningKey(jwk: JWK): Promise<SigningKey> {
  const alg = algorithmOf(jwk);
  const publicJwk = publicPartOf(jwk);
  return {
    privateKey: (await importJWK(jwk, alg, { extractable: false })) as CryptoKey,
    publicKey: (await importJWK(publicJwk, alg, { extractable: true })) as CryptoKey,
    publicJwk,
    thumbprint: jwkThumbprint(publicJwk),
    alg,
    kid: jwk.kid ?? null,
  };
}

/** The public half of a private JWK that `importSigningKey` would take. @throws TypeError that says why it would not */
export function publicPartOf(jwk: JWK): PublicJwk {
  const { kty, crv, x, y, n, e } = jwk;
  const members = kty === 'RSA' ? { kty, n, e } : kty === 'OKP' ? { kty, crv, x } : { kty, crv, x, y };
  const read = readPublicJwk(members, algorithmOf(jwk));
  if (!read.ok) throw new TypeError(`the key cannot be used: ${read.problem}`);
  if (typeof jwk.d !== 'string') throw new TypeError('the key has no private part');
  return read.value;
}

function algorithmOf(jwk: JWK): string {
  if (jwk.kty === 'RSA') return 'PS256';
  if (jwk.kty === 'OKP') return 'EdDSA';
  return 'ES256';
}
