import { randomUUID } from 'node:crypto';
import { type CryptoKey, type KeyObject, SignJWT } from 'jose';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { SIGNATURE_ALGORITHMS } from './algorithms.ts';
import type { PublicJwk } from './public_jwk.ts';
import { sha256Base64url } from './thumbprint.ts';

/** What a proof is made for. */
export interface ProofRequest {
  readonly privateKey: CryptoKey | KeyObject;
  /** The public half, put into the header. */
  readonly publicJwk: PublicJwk;
  /** Absent: ES256, PS256 or EdDSA by the key. */
  readonly alg?: string;
  /** The HTTP method, as it will be sent. */
  readonly method: string;
  /** The URL of the request; its query and fragment are left out of htu (RFC 9449 §4.2). */
  readonly url: string;
  /** The access token that goes with the proof; absent at the token endpoint. */
  readonly accessToken?: string;
  /** The nonce that the server asked for (RFC 9449 §8, §9). */
  readonly nonce?: string;
  readonly clock: Clock;
}

/** Makes one DPoP proof (RFC 9449 §4.2), for one request: a new attempt needs a new proof. Rejects when the key cannot sign with `alg`. */
export async function makeProof(request: ProofRequest): Promise<string> {
  const claims: Record<string, string> = { htm: request.method, htu: targetOf(request.url) };
  if (request.accessToken !== undefined) claims['ath'] = sha256Base64url(request.accessToken);
  if (request.nonce !== undefined) claims['nonce'] = request.nonce;
  return new SignJWT(claims)
    .setProtectedHeader({
      typ: 'dpop+jwt',
      alg: request.alg ?? usualAlgorithm(request.publicJwk),
      jwk: request.publicJwk,
    })
    .setJti(randomUUID())
    .setIssuedAt(secondsOf(request.clock()))
    .sign(request.privateKey);
}

/** Cut from the text rather than rebuilt by a URL parser, so that the path stays byte for byte what is sent. */
function targetOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

function usualAlgorithm(jwk: PublicJwk): string {
  if (jwk.kty === 'RSA') return 'PS256';
  for (const [name, algorithm] of SIGNATURE_ALGORITHMS) if (algorithm.crv === jwk.crv) return name;
  throw new TypeError('no signature algorithm for the curve of this key');
}
