import { errors } from 'oidc-provider';
import { isJsonObject } from '../oauth/strict_json.ts';
import {
  CLOCK_SKEW_SECONDS,
  type WorkloadFailure,
  type WorkloadIdentity,
  type WorkloadIssuers,
} from '../oauth/workload_identity.ts';
import { assertionOf } from './client_assertion.ts';
import type { ClientRecord } from './clients.ts';
import { jobOf, type TokenJob } from './job_claims.ts';
import { GRANT_TYPES } from './metadata.ts';
import { type AuthenticatedRequest, unavailable } from './provider.ts';
import type { Use } from './single_use.ts';
import { fits } from './workload_rule.ts';

/** Whom a token is about. */
export interface Subject {
  readonly subject: string;
  /** RFC 8693 §4.1: who acts for the subject; null where the subject acts itself. */
  readonly actor: Readonly<Record<string, unknown>> | null;
  readonly job: TokenJob | undefined;
  /** The workload identity that was verified; null where there was none. */
  readonly workload: WorkloadIdentity | null;
  /** Seconds since the Unix epoch: no token lives longer. Null: no bound of its own. */
  readonly deadline: number | null;
  /** The identity tokens that are used up. */
  readonly identities: readonly WorkloadIdentity[];
}

/** RFC 8693 §3: what a workload identity token may be called. */
const TOKEN_TYPES = ['urn:ietf:params:oauth:token-type:jwt', 'urn:ietf:params:oauth:token-type:id_token'];
/** RFC 8693 §3: what is issued. */
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
/** Levels of delegation that are passed on. */
const MAX_ACTORS = 8;

type Parameters = Readonly<Record<string, unknown>>;

/** Finds whom the token is about: the client itself, or who the workload identity token in the request speaks for. */
export async function readSubject(
  ctx: AuthenticatedRequest,
  client: ClientRecord,
  issuers: WorkloadIssuers,
): Promise<Subject> {
  const { grant_type: grant } = ctx.oidc.params;
  if (grant === GRANT_TYPES.tokenExchange) return exchange(ctx, client, issuers);
  if (grant === GRANT_TYPES.jwtBearer) return byAssertion(ctx, client, issuers);
  // Who has no key of its own is known by the identity token alone.
  if (client.method === 'none') throw new errors.UnauthorizedClient('this client has no key of its own');
  return aboutClient(ctx, client);
}

function aboutClient(ctx: AuthenticatedRequest, client: ClientRecord): Subject {
  const job = jobOf(client.job, assertionOf(ctx)?.job);
  if (!job.ok) throw new errors.InvalidRequest(job.problem);
  const { clientId: subject } = client;
  const deadline = job.value?.deadline ?? null;
  return { subject, actor: null, job: job.value, workload: null, deadline, identities: [] };
}

/** RFC 7523 §2.1, §3. */
async function byAssertion(
  ctx: AuthenticatedRequest,
  client: ClientRecord,
  issuers: WorkloadIssuers,
): Promise<Subject> {
  const { assertion } = ctx.oidc.params as Parameters;
  if (typeof assertion !== 'string') throw new errors.InvalidRequest('the parameter assertion is required');
  const refuse = (problem: string) => new errors.InvalidGrant(`the assertion cannot be used: ${problem}`);
  const identity = await verify(assertion, issuers, refuse);
  return about(ctx, client, { identity, refuse, actor: null, identities: [identity] });
}

/** RFC 8693 §2.1, §2.2.2: what is wrong with one of the tokens is `invalid_request`. */
async function exchange(ctx: AuthenticatedRequest, client: ClientRecord, issuers: WorkloadIssuers): Promise<Subject> {
  const parameters = ctx.oidc.params as Parameters;
  const { requested_token_type: requested = ACCESS_TOKEN_TYPE } = parameters;
  if (requested !== ACCESS_TOKEN_TYPE) throw new errors.InvalidRequest('only access tokens are issued here');
  const subjectToken = tokenOf(parameters, 'subject');
  if (subjectToken === null) throw new errors.InvalidRequest('the parameter subject_token is required');
  const actorToken = tokenOf(parameters, 'actor');
  const refuse = (problem: string) => new errors.InvalidRequest(`the subject_token cannot be used: ${problem}`);
  const identity = await verify(subjectToken, issuers, refuse);
  const acting =
    actorToken === null
      ? null
      : await verify(
          actorToken,
          issuers,
          (problem) => new errors.InvalidRequest(`the actor_token cannot be used: ${problem}`),
        );
  const actor = actorOf(client, identity, acting);
  mayAct(identity, actor, refuse);
  const identities = acting === null ? [identity] : [identity, acting];
  return about(ctx, client, { identity, refuse, actor, identities });
}

