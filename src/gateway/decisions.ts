import { outcomeOf } from '../audit/summary.ts';
import type { Evidence } from '../kernel/context.ts';
import {
  type Disclosure,
  type PolicyReason,
  REASONS,
  type Reason,
  type Requirements,
  stageOf,
} from '../kernel/denial.ts';
import { redactText } from '../telemetry/redact.ts';

/** What is remembered of a decision, to be told to those who may know of it. */
export interface RememberedDecision {
  readonly id: string;
  /** Milliseconds since the Unix epoch. */
  readonly receivedAt: number;
  /** The thumbprint that the token is bound to; of a request without a good token that of the certificate it came with; else null. */
  readonly key: string | null;
  /** The header of the proof of a request without a good token: who holds the key in it sent it, or somebody in its name. */
  readonly proofHeader: string | null;
  readonly method: string;
  readonly path: string;
  readonly route: string | null;
  readonly operation: string | null;
  readonly status: number;
  readonly outcome: string;
  readonly reason: Reason | null;
  readonly disclosure: Disclosure | null;
  readonly requires: Requirements | null;
  readonly policyReasons: readonly PolicyReason[];
  readonly policyRevision: string | null;
  /** For the operator only. */
  readonly inner: {
    readonly note: string | null;
    readonly peer: string;
    readonly client: string | null;
    readonly subject: string | null;
    readonly key: string | null;
    readonly timings: Evidence['timings'];
  };
}

const MAXIMUM_PATH = 1024;
/** Characters of a proof's header: one with an RSA key of 4096 bits has about 1000. */
const MAXIMUM_PROOF_HEADER = 1200;
const POLICY_REASONS = 16;
/** Characters of JSON. */
const MAXIMUM_REQUIREMENTS = 4096;

/**
 * The last decisions of this process, bounded: refusals that belong to a key, allowed calls, and, fewer, refusals of requests that nothing
 * speaks for, each apart, so that none of them pushes out the others.
 */
export class RecentDecisions {
  readonly #refused: Ring;
  readonly #allowed: Ring;
  readonly #anonymous: Ring;

  /** @param limit decisions of each kind; 0: none is remembered */
  constructor(limit: number) {
    this.#refused = new Ring(limit);
    this.#allowed = new Ring(limit);
    this.#anonymous = new Ring(Math.ceil(limit / 4));
  }

  keep(evidence: Evidence): void {
    if (this.#refused.size === 0 || (evidence.denial === undefined && evidence.decision === undefined)) return;
    const decision = remember(evidence);
    if (decision.key === null && decision.proofHeader === null) this.#anonymous.put(decision);
    else (evidence.denial === undefined ? this.#allowed : this.#refused).put(decision);
  }

  find(id: string): RememberedDecision | null {
    return this.#refused.find(id) ?? this.#allowed.find(id) ?? this.#anonymous.find(id) ?? null;
  }
}

/** The last decisions of one kind: every request writes one, and hardly anybody looks for one, so writing is what must cost nothing. */
class Ring {
  readonly size: number;
  readonly #decisions: RememberedDecision[] = [];
  #next = 0;

  constructor(size: number) {
    this.size = size;
  }

  put(decision: RememberedDecision): void {
    this.#decisions[this.#next] = decision;
    this.#next = this.#next + 1 === this.size ? 0 : this.#next + 1;
  }

  find(id: string): RememberedDecision | undefined {
    return this.#decisions.find((decision) => decision.id === id);
  }
}

function remember(evidence: Evidence): RememberedDecision {
  const { context, token, denial, decision, proof } = evidence;
  const key = token?.confirmation.jkt ?? token?.confirmation.x5tS256 ?? null;
  // Without a good token: the key that the request came with. Of a good one that is bound to none, nobody is told.
  const unproven = token === undefined && context !== undefined;
  return {
    id: evidence.id,
    receivedAt: evidence.receivedAt,
    key: unproven ? (context.certificate?.x5tS256 ?? null) : key,
    proofHeader: unproven && context.proof !== null ? headerOf(context.proof) : null,
    method: context?.method ?? evidence.method.slice(0, 32),
    path: (context?.target.path ?? evidence.rawTarget.split('?', 1)[0] ?? '').slice(0, MAXIMUM_PATH),
    route: (context?.route ?? evidence.route)?.name ?? null,
    operation: context?.operation?.name ?? null,
    status: evidence.status,
    outcome: outcomeOf(evidence),
    reason: denial?.reason ?? null,
    disclosure: denial?.disclosure ?? null,
    requires: denial?.requires === undefined || !fits(denial.requires) ? null : denial.requires,
    policyReasons: (denial?.policyReasons ?? decision?.reasons ?? []).slice(0, POLICY_REASONS),
    policyRevision: evidence.policyRevision ?? null,
    inner: {
      note: denial?.note?.slice(0, MAXIMUM_PATH) ?? null,
      peer: evidence.peerAddress,
      client: token?.clientId ?? null,
      subject: token?.subject ?? null,
      key: proof?.thumbprint ?? key,
      timings: evidence.timings,
    },
  };
}

/** A copy, since a part of a text keeps the whole of it. */
function headerOf(proof: string): string | null {
  const end = proof.indexOf('.');
  return end < 1 || end > MAXIMUM_PROOF_HEADER ? null : Buffer.from(proof.slice(0, end), 'latin1').toString('latin1');
}

function fits(requires: Requirements): boolean {
  return JSON.stringify(requires).length <= MAXIMUM_REQUIREMENTS;
}

/** What the holder of the key may know: the request as it sent it, what was said of it, and why. */
export function explainToHolder(decision: RememberedDecision): Record<string, unknown> {
  const { reason, disclosure, requires, policyReasons } = decision;
  const row = reason === null ? null : REASONS[reason];
  return {
    decision_id: decision.id,
    time: new Date(decision.receivedAt).toISOString(),
    method: decision.method,
    path: redactText(decision.path),
    ...(decision.route !== null && { route: decision.route }),
    ...(decision.operation !== null && { operation: decision.operation }),
    outcome: decision.outcome,
    status: decision.status,
    ...(reason !== null && {
      reason,
      stage: stageOf(reason),
      title: row?.title,
      advice: row?.advice,
      specification: row?.specification,
    }),
    ...(disclosure !== null && { expected: disclosure.expected, seen: disclosure.seen }),
    ...(requires !== null && { required: requires }),
    ...(policyReasons.length > 0 && { policy_reasons: policyReasons }),
    ...(decision.policyRevision !== null && { policy_revision: decision.policyRevision }),
  };
}

/** What the operator may know beside: who it was, and what the record says. Never a token or a proof. */
export function explainToOperator(decision: RememberedDecision): Record<string, unknown> {
  const { note, peer, client, subject, key, timings } = decision.inner;
  return {
    ...explainToHolder(decision),
    ...(note !== null && { note: redactText(note) }),
    peer,
    ...(client !== null && { client, subject }),
    ...(key !== null && { key }),
    timings_ms: timings,
  };
}
