import type { Clock } from '../kernel/clock.ts';
import { CLOCK_SKEW_SECONDS, type WorkloadIdentity } from '../oauth/workload_identity.ts';
import { JobQuota, type QuotaBounds, type QuotaOwner } from './job_quota.ts';
import { granted, type Outcome, unauthenticated } from './refusal.ts';

/** An identity token that was shown, and the key it came with first. */
export interface UsedIdentity extends QuotaOwner {
  readonly thumbprint: string;
  /** Milliseconds since the Unix epoch. */
  readonly until: number;
}

/** The identity tokens that jobs showed, each good again only with the key of its first use. */
export class UsedIdentities {
  readonly #byId = new Map<string, UsedIdentity>();
  readonly #quota: JobQuota;
  readonly #clock: Clock;

  constructor(bounds: QuotaBounds, clock: Clock) {
    this.#quota = new JobQuota(bounds);
    this.#clock = clock;
  }

  get all(): readonly (readonly [string, UsedIdentity])[] {
    return [...this.#byId];
  }

  /**
   * Binds an identity token to the key that it first came with. Whoever has only the token and shows another key is refused, since either of
   * the two stole it. Refuses with `identity_used` and what the quota says.
   */
  bind({ useId, expiresAt }: WorkloadIdentity, thumbprint: string, owner: QuotaOwner): Outcome<null> {
    const known = this.#byId.get(useId);
    if (known !== undefined) {
      return known.thumbprint === thumbprint ? granted(null) : unauthenticated('identity_used');
    }
    const full = this.#quota.refusal(owner);
    if (full !== null) return full;
    const until = (Math.ceil(expiresAt) + CLOCK_SKEW_SECONDS) * 1000;
    this.restore(useId, { thumbprint, until, ...owner });
    return granted(null);
  }

  /** Remembers what was remembered before. */
  restore(useId: string, use: UsedIdentity): void {
    this.#byId.set(useId, use);
    this.#quota.add(use);
  }

  /** Forgets the tokens that have expired. */
  forget(): void {
    const now = this.#clock();
    for (const [id, use] of this.#byId) {
      if (use.until >= now) continue;
      this.#byId.delete(id);
      this.#quota.remove(use);
    }
  }
}
