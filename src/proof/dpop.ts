import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { RequestContext, VerifiedToken } from '../kernel/context.ts';
import { type Disclosure, deny, type Reason } from '../kernel/denial.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';
import { type OpenedJws, openCompactJws, parseJwsHeader } from '../oauth/compact_jws.ts';
import { verifySignature } from '../oauth/jws_signature.ts';
import { refuseOtherKey } from './binding.ts';
import { findClaimProblem, type ProofClaims, RULES_WITHOUT_TOKEN } from './dpop_claims.ts';
import { type HeaderRules, type ProofKey, readProofHeader } from './dpop_header.ts';
import { explainHeader, type RefusedHeader } from './header_refusal.ts';
import { namesTarget } from './htu.ts';
import type { KeyCache } from './key_cache.ts';
import type { ProofWindow } from './replay_store.ts';

/** What proofs are judged by. */
export interface DpopRules extends HeaderRules {
  readonly keys: KeyCache;
  readonly window: ProofWindow;
  readonly clock: Clock;
}

/** A proof that is good in itself and was not yet claimed. */
export interface CheckedProof {
  readonly jkt: string;
  readonly jti: string;
  /** Seconds since the Unix epoch, as in the proof. */
  readonly iat: number;
  /** The `nonce` claim, not yet judged. */
  readonly nonce: string | undefined;
}

/** A proof of an RSA key of 4096 bits takes about 2.5 KB. */
const BOUNDS = { maxBytes: 8192 };
const MAX_DISCLOSED = 1024;

/**
 * Checks one DPoP proof for this request and this token: all of RFC 9449 §4.3 but the single use. The order is fixed: form, header, claims,
 * method, URI, key, signature, time, token hash; the first that fails is the reason. Nothing is computed with a key that the token is
 * not bound to. (A nonce, where one is demanded, is checked by the verifier after the token hash, before the claim.)
 */
export function checkDpop(context: RequestContext, token: VerifiedToken, rules: DpopRules): Checked<CheckedProof> {
  if (context.proof === null) return deny('proof.missing'); // Check 1; that there is not more than one, stage 1 saw.
  const jws = openCompactJws(context.proof, BOUNDS); // Check 2
  if (!jws.ok) return deny('proof.malformed', jws.problem);
  const proofKey = keyOf(jws.value.headerSegment, rules); // Checks 2, 4, 5, 7
  if (!proofKey.ok) return refuseHeader(proofKey, { jws: jws.value, bound: token.confirmation.jkt }, rules);
  const sender: Sender = { jws: jws.value, proofKey: proofKey.value, bound: token.confirmation.jkt };

  const problem = findClaimProblem(jws.value.payload); // Check 3
  if (problem !== null) {
    const { claim, expected, seen } = problem;
    return refuseUnverified('proof.claims', sender, { expected: { [claim]: expected }, seen: { [claim]: seen } });
  }
  const claims = jws.value.payload as unknown as ProofClaims;
  const mismatch = compareRequest(context, claims, sender);
  if (mismatch !== null) return mismatch;

  // Check 12, second part, before the signature: nobody makes the gateway compute with keys of their own.
  if (proofKey.value.jkt !== sender.bound) return refuseOtherKey(token, { jkt: proofKey.value.jkt });
  if (!isSigned(sender)) return deny('proof.signature'); // Check 6
  rules.keys.keep(jws.value.headerSegment, proofKey.value);

  const untimely = checkTimes(claims, rules);
  if (untimely !== null) return untimely;
  if (claims.ath !== token.digest) {
    return refuse('proof.token_hash', { ath: token.digest }, { ath: clip(claims.ath) }); // Check 12, first part
  }
  return pass({ jkt: proofKey.value.jkt, jti: claims.jti, iat: claims.iat, nonce: claims.nonce });
}

/** A request that only a key speaks for. */
export interface KeyedRequest {
  readonly proof: string;
  readonly method: string;
  /** Absolute, without query. */
  readonly uri: string;
}

/**
 * Checks a DPoP proof that stands alone, without an access token: RFC 9449 §4.3 but for check 12 and the single use. Refuses as `checkDpop`
 * does; nothing is told of what was seen.
 */
