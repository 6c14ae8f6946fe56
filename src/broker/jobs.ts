import type { BrokerConfig } from '../config/broker_schema.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import type { Clock } from '../kernel/clock.ts';
import { StateFile } from '../net/state_file.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import { CLOCK_SKEW_SECONDS, type WorkloadIdentity } from '../oauth/workload_identity.ts';
import { granted, type Outcome, refuse, unauthenticated, unavailable } from './refusal.ts';

/** One job: a key, and whose it is. All times in milliseconds since the Unix epoch. Holds no token. */
export interface BrokerJob {
  readonly id: string;
  /** Of the key that its tokens are bound to. */
  readonly thumbprint: string;
  readonly issuer: string;
  readonly subject: string;
  readonly runId: string | null;
  readonly repository: string | null;
  workflow: string;
  readonly startedAt: number;
  /** When it ends by itself. */
  readonly deadline: number;
  /** When its last token expires; 0 when it has none. */
  tokensUntil: number;
  endedAt: number | null;
}

/** An identity token is good again only with the key of its first use. */
interface UsedIdentity {
  readonly thumbprint: string;
  readonly until: number;
}

/** Milliseconds that a job is remembered after its end, so that a repeated end is answered alike. */
const REMEMBERED_MS = 3_600_000;
/** Identity tokens remembered for each job. */
const IDENTITIES_PER_JOB = 4;
/** How much longer than its token an ended key is refused, for clocks that differ. */
const MARGIN_MS = 60_000;

/** The jobs that got tokens here, and the identity tokens they showed; kept in a file, so that a restart forgets nothing. */
export class Jobs {
  readonly #byId = new Map<string, BrokerJob>();
  readonly #byKey = new Map<string, BrokerJob>();
  readonly #used = new Map<string, UsedIdentity>();
  readonly #file: StateFile;
  readonly #rules: BrokerConfig['jobs'];
  readonly #clock: Clock;

  /** @throws Error when the file is there and is not what this program wrote */
  constructor(file: string, rules: BrokerConfig['jobs'], clock: Clock) {
    this.#file = new StateFile(file);
    this.#rules = rules;
    this.#clock = clock;
    const kept = this.#file.read();
    if (kept !== undefined) this.#restore(kept, file);
  }

  get live(): number {
    return [...this.#byId.values()].filter(({ endedAt }) => endedAt === null).length;
  }

  get all(): readonly BrokerJob[] {
    return [...this.#byId.values()];
  }

  find(id: string): BrokerJob | undefined {
    return this.#byId.get(id);
  }

  /**
   * Binds an identity token to the key that it first came with. Whoever has only the token and shows another key is refused, since either of
   * the two stole it.
   */
  bind({ useId, expiresAt }: WorkloadIdentity, thumbprint: string): Outcome<null> {
    const known = this.#used.get(useId);
    if (known !== undefined && known.thumbprint !== thumbprint) {
      return unauthenticated('invalid_token', 'The identity token was used before with another key.');
    }
    if (known !== undefined) return granted(null);
    if (this.#used.size >= this.#rules.limit * IDENTITIES_PER_JOB) return unavailable('Too many jobs are running.', 5);
    this.#used.set(useId, { thumbprint, until: (Math.ceil(expiresAt) + CLOCK_SKEW_SECONDS) * 1000 });
    return granted(null);
  }

  /** Finds or begins the job of a key. Refuses a key of another job, of one that has ended, and one job more than there may be. */
  admit(identity: WorkloadIdentity, thumbprint: string, workflow: WorkflowConfig): Outcome<BrokerJob> {
    const now = this.#clock();
    const { issuer, subject, job } = identity;
    const known = this.#byKey.get(thumbprint);
    if (known === undefined) {
      if (this.#byId.size >= this.#rules.limit) return unavailable('Too many jobs are running.', 5);
      const lifetime = workflow.job_lifetime_seconds ?? this.#rules.lifetime_seconds;
      const begun: BrokerJob = {
        id: sha256Base64url(JSON.stringify([issuer, subject, job.run_id, thumbprint])),
        thumbprint,
        issuer,
        subject,
        runId: job.run_id,
        repository: job.repository,
        workflow: workflow.name,
        startedAt: now,
        deadline: now + lifetime * 1000,
        tokensUntil: 0,
        endedAt: null,
      };
      this.#remember(begun);
      return granted(begun);
    }
    if (known.issuer !== issuer || known.subject !== subject || known.runId !== job.run_id) {
      return refuse(403, 'access_denied', 'The key of the proof is that of another job.');
    }
    if (known.endedAt !== null || known.deadline <= now) return refuse(403, 'access_denied', 'The job has ended.');
    known.workflow = workflow.name;
    return granted(known);
  }

  /** Notes that a job got a token. @param expiresAt milliseconds since the Unix epoch */
  issued(job: BrokerJob, expiresAt: number): void {
    job.tokensUntil = Math.max(job.tokensUntil, expiresAt);
  }

  /** @returns whether it was running */
  end(job: BrokerJob): boolean {
    if (job.endedAt !== null) return false;
    job.endedAt = this.#clock();
    return true;
  }

  /** Jobs past their deadline that have not ended. */
  overdue(): BrokerJob[] {
    const now = this.#clock();
    return this.all.filter(({ endedAt, deadline }) => endedAt === null && deadline <= now);
  }

  /** The keys of ended jobs whose tokens may still be good. */
  endedKeys(): EndedKey[] {
    const now = this.#clock();
    return this.all
      .filter(({ endedAt }) => endedAt !== null)
      .map(endedKeyOf)
      .filter(({ expiresAt }) => expiresAt > now);
  }

  /** Forgets what nobody can ask for any more. */
  forget(): void {
    const now = this.#clock();
    for (const job of this.#byId.values()) {
      if (job.endedAt === null || job.endedAt + REMEMBERED_MS > now || endedKeyOf(job).expiresAt > now) continue;
      this.#byId.delete(job.id);
      this.#byKey.delete(job.thumbprint);
    }
    for (const [id, { until }] of this.#used) if (until < now) this.#used.delete(id);
  }

  /** Resolves when everything up to now is on the disk. */
  save(): Promise<void> {
    return this.#file.write(() => ({ version: 1, jobs: this.all, used: [...this.#used] }));
  }

  #remember(job: BrokerJob): void {
    this.#byId.set(job.id, job);
    this.#byKey.set(job.thumbprint, job);
  }

  #restore(kept: unknown, file: string): void {
    const { version, jobs, used } = (kept ?? {}) as {
      version?: unknown;
      jobs?: BrokerJob[];
      used?: [string, UsedIdentity][];
    };
    if (version !== 1 || !Array.isArray(jobs) || !Array.isArray(used)) {
      throw new Error(
        `${file}: not what this program wrote; restore it, or move it away to start without it (running jobs cannot be ended then)`,
      );
    }
    for (const job of jobs) this.#remember(job);
    for (const [id, use] of used) this.#used.set(id, use);
  }
}

/** The key of a job, and until when it must be refused. */
export function endedKeyOf({ thumbprint, tokensUntil }: BrokerJob): EndedKey {
  return { thumbprint, expiresAt: tokensUntil === 0 ? 0 : tokensUntil + MARGIN_MS };
}
