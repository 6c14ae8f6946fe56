import { compactVerify, errors } from 'jose';
import type { Jwks } from './jwks.ts';
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

/** Finds the key of an issuer that made the signature of a compact JWS (RFC 7515 §5.2). The form of the JWS was checked before. */
export async function findSigner(text: string, wanted: WantedSigner): Promise<FoundSigner> {
  const tried: VerificationKey[] = [];
  for (;;) {
    const found = await wanted.keys.find(wanted, tried);
    if (!found.ok && tried.length > 0) break;
    if (!found.ok) return found;
    for (const key of found.keys) {
      if (tried.length === MAX_KEYS_TRIED) return { ok: false, why: 'too_many' };
      if (await isSignedBy(key, text, wanted.alg)) return { ok: true, key };
      tried.push(key);
    }
    // Without a kid, a key that was published since is looked for, as it is for an unknown kid.
    if (wanted.kid !== undefined) break;
  }
  return { ok: false, why: 'signature' };
}

async function isSignedBy(key: VerificationKey, text: string, alg: string): Promise<boolean> {
  try {
    await compactVerify(text, key.key, { algorithms: [alg] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}