type Refuse = (problem: string) => Error;

interface About {
  readonly identity: WorkloadIdentity;
  readonly refuse: Refuse;
  readonly actor: Subject['actor'];
  readonly identities: readonly WorkloadIdentity[];
}

function about(
  ctx: AuthenticatedRequest,
  client: ClientRecord,
  { identity, refuse, actor, identities }: About,
): Subject {
  if (client.workloads.length === 0) {
    throw new errors.UnauthorizedClient('no workload identity speaks for this client');
  }
  if (!client.workloads.some((rule) => fits(rule, identity))) throw refuse('it speaks for another client');
  const job = jobOf(client.job, assertionOf(ctx)?.job, identity.job);
  if (!job.ok) throw refuse(job.problem);
  const ends = [job.value?.deadline, ...identities.map(({ expiresAt }) => expiresAt)];
  const deadline = Math.floor(Math.min(...ends.filter((end) => end !== undefined)));
  const act = withEarlierActors(actor, identity);
  return { subject: identity.subject, actor: act, job: job.value, workload: identity, deadline, identities };
}

/** A token and its type come together (RFC 8693 §2.1). */
function tokenOf(parameters: Parameters, whose: 'subject' | 'actor'): string | null {
  const token = parameters[`${whose}_token`];
  const type = parameters[`${whose}_token_type`];
  if (token === undefined && type === undefined) return null;
  if (typeof token !== 'string' || typeof type !== 'string') {
    throw new errors.InvalidRequest(`${whose}_token and ${whose}_token_type come together`);
  }
  if (!TOKEN_TYPES.includes(type)) throw new errors.InvalidRequest(`the ${whose}_token_type is not supported`);
  return token;
}

async function verify(token: string, issuers: WorkloadIssuers, refuse: Refuse): Promise<WorkloadIdentity> {
  const outcome = await issuers.verify(token);
  if (outcome.ok) return outcome.value;
  throw failureOf(outcome, refuse);
}

function failureOf(failure: WorkloadFailure, refuse: Refuse): Error {
  return failure.why === 'unavailable' ? unavailable(failure.problem) : refuse(failure.problem);
}

/** RFC 8693 §4.1. A client that is the workload itself acts for nobody else; another one that brings the token does. */
function actorOf(client: ClientRecord, subject: WorkloadIdentity, acting: WorkloadIdentity | null): Subject['actor'] {
  if (acting !== null) {
    const same = acting.issuer === subject.issuer && acting.subject === subject.subject;
    return same ? null : { iss: acting.issuer, sub: acting.subject };
  }
  return client.isWorkload ? null : { sub: client.clientId };
}

/** RFC 8693 §4.4: where the subject says who may act for it, nobody else may. */
function mayAct({ claims }: WorkloadIdentity, actor: Subject['actor'], refuse: Refuse): void {
  const allowed = claims['may_act'];
  if (allowed === undefined || actor === null) return;
  const fitting =
    isJsonObject(allowed) &&
    typeof allowed['sub'] === 'string' &&
    Object.entries(allowed).every(([name, value]) => actor[name] === value);
  if (!fitting) throw refuse('may_act names another actor');
}

/** RFC 8693 §4.1: who acted before stands inside, for information. */
function withEarlierActors(actor: Subject['actor'], { claims }: WorkloadIdentity): Subject['actor'] {
  const earlier = claims['act'];
  if (!isJsonObject(earlier) || depthOf(earlier) >= MAX_ACTORS) return actor;
  return actor === null ? earlier : { ...actor, act: earlier };
}

function depthOf(act: unknown): number {
  return isJsonObject(act) ? 1 + depthOf(act['act']) : 0;
}

/** What is used up with these identity tokens: each once, or again with the key of its first use. */
export function usesOf(identities: readonly WorkloadIdentity[], key: string): Use[] {
  return identities.map(({ useId, issuedAt, expiresAt, issuer, use }) => ({
    kind: 'workload',
    owner: issuer,
    id: useId,
    issuedAt,
    until: expiresAt + CLOCK_SKEW_SECONDS,
    ...(use === 'one_key' ? { by: key } : {}),
  }));
}
