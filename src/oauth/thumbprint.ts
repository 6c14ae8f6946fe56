import { hash } from 'node:crypto';
import type { PublicJwk } from './public_jwk.ts';

/** base64url(SHA-256(text as UTF-8)): `ath` of an access token (RFC 9449 §4.2), and every digest by which something secret is remembered. */
export function sha256Base64url(data: string | Uint8Array): string {
  return hash('sha256', data, 'base64url');
}

/**
 * The SHA-256 thumbprint of a public key, base64url (RFC 7638 §3): the required members in the order of their names, without white space.
 * Takes only what `readPublicJwk` accepted, whose values need no escaping.
 */
export function jwkThumbprint(jwk: PublicJwk): string {
  return sha256Base64url(thumbprintInput(jwk));
}

/** `x5t#S256` of a certificate in DER form (RFC 8705 §3.1, RFC 7515 §4.1.8). */
export function certificateThumbprint(der: Uint8Array): string {
  return sha256Base64url(der);
}

function thumbprintInput(jwk: PublicJwk): string {
  if (jwk.kty === 'EC') return `{"crv":"${jwk.crv}","kty":"EC","x":"${jwk.x}","y":"${jwk.y}"}`;
  if (jwk.kty === 'OKP') return `{"crv":"${jwk.crv}","kty":"OKP","x":"${jwk.x}"}`; // RFC 8037 §2
  return `{"e":"${jwk.e}","kty":"RSA","n":"${jwk.n}"}`;
}
