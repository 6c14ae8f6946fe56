import { describe, expect, it } from 'vitest';
import type {
  AuthorizedRequest,
  Decision,
  DecisionFacts,
  ProofFacts,
  TokenFacts,
  VerifiedProof,
  VerifiedToken,
} from '../../src/kernel/context.ts';

/** Checked by `tsc`: each line below must be a type error, or the build fails. */
function unchecked(token: TokenFacts, proof: ProofFacts, decision: DecisionFacts): unknown[] {
  // @ts-expect-error facts alone are not a verified token
  const verifiedToken: VerifiedToken = token;
  // @ts-expect-error facts alone are not a verified proof
  const verifiedProof: VerifiedProof = proof;
  // @ts-expect-error facts alone are not the policy's decision
  const allowed: Decision = decision;
  // @ts-expect-error a literal is not an authorized request
  const authorized: AuthorizedRequest = {
    context: {} as never,
    token: {} as never,
    proof: {} as never,
    decision: {} as never,
  };
  return [verifiedToken, verifiedProof, allowed, authorized];
}

describe('nothing unchecked is forwarded', () => {
  it('is a property of the types, which the type check holds', () => {
    expect(unchecked).toBeTypeOf('function');
  });
});
