import { SIGNATURE_ALGORITHMS } from './algorithms.ts';
import type { OpenedJws } from './compact_jws.ts';
import type { Jwks } from './jwks.ts';
import { verifySignature } from './jws_signature.ts';
import type { VerificationKey } from './key_set.ts';

/** Signatures that are computed for one JWS at most: several keys may share a `kid`, and all keys fit a JWS without one. */
const MAX_KEYS_TRIED = 4;

/** Whose signature a JWS must carry. */
export interface WantedSigner {
  readonly keys: Jwks;
  /** An algorithm that is allowed here. */
  readonly alg: string;
  readonly kid: string | undefined;
}

/** The key that signed, or why none did. `unavailable`: the keys cannot be had, so nothing can be said. */
export type FoundSigner =
  | { readonly ok: true; readonly key: VerificationKey }
  | { readonly ok: false; readonly why: 'unknown' | 'too_many' | 'signature' }
  | { readonly ok: false; readonly why: 'unavailable'; readonly retryAfterMs: number };

/** Finds the key of an issuer that made the signature of a JWS (RFC 7515 §5.2). */
export async function findSigner(jws: OpenedJws, wanted: WantedSigner): Promise<FoundSigner> {
  const algorithm = SIGNATURE_ALGORITHMS.get(wanted.alg);
  if (algorithm === undefined) return { ok: false, why: 'signature' };
  const tried: VerificationKey[] = [];
  for (;;) {
    const found = await wanted.keys.find(wanted, tried);
    if (!found.ok && tried.length > 0) break;
    if (!found.ok) return found;
    for (const key of found.keys) {
      if (tried.length === MAX_KEYS_TRIED) return { ok: false, why: 'too_many' };
      if (verifySignature(algorithm, key.key, jws)) return { ok: true, key };
      tried.push(key);
    }
    // Without a kid, a key that was published since is looked for, as it is for an unknown kid.
    if (wanted.kid !== undefined) break;
  }
  return { ok: false, why: 'signature' };
}
