import type { BrokerConfig } from '../config/broker_schema.ts';
import type { WorkflowConfig } from '../config/workflows_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { callEndpoint, type EndpointReply, retryAfterOf } from '../oauth/call_endpoint.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../oauth/client_assertion.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import type { WorkloadIdentity } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import type { NarrowedRequest } from './ceiling.ts';
import type { WorkflowClients } from './clients.ts';
import { type GrantedToken, readGrant } from './granted_token.ts';
import type { BrokerError } from './reasons.ts';
import { type Outcome, type Refusal, refuse, refuseFor } from './refusal.ts';
import type { AuthorizationServer, ServerEndpoints } from './server.ts';
import type { WorkflowClient } from './static_clients.ts';
import { QueueBusy, TokenQueue } from './token_queue.ts';

/** One request for a token, narrowed. */
export interface IssueRequest {
  readonly workflow: WorkflowConfig;
  readonly identity: WorkloadIdentity;
  readonly narrowed: NarrowedRequest;
  /** The proof that the job made for the token endpoint, passed on as it is. */
  readonly proof: string;
  /** Thumbprint of its key. */
  readonly thumbprint: string;
}

/** What tokens are issued with. */
export interface TokenIssuerOptions {
  readonly config: Pick<BrokerConfig, 'authorization_server' | 'limits'>;
  readonly server: AuthorizationServer;
  readonly clients: WorkflowClients;
  readonly clock: Clock;
  readonly log: Log;
}

/** Seconds that a Retry-After of the server is honoured at most. */
const LONGEST_PAUSE = 300;
/** Seconds to wait where the server does not say. */
const USUAL_RETRY = 2;
/** Refusals that are about what the job asked for, or its proof: they are the job's to know. */
const RELAYED: ReadonlySet<string> = new Set([
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'invalid_authorization_details',
  'invalid_dpop_proof',
  'use_dpop_nonce',
  'access_denied',
]);
/** Refusals that are about the client of the broker. */
const ABOUT_CLIENT: ReadonlySet<string> = new Set(['invalid_client', 'unauthorized_client']);

