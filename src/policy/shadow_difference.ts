import type { ShadowDifference } from '../kernel/context.ts';
import type { Reason } from '../kernel/denial.ts';
import type { Checked } from '../kernel/result.ts';
import type { Allowance } from './output.ts';
import { canonical } from './same_value.ts';

/** Reasons of a policy that was asked and gave no usable answer. */
const FAILURES: ReadonlySet<Reason> = new Set<Reason>([
  'policy.failed',
  'policy.undefined',
  'policy.malformed',
  'policy.unknown_obligation',
]);

/** What one policy made of a request: allowed, or refused and why. */
export type Judgement = Checked<Allowance>;

/** How the candidate's judgement differs from the live one; messages of reasons do not count, nor does the order of a list. */
export function differenceOf(live: Judgement, candidate: Judgement): ShadowDifference {
  if (live.ok && candidate.ok) {
    if (textOf(live.value) !== textOf(candidate.value)) return 'obligations';
    return codesOf(live) === codesOf(candidate) ? 'none' : 'reasons';
  }
  if (candidate.ok) return 'allows';
  if (FAILURES.has(candidate.denial.reason) && (live.ok || live.denial.reason !== candidate.denial.reason))
    return 'fails';
  if (live.ok) return 'refuses';
  if (live.denial.reason !== candidate.denial.reason || codesOf(live) !== codesOf(candidate)) return 'reasons';
  return canonical(live.denial.requires ?? {}) === canonical(candidate.denial.requires ?? {}) ? 'none' : 'requires';
}

/** One word for a judgement: `allow`, or the first of the policy's own codes in alphabetical order, or else the gateway's reason. */
export function wordFor(judgement: Judgement): string {
  if (judgement.ok) return 'allow';
  return sortedCodes(judgement)[0] ?? judgement.denial.reason;
}

function textOf({ obligations }: Allowance): string {
  // Pairs as members: the order of a name and its value is no order of a list.
  return canonical({ ...obligations, setHeaders: Object.fromEntries(obligations.setHeaders) });
}

function codesOf(judgement: Judgement): string {
  return [...new Set(sortedCodes(judgement))].join();
}

function sortedCodes(judgement: Judgement): string[] {
  const reasons = judgement.ok ? judgement.value.reasons : (judgement.denial.policyReasons ?? []);
  return reasons.map(({ code }) => code).sort();
}
