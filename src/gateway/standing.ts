import { setImmediate as othersFirst } from 'node:timers/promises';
import type { EndedKeys } from '../ended_jobs/ended_keys.ts';
import type { Forwarder, UnderWay } from '../forward/forward.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest } from '../kernel/context.ts';
import type { Decide } from '../policy/decide.ts';
import { thumbprintsOf } from '../token/job_ended.ts';
import { beginEvidence } from './evidence.ts';
import type { PolicyHolder } from './policy_holder.ts';

/** Milliseconds between two looks at what is under way. */
const LOOK_MS = 1000;
/** Milliseconds after which a request under way counts as lasting; one that is shorter is answered as it was decided. */
const LASTING_MS = 2000;
/** Requests that are judged anew in one go, before others have their turn. */
const AT_ONCE = 50;

/** What the standing of a request depends on. */
export interface StandingParts {
  readonly forwarder: Pick<Forwarder, 'underWay'>;
  readonly clock: Clock;
  readonly policy: Pick<PolicyHolder, 'live' | 'onReplaced'>;
  readonly decide: Decide;
  /** Null where jobs do not end before their tokens. */
  readonly endedKeys: Pick<EndedKeys, 'peek' | 'onChange'> | null;
}

/**
 * Whether what lasts may go on: long uploads, event streams, watches, gRPC calls, WebSockets. A request was judged when it arrived; one that
 * is under way is ended when its token has expired and the grace of its route is over (a WebSocket: at once, by a timer of its own), when
 * its job has ended, or when the policy in force would not allow it. It is looked at from here, all of them once a second, so that a
 * request that does not last pays nothing for it.
 */
export class Standing {
  readonly #parts: StandingParts;
  readonly #timer: NodeJS.Timeout;
  /** The revision that a request was judged anew by; absent: the one that let it begin. */
  readonly #revisions = new WeakMap<AuthorizedRequest, string>();
  #judging = false;
  #replaced = false;

  constructor(parts: StandingParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref();
    parts.policy.onReplaced(() => void this.#judge());
    parts.endedKeys?.onChange(() => this.#endJobs());
  }

  /** Whether nothing says that the job of a request has ended, and that is known: for what stays open. */
  runs({ token }: AuthorizedRequest): boolean {
    const { endedKeys } = this.#parts;
    return endedKeys === null || thumbprintsOf(token.confirmation).every((key) => endedKeys.peek(key) === 'live');
  }

  /** Whether the job of a request is known to have ended. */
  hasEnded({ token }: AuthorizedRequest): boolean {
    const { endedKeys } = this.#parts;
    return endedKeys !== null && thumbprintsOf(token.confirmation).some((key) => endedKeys.peek(key) === 'ended');
  }

  /** Ends what has outlived its token, and judges what another policy than that in force let begin. */
  look(): void {
    const now = this.#parts.clock();
    for (const request of this.#parts.forwarder.underWay()) {
      const { context, token } = request.authorized;
      if (context.upgrade || now < token.expiresAt * 1000 + context.route.expiryGraceMs) continue;
      request.end({ reason: 'forward.exchange_expired' });
    }
    if (!this.#judging) void this.#judge();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #endJobs(): void {
    for (const request of this.#parts.forwarder.underWay()) {
      const { authorized } = request;
      if (authorized.context.upgrade) {
        if (!this.runs(authorized)) request.end({ reason: 'forward.upgrade_job_ended' });
        // What was authorized before the store went silent may finish; what was authorized for a job that ended may not.
      } else if (this.hasEnded(authorized)) request.end({ reason: 'token.job_ended' });
    }
  }

  /** A policy that takes the place of another meanwhile judges them all again. */
  async #judge(): Promise<void> {
    this.#replaced = true;
    if (this.#judging) return;
    this.#judging = true;
    try {
      while (this.#replaced) {
        this.#replaced = false;
        const due = this.#parts.forwarder.underWay().filter(({ authorized }) => this.#mustBeJudged(authorized));
        for (const [index, request] of due.entries()) {
          if (index % AT_ONCE === AT_ONCE - 1) await othersFirst();
          this.#judgeOne(request);
        }
      }
    } finally {
      this.#judging = false;
    }
  }

  #mustBeJudged(authorized: AuthorizedRequest): boolean {
    const { policy, clock } = this.#parts;
    const { revision } = policy.live();
    if (authorized.decision.revision === revision || this.#revisions.get(authorized) === revision) return false;
    return authorized.context.upgrade || clock() - authorized.context.receivedAt >= LASTING_MS;
  }

  #judgeOne(request: UnderWay): void {
    const { authorized } = request;
    const { context, token, proof } = authorized;
    const { policy, decide } = this.#parts;
    this.#revisions.set(authorized, policy.live().revision);
    if (decide(context, token, proof, beginEvidence(context.receivedAt, {})).ok) return;
    request.end({ reason: context.upgrade ? 'forward.upgrade_withdrawn' : 'forward.exchange_withdrawn' });
  }
}
