import type { Evidence } from '../kernel/context.ts';
import { stageOf } from '../kernel/denial.ts';
import { pass } from '../kernel/result.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import type { ShadowVerdict } from '../policy/shadow.ts';
import { differenceOf, type Judgement, wordFor } from '../policy/shadow_difference.ts';
import type { Log } from '../telemetry/log.ts';
import type { ShadowState } from '../telemetry/shadow_metrics.ts';

/** A candidate that was tried and is asked. */
export interface Candidate {
  readonly revision: string;
  judge(input: string, nowMs: number): Promise<ShadowVerdict | null> | null;
  retire(): void;
}

/** What a shadow is made of. */
export interface ShadowParts {
  /** Share of the requests that the candidate judges too, above 0 and at most 1. */
  readonly sample: number;
  /** Makes a compiled candidate ready. @throws Error that says why it cannot be used */
  activate(artifact: PolicyArtifact): Promise<Candidate>;
  readonly log: Log;
}

/**
 * The candidate policy beside the live one. It is asked when a request has been answered, right before its record is written, so that it
 * can change nothing about the request; what it says goes into the evidence, and so into record and metrics.
 */
export class Shadow {
  readonly #parts: ShadowParts;
  #candidate: Candidate | null = null;
  #failures = 0;
  #skipped = 0;
  /** Why the newest candidate is not asked, by what changed. */
  readonly #problems = new Map<string, string>();
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(parts: ShadowParts) {
    this.#parts = parts;
  }

  /** Puts the candidate that `make` yields in place of the one before, if it can be used. @returns whether it is asked now */
  async replace(make: () => Promise<PolicyArtifact>): Promise<boolean> {
    return (await this.tryReplace(make, 'candidate')) === null;
  }

  /**
   * The same for one of several things that a candidate is made of.
   * @param about which one; a failure is shown until something newer about the same is asked
   * @returns null when it is asked now, or why it is not
   */
  tryReplace(make: () => Promise<PolicyArtifact>, about: string): Promise<string | null> {
    const turn = this.#turn.then(() => this.#replaceNow(make, about));
    this.#turn = turn;
    return turn;
  }

  async #replaceNow(make: () => Promise<PolicyArtifact>, about: string): Promise<string | null> {
    const { activate, log } = this.#parts;
    try {
      const artifact = this.#closed ? null : await make();
      if (artifact !== null && artifact.revision !== this.#candidate?.revision) {
        const next = await activate(artifact);
        this.#candidate?.retire();
        this.#candidate = next;
        if (this.#closed) next.retire();
        log.info({ candidate: next.revision }, 'a candidate policy judges beside the live one');
      }
      this.#problems.delete(about);
      return null;
    } catch (error) {
      const why = (error as Error).message;
      this.refuse(about, why);
      return why;
    }
  }

  /** Counts a change that was refused, maybe before there was a candidate to try. @param about as of `tryReplace` */
  refuse(about: string, why: string): void {
    this.#failures++;
    this.note(about, why);
    const candidate = this.#candidate?.revision ?? null;
    this.#parts.log.error(
      { candidate, why },
      'the new candidate policy was refused; the live policy decides as before',
    );
  }

  /** Shows what stands in the way of something newer, or, with null, that nothing does. @param about as of `tryReplace` */
  note(about: string, why: string | null): void {
    if (why === null) this.#problems.delete(about);
    else this.#problems.set(about, why);
  }

  /** Lets the candidate judge what the live policy has decided. @returns null where it is not asked; else when `evidence.shadow` is there, if at all */
  judge(evidence: Evidence): Promise<void> | null {
    const candidate = this.#candidate;
    const { policyInput, receivedAt } = evidence;
    if (candidate === null || policyInput === undefined) return null;
    const live = liveJudgement(evidence);
    if (live === null || !this.#isSampled()) return null;
    const verdict = candidate.judge(policyInput, receivedAt);
    if (verdict === null) {
      this.#skipped++;
      return null;
    }
    return verdict.then((said) => {
      if (said === null) this.#skipped++;
      else note(evidence, { live, verdict: said, revision: candidate.revision });
    });
  }

  status(): ShadowState {
    return {
      revision: this.#candidate?.revision ?? null,
      failures: this.#failures,
      skipped: this.#skipped,
      pendingFailure: this.#problems.size === 0 ? null : [...this.#problems.values()].join('; '),
    };
  }

  close(): void {
    this.#closed = true;
    this.#candidate?.retire();
  }

  #isSampled(): boolean {
    return this.#parts.sample >= 1 || Math.random() < this.#parts.sample;
  }
}

/** What the live policy decided; null where it was not its decision that ended the request. */
function liveJudgement({ decision, denial }: Evidence): Judgement | null {
  if (decision !== undefined) return pass(decision);
  return denial !== undefined && stageOf(denial.reason) === 'policy' ? { ok: false, denial } : null;
}

interface Judged {
  readonly live: Judgement;
  readonly verdict: ShadowVerdict;
  readonly revision: string;
}

function note(evidence: Evidence, { live, verdict, revision }: Judged): void {
  const { judgement, milliseconds } = verdict;
  evidence.shadow = {
    revision,
    difference: differenceOf(live, judgement),
    live: wordFor(live),
    candidate: wordFor(judgement),
    milliseconds,
    ...(judgement.ok ? {} : { denial: judgement.denial }),
  };
}
