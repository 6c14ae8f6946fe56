import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import {
  type ReplayClass,
  type RequestContext,
  sealProof,
  type VerifiedProof,
  type VerifiedToken,
} from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, type MaybePromise, pass } from '../kernel/result.ts';
import { allowedAlgorithms } from '../oauth/algorithms.ts';
import { checkBinding } from './binding.ts';
import {
  type CheckedProof,
  checkDpop,
  checkPossession,
  claimedKey,
  type DpopRules,
  type KeyedRequest,
} from './dpop.ts';
import { createKeyCache, type KeyCacheStats } from './key_cache.ts';
import type { Nonces, NonceVerdict } from './nonce.ts';
import { type Claim, expiryOf, type ReplayStore, replayKey } from './replay_store.ts';

/** Stage 3: is the sender the one the token is bound to, and is the proof used for the first time. */
export interface ProofVerifier {
  /** Refuses with `proof.*`. Answers without a promise where the store does. */
  verify(context: RequestContext, token: VerifiedToken): MaybePromise<Checked<VerifiedProof>>;
  /**
   * Whether a proof that goes with no token is good for a request of the gateway's own; its single use is claimed by calling `claim`, once it
   * is certain that the key is one that matters, so that strangers fill no store. Refuses with `proof.*`.
   */
  verifyPossession(request: KeyedRequest): Checked<Possession>;
  /** The thumbprint of the key that a proof names in its header, whoever signed it; null when it names none. */
  claimedKey(headerSegment: string): string | null;
  stats(): ProofStats;
}

/** A key that was shown. */
export interface Possession {
  readonly jkt: string;
  /** Refuses with `proof.replayed` and `proof.replay_store_unavailable`. */
  claim(): MaybePromise<Checked<null>>;
}

/** Counts since start, for the metrics. */
export interface ProofStats {
  readonly keys: KeyCacheStats;
}

/** What a verifier is made of. The stores are started and closed by whoever made them. */
export interface ProofVerifierParts {
  readonly dpop: Pick<GatewayConfig['dpop'], 'algorithms' | 'max_age_seconds' | 'leeway_seconds'>;
  /** One for each class that a route has. */
  readonly stores: ReadonlyMap<ReplayClass, ReplayStore>;
  readonly nonces: Nonces;
  /** Issuers whose tokens need proofs with a nonce on every route. */
  readonly nonceIssuers: ReadonlySet<string>;
  /** Keys that are remembered at most. */
  readonly cacheSize: number;
  readonly clock: Clock;
}

/**
 * Makes the verifier of proofs: binding of the token, then the certificate, then the DPoP proof (RFC 9449 §4.3), then the nonce where one is
 * demanded (§9), then, last and atomic, the claim on its single use (§11.1). A proof refused for any other reason is not claimed.
 */
export function createProofVerifier(parts: ProofVerifierParts): ProofVerifier {
  const { dpop, clock, nonceIssuers } = parts;
  const keys = createKeyCache(parts.cacheSize);
  const rules: DpopRules = { algorithms: allowedAlgorithms(dpop.algorithms), keys, window: dpop, clock };

  return {
    verify(context, token) {
      const owed = checkBinding(context, token);
      if (!owed.ok) return owed;
      if (owed.value.method !== 'dpop') {
        const { method, thumbprint } = owed.value;
        return pass(sealProof({ method, thumbprint, certificate: null, jti: null, issuedAt: null, nonce: null }));
      }
      const { jkt, certificate } = owed.value;
      const onlyHere = context.route.replay === 'node_nonce';
      const demanded = context.route.nonceRequired || onlyHere || nonceIssuers.has(token.issuer);
      const proof = checkDpop(context, token, rules);
      if (!proof.ok) {
        // A nonce is no secret and of no use without the key: whoever got the proof wrong need not fail once more for want of one.
        return demanded
          ? deny(proof.denial.reason, { ...proof.denial, nonce: parts.nonces.give(jkt, clock()) })
          : proof;
      }
      if (!demanded) return claim(parts, context, { proof: proof.value, certificate, nonce: null });
      const nowMs = clock();
      const verdict = parts.nonces.check(proof.value.nonce, { jkt, nowMs, onlyHere });
      if (verdict === 'good') return claim(parts, context, { proof: proof.value, certificate, nonce: null });
      const nonce = parts.nonces.give(jkt, nowMs);
      if (verdict === 'due') return claim(parts, context, { proof: proof.value, certificate, nonce });
      return demand(verdict, { seen: proof.value.nonce, nonce });
    },
    verifyPossession(request) {
      const proof = checkPossession(request, rules);
      if (!proof.ok) return proof;
      return pass({ jkt: proof.value.jkt, claim: () => claimAlone(parts, request.uri, proof.value) });
    },
    claimedKey: (headerSegment) => claimedKey(headerSegment, rules),
    stats: () => ({ keys: keys.stats() }),
  };
}

