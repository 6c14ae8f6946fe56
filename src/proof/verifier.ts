import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { type RequestContext, sealProof, type VerifiedProof, type VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type MaybePromise, pass } from '../kernel/result.ts';
import { allowedAlgorithms } from '../oauth/algorithms.ts';
import { checkBinding } from './binding.ts';
import { type CheckedProof, checkDpop, type DpopRules } from './dpop.ts';
import { createKeyCache, type KeyCacheStats } from './key_cache.ts';
import { type Claim, expiryOf, type ReplayStats, type ReplayStore, replayKey } from './replay_store.ts';

/** Stage 3: is the sender the one the token is bound to, and is the proof used for the first time. */
export interface ProofVerifier {
  /** Refuses with `proof.*`. Answers without a promise where the store does. */
  verify(context: RequestContext, token: VerifiedToken): MaybePromise<Checked<VerifiedProof>>;
  stats(): ProofStats;
}

/** Counts since start, for the metrics. */
export interface ProofStats {
  readonly keys: KeyCacheStats;
  readonly replay: ReplayStats;
}

/** What a verifier is made of. The store is started and closed by whoever made it. */
export interface ProofVerifierParts {
  readonly dpop: GatewayConfig['dpop'];
  readonly store: ReplayStore;
  readonly clock: Clock;
}

/**
 * Makes the verifier of proofs: binding of the token, then the certificate, then the DPoP proof (RFC 9449 §4.3), then, last and atomic, the
 * claim on its single use (§11.1). A proof refused for any other reason is not claimed.
 */
export function createProofVerifier({ dpop, store, clock }: ProofVerifierParts): ProofVerifier {
  const keys = createKeyCache();
  const rules: DpopRules = { algorithms: allowedAlgorithms(dpop.algorithms), keys, window: dpop, clock };

  return {
    verify(context, token) {
      const owed = checkBinding(context, token);
      if (!owed.ok) return owed;
      if (owed.value.method !== 'dpop') {
        const { method, thumbprint } = owed.value;
        return pass(sealProof({ method, thumbprint, jti: null, issuedAt: null }));
      }
      const proof = checkDpop(context, token, rules);
      if (!proof.ok) return proof;
      const key = replayKey(context.route.resource, proof.value.jkt, proof.value.jti);
      const claim = store.claim(key, expiryOf(proof.value.iat, dpop), clock());
      return typeof claim === 'string' ? settle(claim, proof.value) : claim.then((late) => settle(late, proof.value));
    },
    stats: () => ({ keys: keys.stats(), replay: store.stats() }),
  };
}

function settle(claim: Claim, proof: CheckedProof): Checked<VerifiedProof> {
  if (claim === 'first') {
    return pass(sealProof({ method: 'dpop', thumbprint: proof.jkt, jti: proof.jti, issuedAt: proof.iat }));
  }
  return deny(claim === 'used' ? 'proof.replayed' : 'proof.replay_store_unavailable');
}
