import type { Disclosure } from '../kernel/denial.ts';
import type { Denied } from '../kernel/result.ts';
import { SIGNATURE_ALGORITHMS } from '../oauth/algorithms.ts';
import type { OpenedJws } from '../oauth/compact_jws.ts';
import { verifySignature } from '../oauth/jws_signature.ts';
import { importPublicJwk, readPublicJwk } from '../oauth/public_jwk.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { jwkThumbprint } from '../oauth/thumbprint.ts';
import type { HeaderRules } from './dpop_header.ts';

/** A proof whose header was refused. */
export interface RefusedHeader {
  readonly header: JsonObject;
  readonly jws: OpenedJws;
  /** The thumbprint that the token is bound to. */
  readonly bound: string | undefined;
}

const MAX_SHOWN = 64;

/**
 * Adds to the refusal of a header (`proof.type`, `proof.algorithm`, `proof.critical_header`) what was expected and what was seen, when the
 * holder of the token's key signed the proof all the same: its type may be another, its algorithm one that is not allowed here. Nothing is
 * computed with a key that the token is not bound to, and nobody else is told anything.
 */
export function explainHeader(denied: Denied, refused: RefusedHeader, rules: HeaderRules): Denied {
  const disclosure = disclosureOf(denied, refused.header, rules);
  return disclosure !== null && isSignedByHolder(refused)
    ? { ok: false, denial: { ...denied.denial, disclosure } }
    : denied;
}

function disclosureOf({ denial }: Denied, header: JsonObject, { algorithms }: HeaderRules): Disclosure | null {
  switch (denial.reason) {
    case 'proof.type':
      return { expected: { typ: 'dpop+jwt' }, seen: { typ: shown(header['typ']) } };
    case 'proof.algorithm':
      return { expected: { alg: [...algorithms.keys()].join(' ') }, seen: { alg: shown(header['alg']) } };
    case 'proof.critical_header':
      return {
        expected: { crit: 'absent', b64: 'absent' },
        seen: { crit: kindOf(header['crit']), b64: kindOf(header['b64']) },
      };
    default:
      return null;
  }
}

function isSignedByHolder({ header, jws, bound }: RefusedHeader): boolean {
  const { alg } = header;
  const algorithm = typeof alg === 'string' ? SIGNATURE_ALGORITHMS.get(alg) : undefined;
  if (typeof alg !== 'string' || algorithm === undefined) return false;
  const jwk = readPublicJwk(header['jwk'], alg);
  if (!jwk.ok || jwkThumbprint(jwk.value) !== bound) return false;
  const key = importPublicJwk(jwk.value);
  return key !== null && verifySignature(algorithm, key, jws);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_SHOWN) : kindOf(value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `of the type ${typeof value}`;
}