export function checkPossession({ proof, method, uri }: KeyedRequest, rules: DpopRules): Checked<CheckedProof> {
  const jws = openCompactJws(proof, BOUNDS);
  if (!jws.ok) return deny('proof.malformed', jws.problem);
  const proofKey = keyOf(jws.value.headerSegment, rules);
  if (!proofKey.ok) return proofKey;
  if (findClaimProblem(jws.value.payload, RULES_WITHOUT_TOKEN) !== null) return deny('proof.claims');
  const claims = jws.value.payload as unknown as ProofClaims;
  if (claims.htm !== method) return deny('proof.method');
  if (!namesTarget(claims.htu, uri)) return deny('proof.target');
  const { jkt } = proofKey.value;
  if (!isSigned({ jws: jws.value, proofKey: proofKey.value, bound: jkt })) return deny('proof.signature');
  return checkTimes(claims, rules) ?? pass({ jkt, jti: claims.jti, iat: claims.iat, nonce: claims.nonce });
}

/** The thumbprint of the key that the header of a proof carries, whoever signed it; null when there is none that could sign. */
export function claimedKey(headerSegment: string, rules: HeaderRules): string | null {
  const header = parseJwsHeader(headerSegment, BOUNDS);
  if (!header.ok) return null;
  const key = readProofHeader(header.value, rules);
  return key.ok ? key.value.jkt : null;
}

/** The key that the header of the proof carries: known from an earlier proof with the same header, or read. */
function keyOf(headerSegment: string, rules: DpopRules): Checked<ProofKey> {
  const known = rules.keys.find(headerSegment);
  if (known !== undefined) return pass(known);
  const header = parseJwsHeader(headerSegment, BOUNDS);
  return header.ok ? readProofHeader(header.value, rules) : deny('proof.malformed', header.problem);
}

/** Refuses a header; the holder of the key is told more. */
function refuseHeader(denied: Denied, proof: Omit<RefusedHeader, 'header'>, rules: DpopRules): Denied {
  const header = parseJwsHeader(proof.jws.headerSegment, BOUNDS);
  return header.ok ? explainHeader(denied, { ...proof, header: header.value }, rules) : denied;
}

/** The key that seems to have signed the proof, and what is needed to find out whether it did. */
interface Sender {
  readonly jws: OpenedJws;
  readonly proofKey: ProofKey;
  /** The thumbprint that the token is bound to. */
  readonly bound: string | undefined;
}

function isSigned(sender: Sender): boolean {
  return verifySignature(sender.proofKey.algorithm, sender.proofKey.key, sender.jws);
}

/** Checks 8 and 9: the proof is for this method, exactly, and for this URI. */
function compareRequest(context: RequestContext, claims: ProofClaims, sender: Sender): Denied | null {
  if (claims.htm !== context.method) {
    const disclosure = { expected: { htm: context.method }, seen: { htm: clip(claims.htm) } };
    return refuseUnverified('proof.method', sender, disclosure);
  }
  const target = context.route.origin + context.target.path;
  if (namesTarget(claims.htu, target)) return null;
  return refuseUnverified('proof.target', sender, { expected: { htu: target }, seen: { htu: clip(claims.htu) } });
}

/** Check 11, and what RFC 7519 §4.1.4 and §4.1.5 ask where the claims are present. */
function checkTimes(claims: ProofClaims, rules: DpopRules): Denied | null {
  const now = secondsOf(rules.clock());
  const latest = now + rules.window.leeway_seconds;
  const earliest = now - rules.window.max_age_seconds;
  const { iat, exp, nbf } = claims;
  if (iat < earliest) return refuse('proof.too_old', { server_time: now, earliest, latest }, { iat });
  if (iat > latest) return refuse('proof.issued_in_future', { server_time: now, earliest, latest }, { iat });
  if (exp !== undefined && exp <= now) return refuse('proof.expired', { server_time: now }, { exp });
  if (nbf !== undefined && nbf > latest) return refuse('proof.not_yet_valid', { server_time: now, latest }, { nbf });
  return null;
}

/** Refuses a proof whose signature was found good, and tells its sender what was expected and what was seen. */
function refuse(reason: Reason, expected: Disclosure['expected'], seen: Disclosure['seen']): Denied {
  return deny(reason, { disclosure: { expected, seen } });
}

/**
 * Refuses a proof before its signature was due. The reason stands; but the holder of the token's key is told more, so the signature is
 * looked at now. That costs no more than a wrong signature does, and nothing for keys that the token is not bound to.
 */
function refuseUnverified(reason: Reason, sender: Sender, disclosure: Disclosure): Denied {
  const holder = sender.proofKey.jkt === sender.bound && isSigned(sender);
  return deny(reason, holder ? { disclosure } : {});
}

function clip(text: string): string {
  return text.length <= MAX_DISCLOSED ? text : `${text.slice(0, MAX_DISCLOSED)}…`;
}
