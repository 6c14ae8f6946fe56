import type { BrokerConfig } from '../config/broker_schema.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import type { Clock } from '../kernel/clock.ts';
import { StateFile } from '../net/state_file.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import type { WorkloadIdentity } from '../oauth/workload_identity.ts';
import { JobQuota, type QuotaBounds, type QuotaOwner } from './job_quota.ts';
import { type BrokerJob, readJobsFile } from './jobs_file.ts';
import { granted, type Outcome, refuse } from './refusal.ts';
import { UsedIdentities } from './used_identities.ts';

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
  readonly #used: UsedIdentities;
  readonly #quota: JobQuota;
  readonly #file: StateFile;
  readonly #rules: BrokerConfig['jobs'];
  readonly #clock: Clock;

  /** @throws Error when the file is there and is not what this program wrote */
  constructor(file: string, rules: BrokerConfig['jobs'], clock: Clock) {
    this.#file = new StateFile(file);
    this.#rules = rules;
    this.#clock = clock;
    const bounds = boundsOf(rules);
    this.#quota = new JobQuota(bounds);
    this.#used = new UsedIdentities(
      {
        all: bounds.all * IDENTITIES_PER_JOB,
        run: bounds.run * IDENTITIES_PER_JOB,
        workflow: bounds.workflow * IDENTITIES_PER_JOB,
      },
      clock,
    );
    const kept = this.#file.read();
    if (kept !== undefined) this.#restore(kept, file);
  }

  get live(): number {
    return this.all.filter(({ endedAt }) => endedAt === null).length;
  }

  get all(): readonly BrokerJob[] {
    return [...this.#byId.values()];
  }

  find(id: string): BrokerJob | undefined {
    return this.#byId.get(id);
  }

  /** Binds an identity token to the key that it first came with. Refuses with `identity_used`, `jobs_of_run`, `jobs_of_workflow`, `jobs_full`. */
  bind(identity: WorkloadIdentity, thumbprint: string, workflow: WorkflowConfig): Outcome<null> {
    const { issuer, subject, job } = identity;
    const run = runOf({ issuer, subject, runId: job.run_id });
    return this.#used.bind(identity, thumbprint, { run, workflow: workflow.name });
  }

  /**
   * Finds or begins the job of a key. Refuses a key of another job (`key_of_another_job`), of one that has ended (`job_ended`), and one job more
   * than there may be (`jobs_of_run`, `jobs_of_workflow`, `jobs_full`).
   */
  admit(identity: WorkloadIdentity, thumbprint: string, workflow: WorkflowConfig): Outcome<BrokerJob> {
    const { issuer, subject, job } = identity;
    const known = this.#byKey.get(thumbprint);
    if (known === undefined) return this.#begin(identity, thumbprint, workflow);
    if (known.issuer !== issuer || known.subject !== subject || known.runId !== job.run_id) {
      return refuse('key_of_another_job');
    }
    if (known.endedAt !== null || known.deadline <= this.#clock()) return refuse('job_ended');
    if (known.workflow !== workflow.name) {
      this.#quota.remove(ownerOf(known));
      known.workflow = workflow.name;
      this.#quota.add(ownerOf(known));
    }
    return granted(known);
  }

  #begin(identity: WorkloadIdentity, thumbprint: string, workflow: WorkflowConfig): Outcome<BrokerJob> {
    const now = this.#clock();
    const { issuer, subject, job } = identity;
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
    const full = this.#quota.refusal(ownerOf(begun));
    if (full !== null) return full;
    this.#remember(begun);
    return granted(begun);
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
      this.#quota.remove(ownerOf(job));
    }
    this.#used.forget();
  }

  /** Resolves when everything up to now is on the disk. */
  save(): Promise<void> {
    return this.#file.write(() => ({ version: 1, jobs: this.all, used: this.#used.all }));
  }

  #remember(job: BrokerJob): void {
    this.#byId.set(job.id, job);
    this.#byKey.set(job.thumbprint, job);
    this.#quota.add(ownerOf(job));
  }

  #restore(kept: unknown, file: string): void {
    const { jobs, used } = readJobsFile(kept, file);
    for (const job of jobs) this.#remember(job);
    for (const [id, use] of used) this.#used.restore(id, use);
  }
}

function boundsOf({ limit: all, limit_per_run: run, limit_per_workflow: workflow }: BrokerConfig['jobs']): QuotaBounds {
  return { all, run, workflow: workflow ?? Math.ceil(all / 2) };
}

/** One run of a CI system; where it names none, everything of one subject. */
function runOf({ issuer, subject, runId }: Pick<BrokerJob, 'issuer' | 'subject' | 'runId'>): string {
  return sha256Base64url(JSON.stringify(runId === null ? [issuer, null, subject] : [issuer, runId]));
}

function ownerOf(job: BrokerJob): QuotaOwner {
  return { run: runOf(job), workflow: job.workflow };
}

/** The key of a job, and until when it must be refused. */
export function endedKeyOf({ thumbprint, tokensUntil }: BrokerJob): EndedKey {
  return { thumbprint, expiresAt: tokensUntil === 0 ? 0 : tokensUntil + MARGIN_MS };
}
