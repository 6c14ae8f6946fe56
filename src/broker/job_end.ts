import type { Clock } from '../kernel/clock.ts';
import { verifyProof } from '../oauth/verify_proof.ts';
import type { Log } from '../telemetry/log.ts';
import type { Endings } from './endings.ts';
import { isOfAnotherKey } from './granted_token.ts';
import { endedKeyOf, type Jobs } from './jobs.ts';
import type { BrokerJob } from './jobs_file.ts';
import type { Records } from './records.ts';
import { granted, type Outcome, type Refusal, refuse } from './refusal.ts';
import type { TokenIssuer } from './token_issuer.ts';
import { readForm } from './token_request.ts';
import type { Workflows } from './workflows.ts';

/** Who ended a job. */
export type EndedBy = 'job' | 'engine' | 'deadline';

/** What jobs are ended with. */
export interface JobEndOptions {
  readonly jobs: Jobs;
  readonly endings: Endings;
  readonly workflows: Workflows;
  readonly issuer: TokenIssuer;
  readonly records: Records;
  readonly clock: Clock;
  readonly log: Log;
}

/** Algorithms of the proof with which a job ends itself. */
export const END_ALGORITHMS = ['ES256', 'PS256', 'EdDSA', 'Ed25519'];
const PROOF_AGE = 60;
const LEEWAY = 10;
/** Tokens that a job hands over to be revoked. */
const MOST_TOKENS = 10;
/** Milliseconds between two looks for jobs past their deadline. */
const LOOK_EVERY_MS = 1000;

/** Ends jobs: when they say so, when the engine says so, and at their deadline. */
export class JobEnd {
  readonly #options: JobEndOptions;
  readonly #timer: NodeJS.Timeout;
  readonly counts: Record<EndedBy, number> = { job: 0, engine: 0, deadline: 0 };

  constructor(options: JobEndOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.endOverdue(), LOOK_EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Whether this proof, for this URL, was made with the key of this job. The identity token may have expired by then; the key has not. */
  async authenticate(id: string, proof: string | null, url: string): Promise<Outcome<BrokerJob>> {
    if (proof === null) return unproven('send exactly one DPoP header');
    const { clock, jobs } = this.#options;
    const seen = await verifyProof(proof, {
      method: 'POST',
      url,
      algorithms: END_ALGORITHMS,
      maxAgeSeconds: PROOF_AGE,
      leewaySeconds: LEEWAY,
      clock,
    });
    if (!seen.ok) return unproven(seen.problem);
    const job = jobs.find(id);
    if (job === undefined) return refuse('job_unknown');
    if (job.thumbprint !== seen.value.thumbprint) return unproven('the proof was made with another key');
    return granted(job);
  }

  /**
   * Ends a job; again is the same. Tokens that are handed over are revoked at the authorization server too.
   * @returns whether every gateway is known to refuse it; if not, it is told again in the background
   */
  async end(job: BrokerJob, by: EndedBy, body?: Uint8Array): Promise<boolean> {
    const { jobs, endings, records, log } = this.#options;
    const first = jobs.end(job);
    const { expiresAt } = endedKeyOf(job);
    const [told, kept, revoked] = await Promise.all([
      expiresAt === 0 ? true : endings.end([endedKeyOf(job)]),
      this.#keep(),
      this.#revoke(job, body),
    ]);
    const everywhere = told && kept;
    if (!first) return everywhere;
    this.counts[by]++;
    const { id, workflow, issuer, subject, runId, thumbprint } = job;
    const event = { job_id: id, workflow, issuer, subject, run_id: runId, jkt: thumbprint, by, everywhere, revoked };
    await records
      .write({ event: 'job_ended', ...event })
      .catch((error: unknown) => log.error({ err: error }, 'a record could not be written'));
    return everywhere;
  }

  async #keep(): Promise<boolean> {
    try {
      await this.#options.jobs.save();
      return true;
    } catch (error) {
      this.#options.log.error(
        { err: error },
        'the state could not be written: after a restart the end of a job is not known',
      );
      return false;
    }
  }

  /** Ends the jobs past their deadline, and forgets those nobody can ask for. Never rejects. */
  async endOverdue(): Promise<void> {
    const { jobs, log } = this.#options;
    try {
      await Promise.all(jobs.overdue().map((job) => this.end(job, 'deadline')));
    } catch (error) {
      log.error({ err: error }, 'a job could not be ended at its deadline; tried again');
    }
    jobs.forget();
  }

  /** The broker keeps no token, so it can only revoke what it is handed (RFC 7009), and of that what is the job's own. */
  async #revoke({ workflow: name, thumbprint }: BrokerJob, body: Uint8Array | undefined): Promise<number> {
    const { workflows, issuer } = this.#options;
    const workflow = workflows.find(name);
    const handed = body === undefined ? [] : (readForm(body)?.getAll('token') ?? []).slice(0, MOST_TOKENS);
    const tokens = handed.filter((token) => !isOfAnotherKey(token, thumbprint));
    if (workflow === undefined || tokens.length === 0) return 0;
    const taken = await Promise.all(tokens.map((token) => issuer.revoke(workflow, token)));
    return taken.filter(Boolean).length;
  }
}

function unproven(detail: string): Refusal {
  const headers = { 'www-authenticate': `DPoP algs="${END_ALGORITHMS.join(' ')}", error="invalid_dpop_proof"` };
  return refuse('end_unproven', { detail, headers });
}