/** The single use of a proof that goes with no token, in whichever store there is. */
function claimAlone(
  { stores, dpop, clock }: ProofVerifierParts,
  uri: string,
  { jkt, jti, iat }: CheckedProof,
): MaybePromise<Checked<null>> {
  const [store] = stores.values();
  if (store === undefined) return deny('proof.replay_store_unavailable');
  const claimed = store.claim(replayKey(uri, jkt, jti), expiryOf(iat, dpop), clock());
  const settleAlone = (late: Claim): Checked<null> => {
    if (late === 'first') return pass(null);
    return deny(late === 'used' ? 'proof.replayed' : 'proof.replay_store_unavailable');
  };
  return typeof claimed === 'string' ? settleAlone(claimed) : claimed.then(settleAlone);
}

/** RFC 9449 §9: asks for a proof with this nonce. */
function demand(verdict: NonceVerdict, { seen, nonce }: { seen: string | undefined; nonce: string }): Denied {
  if (seen === undefined) {
    return deny('proof.nonce_missing', { nonce, disclosure: { expected: { nonce }, seen: { nonce: 'missing' } } });
  }
  const note = NOTES[verdict] ?? verdict;
  const shown = seen.length > MAX_DISCLOSED ? `${seen.slice(0, MAX_DISCLOSED)}…` : seen;
  return deny('proof.nonce_stale', {
    nonce,
    note,
    disclosure: { expected: { nonce }, seen: { nonce: shown, problem: note } },
  });
}

const MAX_DISCLOSED = 256;
const NOTES: Partial<Record<NonceVerdict, string>> = {
  unknown: 'nonce that was not made with these secrets for this key',
  expired: 'nonce that has expired',
  elsewhere: 'nonce of another node',
};

/** A proof that lacks only its claim, and the nonce that is due to be given with the answer. */
interface Claimant {
  readonly proof: CheckedProof;
  readonly certificate: string | null;
  readonly nonce: string | null;
}

function claim(
  { stores, dpop, clock }: ProofVerifierParts,
  { route }: RequestContext,
  claimant: Claimant,
): MaybePromise<Checked<VerifiedProof>> {
  const { jkt, jti, iat } = claimant.proof;
  const store = stores.get(route.replay);
  if (store === undefined) throw new Error(`route ${route.name} has no store for ${route.replay}`);
  const claimed = store.claim(replayKey(route.resource, jkt, jti), expiryOf(iat, dpop), clock());
  return typeof claimed === 'string' ? settle(claimed, claimant) : claimed.then((late) => settle(late, claimant));
}

function settle(claimed: Claim, { proof: { jkt, jti, iat }, certificate, nonce }: Claimant): Checked<VerifiedProof> {
  if (claimed === 'first') {
    return pass(sealProof({ method: 'dpop', thumbprint: jkt, certificate, jti, issuedAt: iat, nonce }));
  }
  const given = nonce === null ? {} : { nonce };
  if (claimed !== 'used') return deny('proof.replay_store_unavailable', given);
  const disclosure = { expected: { jti: 'one that this key has not used yet' }, seen: { jti, iat } };
  return deny('proof.replayed', { ...given, disclosure });
}
