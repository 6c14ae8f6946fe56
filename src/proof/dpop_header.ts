import type { KeyObject } from 'node:crypto';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { SignatureAlgorithm } from '../oauth/algorithms.ts';
import { importPublicJwk, readPublicJwk } from '../oauth/public_jwk.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';

/** The key that a proof says it is signed with. */
export interface ProofKey {
  readonly algorithm: SignatureAlgorithm;
  /** RFC 7638 thumbprint, computed from the header. */
  readonly jkt: string;
  readonly key: KeyObject;
}

/** What the header of a proof is judged by. */
export interface HeaderRules {
  readonly algorithms: ReadonlyMap<string, SignatureAlgorithm>;
}

/**
 * Reads the JOSE header of a proof (RFC 9449 §4.2; §4.3 checks 4, 5 and 7). Refuses with proof.type, proof.algorithm,
 * proof.critical_header and proof.key, in this order.
 */
export function readProofHeader(header: JsonObject, rules: HeaderRules): Checked<ProofKey> {
  if (!isProofType(header['typ'])) return deny('proof.type');
  const alg = header['alg'];
  const algorithm = typeof alg === 'string' ? rules.algorithms.get(alg) : undefined;
  if (typeof alg !== 'string' || algorithm === undefined) return deny('proof.algorithm');
  // RFC 7515 §4.1.11: none is understood here. RFC 7797 §6: b64 changes what is signed.
  if (header['crit'] !== undefined || header['b64'] !== undefined) return deny('proof.critical_header');
  const jwk = readPublicJwk(header['jwk'], alg);
  if (!jwk.ok) return deny('proof.key', jwk.problem);
  const jkt = jwkThumbprint(jwk.value);
  const key = importPublicJwk(jwk.value);
  return key === null ? deny('proof.key', 'JWK with a point that is not on its curve') : pass({ algorithm, jkt, key });
}

/** RFC 9449 §4.3 check 4. A media type, so compared without case and with `application/` understood (RFC 7515 §4.1.9). */
function isProofType(typ: unknown): boolean {
  if (typ === 'dpop+jwt') return true;
  if (typeof typ !== 'string' || typ.length > 32) return false;
  const name = typ.toLowerCase();
  return name === 'dpop+jwt' || name === 'application/dpop+jwt';
}
