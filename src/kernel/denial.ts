import { REASONS, type Reason } from './reasons.ts';
import type { Denied } from './result.ts';

export { REASONS, type Reason, type ReasonRow, type WireError } from './reasons.ts';

/** A refusal. Everything the caller may read comes from the row of its reason; the rest is for the record or the key's holder. */
export interface Denial {
  readonly reason: Reason;
  /** For the log and the record only: what was seen, in our words. Never a token, a proof or a cookie. */
  readonly note?: string;
  /** Structured fields for the holder of the key; a stage sets it after a signature was found good, or where they say what the caller has. */
  readonly disclosure?: Disclosure;
  /** For `DPoP-Nonce` in the answer (RFC 9449 §9), where proofs must carry a nonce. */
  readonly nonce?: string;
  /** What would have sufficed, from the policy; feeds the challenge and the problem document. */
  readonly requires?: Requirements;
  /** The policy's own reason codes and messages, for the record and the problem document. */
  readonly policyReasons?: readonly PolicyReason[];
  /** Seconds for Retry-After, on 429 and 503. Absent: 1. */
  readonly retryAfterSeconds?: number;
}

/** What was expected and what was seen, told to the caller who showed its key, or to whom it is no news. */
export interface Disclosure {
  readonly expected: Readonly<Record<string, string | number>>;
  readonly seen: Readonly<Record<string, string | number>>;
}

/** What a token would need for the call to be allowed. */
export interface Requirements {
  readonly scopes?: readonly string[];
  readonly authorization_details?: readonly Readonly<Record<string, unknown>>[];
  /** Authentication context classes, one of which must be the `acr` of the token; in order of preference (RFC 9470 §3). */
  readonly acr_values?: readonly string[];
  /** Seconds that may have passed since `auth_time` of the token (RFC 9470 §3). */
  readonly max_age?: number;
}

/** One reason from the policy's answer. */
export interface PolicyReason {
  readonly code: string;
  readonly message?: string;
}

/** Refuses with a reason from the table, and optionally with what the record should say about it. */
export function deny(reason: Reason, detail: Omit<Denial, 'reason'> | string = {}): Denied {
  return { ok: false, denial: typeof detail === 'string' ? { reason, note: detail } : { reason, ...detail } };
}

/** The stage that a reason belongs to: the part before its first dot. */
export function stageOf(reason: Reason): string {
  return reason.slice(0, reason.indexOf('.'));
}

/** The HTTP status that a reason answers with. */
export function statusOf(reason: Reason): number {
  return REASONS[reason].status;
}