/** Asks the authorization server for tokens, with the client of the workflow and the proof of the job. */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions;
  readonly queue: TokenQueue;
  readonly #closing = new AbortController();

  constructor(options: TokenIssuerOptions) {
    this.#options = options;
    const { limits, authorization_server: server } = options.config;
    this.queue = new TokenQueue({
      connections: server.connections,
      limit: limits.queue,
      timeoutMs: limits.queue_timeout_ms,
    });
  }

  /** Ends what waits and what is under way: nobody is there any more to get the answer. */
  close(): void {
    this.queue.close();
    this.#closing.abort();
  }

  /** Asks once; an attempt is not repeated, since a proof is good for one. Never rejects with what the server said. */
  async issue(request: IssueRequest): Promise<Outcome<GrantedToken>> {
    try {
      return await this.queue.run(() => this.#ask(request));
    } catch (error) {
      if (!(error instanceof QueueBusy)) throw error;
      return refuseFor(error.retryAfter, 'queue_busy', error.message);
    }
  }

  /** Revokes a token that the job handed over (RFC 7009 §2.1). @returns whether the server took it */
  async revoke(workflow: WorkflowConfig, token: string): Promise<boolean> {
    const { server, clients, config } = this.#options;
    const url = server.endpoints?.revocation ?? null;
    const client = await clients.use(workflow);
    if (server.endpoints === null || url === null || client === null) return false;
    const answer = await callEndpoint({
      url,
      method: 'POST',
      headers: FORM,
      body: String(
        new URLSearchParams({
          token,
          token_type_hint: 'access_token',
          ...(await this.#authentication(client, server.endpoints)),
        }),
      ),
      timeoutMs: config.authorization_server.timeout_ms,
      signal: this.#closing.signal,
    });
    return answer.ok && answer.status === 200;
  }

  async #ask({ workflow, identity, narrowed, proof, thumbprint }: IssueRequest): Promise<Outcome<GrantedToken>> {
    const { server, clients, config } = this.#options;
    const { endpoints } = server;
    const client = await clients.use(workflow);
    if (endpoints === null || client === null) {
      return refuseFor(USUAL_RETRY, 'client_missing');
    }
    const body = new URLSearchParams({ grant_type: 'client_credentials' });
    if (narrowed.scopes.length > 0) body.set('scope', narrowed.scopes.join(' '));
    if (narrowed.details.length > 0) body.set('authorization_details', JSON.stringify(narrowed.details));
    for (const resource of narrowed.resources) body.append('resource', resource);
    const job = jobClaimsOf(identity, workflow);
    // Made now and not when it was queued: it is good for a minute.
    for (const [name, value] of Object.entries(await this.#authentication(client, endpoints, job)))
      body.set(name, value);
    const answer = await callEndpoint({
      url: endpoints.token,
      method: 'POST',
      headers: { ...FORM, dpop: proof },
      body: String(body),
      timeoutMs: config.authorization_server.timeout_ms,
      signal: this.#closing.signal,
    });
    if (!answer.ok) {
      this.#options.log.error({ problem: answer.problem }, 'the authorization server gave no answer');
      return refuseFor(USUAL_RETRY, 'server_unreachable');
    }
    if (answer.status !== 200) return this.#refusalOf(answer, workflow);
    clients.trust(workflow);
    const token = readGrant(answer, { thumbprint, narrowed });
    if (!token.ok)
      this.#options.log.error({ reason: token.reason, workflow: workflow.name }, 'a token was not handed on');
    return token;
  }

  async #authentication(
    { clientId, key }: WorkflowClient,
    { issuer }: ServerEndpoints,
    job?: JsonObject,
  ): Promise<Record<string, string>> {
    const { clock } = this.#options;
    const claims = job === undefined ? {} : { job };
    return {
      client_id: clientId,
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await makeClientAssertion({ clientId, issuer, key, claims, clock }),
    };
  }

  #refusalOf({ status, headers, value }: EndpointReply, workflow: WorkflowConfig): Refusal {
    const { clock, log, clients } = this.#options;
    const { error, error_description: words } = (isJsonObject(value) ? value : {}) as Record<string, unknown>;
    const code = typeof error === 'string' && /^\w{1,64}$/.test(error) ? error : null;
    if (status === 429 || status >= 500) {
      const seconds = retryAfterOf(headers, clock(), LONGEST_PAUSE);
      if (seconds !== null) this.queue.pause(seconds);
      log.warn({ status, error: code, retry_after: seconds }, 'the authorization server is busy');
      return refuseFor(seconds ?? USUAL_RETRY, 'server_busy');
    }
    if (code !== null && RELAYED.has(code) && status < 500) {
      const nonce = headers.get('dpop-nonce');
      return {
        ...refuse('server_refused', nonce === null ? {} : { headers: { 'dpop-nonce': nonce } }),
        status: status === 403 ? 403 : 400,
        error: code as BrokerError,
        description: wordsOf(words, code),
      };
    }
    log.error(
      { status, error: code, workflow: workflow.name },
      'the authorization server refused the client of the workflow',
    );
    if (code !== null && ABOUT_CLIENT.has(code)) {
      clients.doubt(workflow);
      return refuseFor(USUAL_RETRY, 'client_refused');
    }
    return refuse('server_unusable');
  }
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

/** What the identity token says of the job, as far as the workflow states it in the assertion. */
export function jobClaimsOf({ job }: WorkloadIdentity, { job_claims: stated }: WorkflowConfig): JsonObject {
  const { claims: _claims, ...members } = job;
  return Object.fromEntries(
    Object.entries(members).filter(([name, value]) => value !== null && (stated as readonly string[]).includes(name)),
  );
}

/** Words of the server, in the characters of RFC 6749 §5.2. */
function wordsOf(words: unknown, code: string): string {
  const clean = typeof words === 'string' ? words.replace(/[^\x20\x21\x23-\x5B\x5D-\x7E]/g, ' ').slice(0, 300) : '';
  return clean === '' ? `The authorization server says ${code}.` : `The authorization server says: ${clean}`;
}
