import {
  type Decision,
  type Evidence,
  type RequestContext,
  sealDecision,
  type VerifiedProof,
  type VerifiedToken,
} from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { buildInput } from './input.ts';
import type { LoadedPolicy } from './load.ts';
import { readAnswer } from './output.ts';
import { checkUserAuthentication } from './user_authentication.ts';

/** Stage 4: may it. Notes input, answer and revision in the evidence. Refuses with `policy.*`. */
export type Decide = (
  context: RequestContext,
  token: VerifiedToken,
  proof: VerifiedProof,
  evidence: Evidence,
) => Checked<Decision>;

/** UTF-16 units of a failure's message that are kept: it may hold text of the policy's making. */
export const MESSAGE_LENGTH = 256;

/** Makes stage 4. `policy` yields the policy of the moment, and is asked once for each request, so that one version judges it whole. */
export function createDecider(parts: { readonly policy: () => LoadedPolicy }): Decide {
  const { policy } = parts;
  return (context, token, proof, evidence) => {
    const live = policy();
    evidence.policyRevision = live.revision;
    if (live.bundles !== undefined) evidence.policyBundles = live.bundles;
    const input = buildInput(context, token, proof);
    if (!input.ok) return input;
    evidence.policyInput = input.value;
    let values: readonly unknown[];
    try {
      values = live.evaluate(input.value, context.receivedAt);
    } catch (error) {
      return deny('policy.failed', (error as Error).message.slice(0, MESSAGE_LENGTH));
    }
    evidence.policyResult = values[0];
    const answer = readAnswer(values);
    if (!answer.ok) return answer;
    const { reasons, obligations } = answer.value;
    const decision = pass(sealDecision({ obligations, revision: live.revision, result: values[0], reasons }));
    return checkUserAuthentication(decision, token, context.receivedAt);
  };
}
