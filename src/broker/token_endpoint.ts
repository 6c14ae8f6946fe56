import { createHash } from 'node:crypto';
import type { Clock } from '../kernel/clock.ts';
import { verifyProof } from '../oauth/verify_proof.ts';
import type { WorkloadIdentity, WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { type NarrowedRequest, narrow } from './ceiling.ts';
import type { Endings } from './endings.ts';
import { type BrokerJob, endedKeyOf, type Jobs } from './jobs.ts';
import type { Records } from './records.ts';
import { granted, type Outcome, refuse, unauthenticated, unavailable } from './refusal.ts';
import type { AuthorizationServer } from './server.ts';
import type { GrantedToken, TokenIssuer } from './token_issuer.ts';
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

/** What is known of a request so far, for its record. */
interface Noted {
  identity?: WorkloadIdentity;
  thumbprint?: string;
  workflow?: string;
  job?: BrokerJob;
  narrowed?: NarrowedRequest;
}

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
      await records.write({ event: outcome.ok ? 'token_issued' : 'token_refused', ...describe(noted, outcome) });
    } catch (error) {
      log.error({ err: error }, 'a record could not be written, so no token is handed out');
      outcome = unavailable('The broker cannot keep records at the moment.', 5);
    }
    const name = outcome.ok ? 'issued' : outcome.error;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    return outcome;
  }

  async #authorize(arrival: TokenArrival, noted: Noted): Promise<Outcome<TokenAnswer>> {
    const { server, jobs, workflows } = this.#options;
    const identified = await this.#identify(arrival.identityToken);
    if (!identified.ok) return identified;
    const identity = identified.value;
    noted.identity = identity;
    if (server.endpoints === null) return unavailable('The authorization server is not known yet.', 2);
    const ask = readTokenRequest(arrival.body);
    if (!ask.ok) return ask;
    const thumbprint = await this.#proveKey(arrival.proof, server.endpoints.token, server.endpoints.proofAlgorithms);
    if (!thumbprint.ok) return thumbprint;
    noted.thumbprint = thumbprint.value;
    const workflow = workflowOf(workflows.all, identity, ask.value.workflow);
    if (!workflow.ok) return workflow;
    noted.workflow = workflow.value.name;
    // Whoever runs jobs at the same CI system can show an identity token: only those of a workflow are remembered.
    const bound = jobs.bind(identity, thumbprint.value);
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
      await jobs.save();
      const token = await this.#options.issuer.issue(request);
      return token.ok ? this.#handOut(job.value, token.value, narrowed.value) : token;
    });
  }

  async #identify(token: string | null): Promise<Outcome<WorkloadIdentity>> {
    if (token === null) {
      return unauthenticated('invalid_client', 'Present the identity token of the job: Authorization: Bearer.');
    }
    const verified = await this.#options.issuers.verify(token);
    if (verified.ok) return granted(verified.value);
    if (verified.why === 'unavailable') {
      return unavailable(
        'The identity token cannot be verified at the moment.',
        Math.ceil((verified.retryAfterMs ?? 1000) / 1000),
      );
    }
    return unauthenticated('invalid_token', `The identity token is refused: ${verified.problem}.`);
  }

  async #proveKey(proof: string | null, url: string, algorithms: readonly string[]): Promise<Outcome<string>> {
    if (proof === null) return refuse(400, 'invalid_dpop_proof', 'Send exactly one DPoP header.');
    const { clock } = this.#options;
    const seen = await verifyProof(proof, {
      method: 'POST',
      url,
      algorithms,
      maxAgeSeconds: PROOF_AGE,
      leewaySeconds: PROOF_AGE,
      clock,
    });
    if (!seen.ok)
      return refuse(400, 'invalid_dpop_proof', `The proof for the token endpoint is refused: ${seen.problem}.`);
    return granted(seen.value.thumbprint);
  }

  async #limited(job: BrokerJob, work: () => Promise<Outcome<TokenAnswer>>): Promise<Outcome<TokenAnswer>> {
    const running = this.#perJob.get(job.id) ?? 0;
    if (running >= this.#options.requestsPerJob) return unavailable('The job has too many requests under way.', 1);
    this.#perJob.set(job.id, running + 1);
    try {
      return await work();
    } finally {
      const left = (this.#perJob.get(job.id) ?? 1) - 1;
      if (left === 0) this.#perJob.delete(job.id);
      else this.#perJob.set(job.id, left);
    }
  }

  /** A token that came after the job ended is not handed out, and its key stays refused for as long as the token lives. */
  async #handOut(job: BrokerJob, token: GrantedToken, narrowed: NarrowedRequest): Promise<Outcome<TokenAnswer>> {
    const { jobs, endings, clock, log } = this.#options;
    jobs.issued(job, clock() + (token.expiresIn ?? UNSAID_LIFETIME) * 1000);
    try {
      await jobs.save();
    } catch (error) {
      log.error({ err: error }, 'the state could not be written, so no token is handed out');
      return unavailable('The broker cannot keep its state at the moment.', 5);
    }
    if (job.endedAt !== null) {
      void endings.end([endedKeyOf(job)]);
      return refuse(403, 'access_denied', 'The job has ended.');
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

/** What stands in the record of a request: who asked, for what, and what came of it. */
function describe(
  { identity, thumbprint, workflow, job, narrowed }: Noted,
  outcome: Outcome<TokenAnswer>,
): Record<string, unknown> {
  return {
    job_id: job?.id ?? null,
    workflow: workflow ?? null,
    issuer: identity?.issuer ?? null,
    subject: identity?.subject ?? null,
    run_id: identity?.job.run_id ?? null,
    repository: identity?.job.repository ?? null,
    repository_id: identity?.job.repository_id ?? null,
    jkt: thumbprint ?? null,
    asked:
      narrowed === undefined
        ? null
        : { scopes: narrowed.scopes, authorization_details: narrowed.details, resources: narrowed.resources },
    ...(outcome.ok
      ? {
          granted: {
            scope: outcome.value.body['scope'],
            authorization_details: outcome.value.body['authorization_details'] ?? null,
          },
          expires_at: job === undefined ? null : new Date(job.tokensUntil).toISOString(),
        }
      : { status: outcome.status, error: outcome.error, reason: outcome.description }),
  };
}
