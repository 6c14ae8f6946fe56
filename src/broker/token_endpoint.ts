import { createHash } from 'node:crypto';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { verifyProof } from '../oauth/verify_proof.ts';
import type { WorkloadIdentity, WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { type NarrowedRequest, narrow } from './ceiling.ts';
import type { Endings } from './endings.ts';
import type { GrantedToken } from './granted_token.ts';
import { endedKeyOf, type Jobs } from './jobs.ts';
import type { BrokerJob } from './jobs_file.ts';
import type { Records } from './records.ts';
import { granted, type Outcome, refuse, refuseFor, unauthenticated } from './refusal.ts';
import type { AuthorizationServer } from './server.ts';
import type { TokenIssuer } from './token_issuer.ts';
import { type Noted, recordOf } from './token_record.ts';
import { readTokenRequest } from './token_request.ts';
import { checkEnvironment, type Workflows, workflowOf } from './workflows.ts';

/** A request for a token as it came. */
export interface TokenArrival {
  /** The identity token; null when none was presented. */
  readonly identityToken: string | null;
  /** The proof; null unless there is exactly one. */
  readonly proof: string | null;
  readonly body: Uint8Array;
}

/** What a job gets (RFC 6749 §5.1), and the nonce for its next proof. */
export interface TokenAnswer {
  readonly body: Readonly<Record<string, unknown>>;
  readonly nonce: string | null;
}

/** What requests are served with. */
export interface TokenEndpointOptions {
  readonly issuers: WorkloadIssuers;
  readonly workflows: Workflows;
  readonly server: AuthorizationServer;
  readonly issuer: TokenIssuer;
  readonly jobs: Jobs;
  readonly endings: Endings;
  readonly records: Records;
  readonly requestsPerJob: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** The server judges the age of a proof; here it must only not be of another day. Seconds. */
const PROOF_AGE = 300;
/** Seconds that a token is thought to live when its server does not say. */
const UNSAID_LIFETIME = 86_400;

/**
 * `POST /token`: authenticates the job by its identity token and its key, narrows what it asks for to the ceiling of its workflow, and has the
 * authorization server issue a token that is bound to the key. Two copies of one request at the same time are one.
 */
export class TokenEndpoint {
  readonly #options: TokenEndpointOptions;
  readonly #flights = new Map<string, Promise<Outcome<TokenAnswer>>>();
  readonly #perJob = new Map<string, number>();
  readonly counts = new Map<string, number>();

  constructor(options: TokenEndpointOptions) {
    this.#options = options;
  }

  /** Requests under way. */
  get size(): number {
    return this.#flights.size;
  }

  /** Resolves when the requests under way have ended. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values());
  }

  /** A flight belongs to one identity token, one proof and one body: nobody else's request has all three. */
  serve(arrival: TokenArrival): Promise<Outcome<TokenAnswer>> {
    const hash = createHash('sha256');
    for (const part of [arrival.identityToken ?? '', arrival.proof ?? '', arrival.body])
      hash.update(`${part.length}.`).update(part);
    const key = hash.digest('base64url');
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      flight = this.#serve(arrival).finally(() => this.#flights.delete(key));
      this.#flights.set(key, flight);
    }
    return flight;
  }

  async #serve(arrival: TokenArrival): Promise<Outcome<TokenAnswer>> {
    const noted: Noted = {};
    let outcome = await this.#authorize(arrival, noted);
    const { records, log } = this.#options;
    try {
      await records.write({ event: outcome.ok ? 'token_issued' : 'token_refused', ...recordOf(noted, outcome) });
    } catch (error) {
      log.error({ err: error }, 'a record could not be written, so no token is handed out');
      if (outcome.ok) this.#withdraw(noted.workflow, String(outcome.value.body['access_token']));
      outcome = refuseFor(5, 'records_unwritable');
    }
    const name = outcome.ok ? 'issued' : outcome.reason;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    return outcome;
  }

  async #authorize(arrival: TokenArrival, noted: Noted): Promise<Outcome<TokenAnswer>> {
    const { server, jobs, workflows } = this.#options;
    const identified = await this.#identify(arrival.identityToken);
    if (!identified.ok) return identified;
    const identity = identified.value;
    noted.identity = identity;
    if (server.endpoints === null) return refuseFor(2, 'server_unknown');
    const ask = readTokenRequest(arrival.body);
    if (!ask.ok) return ask;
    const thumbprint = await this.#proveKey(arrival.proof, server.endpoints.token, server.endpoints.proofAlgorithms);
    if (!thumbprint.ok) return thumbprint;
    noted.thumbprint = thumbprint.value;
    const workflow = workflowOf(workflows.all, identity, ask.value.workflow);
    if (!workflow.ok) return workflow;
    noted.workflow = workflow.value;
    // Whoever runs jobs at the same CI system can show an identity token: only those of a workflow are remembered.
    const bound = jobs.bind(identity, thumbprint.value, workflow.value);
    if (!bound.ok) return bound;
    const environment = checkEnvironment(workflow.value, identity, ask.value.environment);
    if (!environment.ok) return environment;
    const narrowed = narrow(workflow.value, ask.value);
    if (!narrowed.ok) return narrowed;
    noted.narrowed = narrowed.value;
    const job = jobs.admit(identity, thumbprint.value, workflow.value);
    if (!job.ok) return job;
    noted.job = job.value;
    const request = {
      workflow: workflow.value,
      identity,
      narrowed: narrowed.value,
      proof: arrival.proof as string,
      thumbprint: thumbprint.value,
    };
    return this.#limited(job.value, async () => {
      // On the disk before a token can exist: a crash must not leave one whose job nobody can end.
      if (!(await this.#keepState())) return refuseFor(5, 'state_unwritable');
      const token = await this.#options.issuer.issue(request);
      if (!token.ok) return token;
      const answer = await this.#handOut(job.value, token.value, narrowed.value);
      if (!answer.ok) this.#withdraw(workflow.value, token.value.accessToken);
      return answer;
    });
  }

  async #identify(token: string | null): Promise<Outcome<WorkloadIdentity>> {
    if (token === null) {
      return unauthenticated('identity_missing');
    }
    const verified = await this.#options.issuers.verify(token);
    if (verified.ok) return granted(verified.value);
    if (verified.why === 'unavailable') {
      return refuseFor(Math.ceil((verified.retryAfterMs ?? 1000) / 1000), 'identity_unverifiable');
    }
    return unauthenticated('identity_refused', verified.problem);
  }

  async #proveKey(proof: string | null, url: string, algorithms: readonly string[]): Promise<Outcome<string>> {
    if (proof === null) return refuse('proof_missing');
    const { clock } = this.#options;
    const seen = await verifyProof(proof, {
      method: 'POST',
      url,
      algorithms,
      maxAgeSeconds: PROOF_AGE,
      leewaySeconds: PROOF_AGE,
      clock,
    });
    return seen.ok ? granted(seen.value.thumbprint) : refuse('proof_refused', { detail: seen.problem });
  }

  async #limited(job: BrokerJob, work: () => Promise<Outcome<TokenAnswer>>): Promise<Outcome<TokenAnswer>> {
    const running = this.#perJob.get(job.id) ?? 0;
    if (running >= this.#options.requestsPerJob) return refuseFor(1, 'requests_of_job');
    this.#perJob.set(job.id, running + 1);
    try {
      return await work();
    } finally {
      const left = (this.#perJob.get(job.id) ?? 1) - 1;
      if (left === 0) this.#perJob.delete(job.id);
      else this.#perJob.set(job.id, left);
    }
  }

  /** Whether what is known of jobs is on the disk. A token whose end could not be told after a restart is not asked for, or not handed out. */
  async #keepState(): Promise<boolean> {
    const { jobs, log } = this.#options;
    try {
      await jobs.save();
      return true;
    } catch (error) {
      log.error({ err: error }, 'the state could not be written, so no token is handed out');
      return false;
    }
  }

  /** A token that nobody got is of no use to anybody (RFC 7009). */
  #withdraw(workflow: WorkflowConfig | undefined, token: string): void {
    if (workflow !== undefined) void this.#options.issuer.revoke(workflow, token);
  }

  /** A token that came after the job ended is not handed out, and its key stays refused for as long as the token lives. */
  async #handOut(job: BrokerJob, token: GrantedToken, narrowed: NarrowedRequest): Promise<Outcome<TokenAnswer>> {
    const { jobs, endings, clock } = this.#options;
    jobs.issued(job, clock() + (token.expiresIn ?? UNSAID_LIFETIME) * 1000);
    if (!(await this.#keepState())) return refuseFor(5, 'state_unwritable');
    if (job.endedAt !== null) {
      void endings.end([endedKeyOf(job)]);
      return refuse('job_ended');
    }
    return granted({
      body: {
        access_token: token.accessToken,
        token_type: 'DPoP',
        ...(token.expiresIn !== null && { expires_in: token.expiresIn }),
        scope: token.scope ?? narrowed.scopes.join(' '),
        ...(token.details !== null && { authorization_details: token.details }),
        job_id: job.id,
      },
      nonce: token.nonce,
    });
  }
}
