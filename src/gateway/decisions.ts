import { outcomeOf } from '../audit/summary.ts';
import type { Evidence, VerifiedToken } from '../kernel/context.ts';
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
    const { context, token, denial } = evidence;
    // Without a good token: the key that the request came with. Of a good one that is bound to none, nobody is told.
    const unproven = token === undefined && context !== undefined;
    const key = unproven ? (context.certificate?.x5tS256 ?? null) : boundKeyOf(token);
    const proofHeader = unproven && context.proof !== null ? headerOf(context.proof) : null;
    const anonymous = key === null && proofHeader === null;
    const ring = anonymous ? this.#anonymous : denial === undefined ? this.#allowed : this.#refused;
    ring.put(evidence, key, proofHeader);
  }

  find(id: string): RememberedDecision | null {
    return this.#refused.find(id) ?? this.#allowed.find(id) ?? this.#anonymous.find(id) ?? null;
  }
}

/**
 * The last decisions of one kind: every request writes one, and hardly anybody looks for one, so writing is what must cost nothing. The oldest
 * is written over in place: an object of its own for each would lie in the old generation by the time it is dropped
 * (docs/decisions/0062-what-outlives-a-request.md).
 */
class Ring {
  readonly size: number;
  readonly #slots: Slot[] = [];
  #next = 0;

  constructor(size: number) {
    this.size = size;
  }

  put(evidence: Evidence, key: string | null, proofHeader: string | null): void {
    const slot = this.#slots[this.#next] ?? emptySlot();
    this.#slots[this.#next] = slot;
    fill(slot, evidence);
    slot.key = key;
    slot.proofHeader = proofHeader;
    this.#next = this.#next + 1 === this.size ? 0 : this.#next + 1;
  }

  /** @returns a copy, since the decision may be written over */
  find(id: string): RememberedDecision | undefined {
    const slot = this.#slots.find((one) => one.id === id);
    return slot && { ...slot, inner: { ...slot.inner, timings: { ...slot.inner.timings } } };
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Slot = Writable<Omit<RememberedDecision, 'inner'>> & {
  readonly inner: Writable<Omit<RememberedDecision['inner'], 'timings'>> & { readonly timings: Evidence['timings'] };
};

const NO_REASONS: readonly PolicyReason[] = Object.freeze([]);

/** Numbers begin as fractions: V8 then writes each where the one before lay. */
function emptySlot(): Slot {
  return {
    id: '',
    receivedAt: 0.5,
    key: null,
    proofHeader: null,
    method: '',
    path: '',
    route: null,
    operation: null,
    status: 0,
    outcome: '',
    reason: null,
    disclosure: null,
    requires: null,
    policyReasons: NO_REASONS,
    policyRevision: null,
    inner: {
      note: null,
      peer: '',
      client: null,
      subject: null,
      key: null,
      timings: { request: 0.5, token: 0.5, proof: 0.5, policy: 0.5, forward: 0.5 },
    },
  };
}

function fill(slot: Slot, evidence: Evidence): void {
  const { context, token, denial, decision, proof } = evidence;
  slot.id = evidence.id;
  slot.receivedAt = evidence.receivedAt;
  slot.method = context?.method ?? evidence.method.slice(0, 32);
  slot.path = (context?.target.path ?? evidence.rawTarget.split('?', 1)[0] ?? '').slice(0, MAXIMUM_PATH);
  slot.route = (context?.route ?? evidence.route)?.name ?? null;
  slot.operation = context?.operation?.name ?? null;
  slot.status = evidence.status;
  slot.outcome = outcomeOf(evidence);
  slot.reason = denial?.reason ?? null;
  slot.disclosure = denial?.disclosure ?? null;
  slot.requires = denial?.requires === undefined || !fits(denial.requires) ? null : denial.requires;
  const reasons = denial?.policyReasons ?? decision?.reasons ?? NO_REASONS;
  slot.policyReasons = reasons.length === 0 ? NO_REASONS : reasons.slice(0, POLICY_REASONS);
  slot.policyRevision = evidence.policyRevision ?? null;
  const { inner } = slot;
  inner.note = denial?.note?.slice(0, MAXIMUM_PATH) ?? null;
  inner.peer = evidence.peerAddress;
  inner.client = token?.clientId ?? null;
  inner.subject = token?.subject ?? null;
  inner.key = proof?.thumbprint ?? boundKeyOf(token);
  const { timings } = evidence;
  inner.timings.request = timings.request;
  inner.timings.token = timings.token;
  inner.timings.proof = timings.proof;
  inner.timings.policy = timings.policy;
  inner.timings.forward = timings.forward;
}

function boundKeyOf(token: VerifiedToken | undefined): string | null {
  return token?.confirmation.jkt ?? token?.confirmation.x5tS256 ?? null;
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
