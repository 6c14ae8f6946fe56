import {
  type AuthorizedRequest,
  type Decision,
  type Evidence,
  type RequestContext,
  sealAuthorized,
  type VerifiedProof,
  type VerifiedToken,
} from './context.ts';
import type { Checked, MaybePromise } from './result.ts';

/** The checks that stand between a well-formed request and the upstream, one for each stage. The evidence is for timings and the record. */
export interface Checks {
  /** Stage 2: who, for whom, with what rights. Refuses with `token.*`. */
  verifyToken(context: RequestContext, evidence: Evidence): MaybePromise<Checked<VerifiedToken>>;
  /** Stage 3: is the sender the one the token is bound to, and is the proof used for the first time. Refuses with `proof.*`. */
  verifyProof(context: RequestContext, token: VerifiedToken, evidence: Evidence): MaybePromise<Checked<VerifiedProof>>;
  /** Stage 1 again, for routes whose policy sees the body: the context with its body. Refuses with `request.body_*`. */
  readBody(context: RequestContext, evidence: Evidence): MaybePromise<Checked<RequestContext>>;
  /** Stage 4: may it. Refuses with `policy.*`. */
  decide(context: RequestContext, token: VerifiedToken, proof: VerifiedProof, evidence: Evidence): Checked<Decision>;
  /** What the policy allows only so often. Refuses with `rate.*`. */
  admit(authorized: AuthorizedRequest): MaybePromise<Checked<AuthorizedRequest>>;
}

/** The order of checks. Every way to the upstream passes through here, and each refusal ends it. */
export async function check(
  received: RequestContext,
  checks: Checks,
  evidence: Evidence,
): Promise<Checked<AuthorizedRequest>> {
  const token = await checks.verifyToken(received, evidence);
  if (!token.ok) return token;
  evidence.token = token.value;

  const proof = await checks.verifyProof(received, token.value, evidence);
  if (!proof.ok) return proof;
  evidence.proof = proof.value;

  const read = await checks.readBody(received, evidence);
  if (!read.ok) return read;
  const context = read.value;
  evidence.context = context;

  const decision = checks.decide(context, token.value, proof.value, evidence);
  if (!decision.ok) return decision;
  evidence.decision = decision.value;

  return checks.admit(sealAuthorized({ context, token: token.value, proof: proof.value, decision: decision.value }));
}
