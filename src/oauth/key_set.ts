import type { KeyObject } from 'node:crypto';
import { SIGNATURE_ALGORITHMS } from './algorithms.ts';
import { type Parsed, parsed, unparsed } from './parsed.ts';
import { importPublicJwk, type PublicJwk, readPublicJwk } from './public_jwk.ts';
import { isJsonObject, type JsonObject } from './strict_json.ts';
import { jwkThumbprint } from './thumbprint.ts';

/** A public key of a JWK Set that signatures can be verified with, imported once. */
export interface VerificationKey {
  readonly kid: string | null;
  /** The signature algorithms that the key is for (RFC 7517 §4.4); where it names none, those that its type and curve allow. */
  readonly algorithms: readonly string[];
  /** RFC 7638. */
  readonly thumbprint: string;
  readonly key: KeyObject;
}

/** The key that a JWS header asks for. */
export interface WantedKey {
  /** Undefined where the header has none. */
  readonly kid: string | undefined;
  readonly alg: string;
}

/** Keys that one set may hold; a larger one is refused whole, since leaving out some would depend on their order. */
export const MAX_KEYS = 64;

/**
 * The usable keys of a JWK Set (RFC 7517 §5), immutable. A key that is still published with the same `kid` and algorithms is the same object
 * in the next set, so that what was verified with it can be told from what was verified with a key that is gone.
 */
export class KeySet {
  readonly keys: readonly VerificationKey[];
  /** Keys in the document that cannot verify a signature: symmetric, private, for encryption, too weak, unknown, malformed. */
  readonly skipped: number;
  readonly #members: ReadonlySet<VerificationKey>;

  constructor(keys: readonly VerificationKey[], skipped: number) {
    this.keys = keys;
    this.skipped = skipped;
    this.#members = new Set(keys);
  }

  /** Whether this very key is in the set. */
  has(key: VerificationKey): boolean {
    return this.#members.has(key);
  }

  /** The keys that may have signed: of this `kid` and for this `alg`; without a `kid`, all that are for `alg` (RFC 7515 §4.1.4). */
  fitting(wanted: WantedKey): readonly VerificationKey[] {
    return this.keys.filter(
      (key) => (wanted.kid === undefined || key.kid === wanted.kid) && key.algorithms.includes(wanted.alg),
    );
  }
}

/** Reads a JWK Set. Keys that cannot be used are skipped (RFC 7517 §5), so that one of them does not take the others down. */
export function readKeySet(document: unknown, previous: KeySet | null): Parsed<KeySet> {
  const entries = isJsonObject(document) ? document['keys'] : undefined;
  if (!Array.isArray(entries)) return unparsed('the keys are not a JWK Set');
  if (entries.length > MAX_KEYS) return unparsed(`the JWK Set has more than ${MAX_KEYS} keys`);
  const keys: VerificationKey[] = [];
  for (const entry of entries) {
    const key = isJsonObject(entry) ? readKey(entry, previous) : null;
    if (key !== null) keys.push(key);
  }
  return parsed(new KeySet(keys, entries.length - keys.length));
}

function readKey(entry: JsonObject, previous: KeySet | null): VerificationKey | null {
  const kid = entry['kid'] ?? null;
  if (kid !== null && typeof kid !== 'string') return null;
  const algorithms: string[] = [];
  let jwk: PublicJwk | null = null;
  for (const alg of SIGNATURE_ALGORITHMS.keys()) {
    const read = readPublicJwk(entry, alg);
    if (!read.ok) continue;
    algorithms.push(alg);
    jwk = read.value;
  }
  if (jwk === null) return null;
  const thumbprint = jwkThumbprint(jwk);
  const known = previous?.keys.find((key) => key.thumbprint === thumbprint && key.kid === kid);
  if (known !== undefined && known.algorithms.join() === algorithms.join()) return known;
  const key = known?.key ?? importPublicJwk(jwk);
  return key === null ? null : { kid, algorithms, thumbprint, key };
}
