import { errors } from 'oidc-provider';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { type AccessTokens, newTokenId, type TokenClaims } from './access_tokens.ts';
import type { AuthServerCounts } from './authserver_metrics.ts';
import { assertionOf } from './client_assertion.ts';
import type { ClientDirectory } from './client_directory.ts';
import type { ClientRecord } from './clients.ts';
import type { DetailTypes } from './detail_types.ts';
import {
  type EvaluateIssuance,
  type IssuanceFacts,
  issuanceInput,
  narrow,
  type PolicyGrant,
  readPolicyAnswer,
} from './issuance_policy.ts';
import { GRANT_TYPES } from './metadata.ts';
import type { AuthenticatedRequest } from './provider.ts';
import { readSender, type Sender } from './sender.ts';
import { claimUses, type Use } from './single_use.ts';
import type { Store } from './store.ts';
import { ACCESS_TOKEN_TYPE, readSubject, type Subject, usesOf } from './subject.ts';
import { type Rights, readTokenRequest, refuseNothing } from './token_request.ts';

/** What tokens are issued with. */
export interface TokenEndpointParts {
  readonly issuer: string;
  readonly clients: ClientDirectory;
  readonly workloads: WorkloadIssuers;
  readonly types: DetailTypes;
  readonly policy: EvaluateIssuance | null;
  readonly tokens: AccessTokens;
  readonly counts: AuthServerCounts;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
}

const EVERYTHING: PolicyGrant = { scopes: null, authorizationDetails: null, tokenLifetimeSeconds: null };

/**
 * Answers a token request of a client that is known, in this order: what the token will be bound to, whom it is about, what is asked for and
 * lies below the ceiling, what the policy leaves of that; then the token is made, and everything that is good once is claimed, the proof last,
 * so that no refused request burns one. Throws the error of RFC 6749 §5.2 that the client gets; nothing in a description is built from
 * input.
 */
export async function issueToken(ctx: AuthenticatedRequest, parts: TokenEndpointParts): Promise<void> {
  const now = secondsOf(parts.clock());
  const client = await parts.clients.known(ctx.oidc.client.clientId);
  if (client === null || client.resourceServer !== undefined) throw new errors.InvalidClientAuth('client not found');
  const sender = await readSender(ctx, client, now);
  const subject = await readSubject(ctx, client, parts.workloads);
  const request = readTokenRequest(ctx.oidc.params, client.ceiling, parts.types);
  const grantType = ctx.oidc.params.grant_type;
  const facts = { client, authMethod: client.method, grantType, sender, subject, request, now };
  const grant = decide(facts, parts);
  const granted = narrow(request.allowed, grant);
  refuseNothing(request.asked, granted, 'the issuance policy allows');
  const lifetime = lifetimeOf(facts, grant);
  const claims = claimsOf(facts, { issuer: parts.issuer, granted, lifetime });
  const token = await parts.tokens.make(claims);
  if (token === null) throw new errors.InvalidAuthorizationDetails('there are too many for one token');
  await claim(ctx, parts.store, { sender, subject });
  await token.keep();
  await parts.clients.used(client, now);
  const scope = granted.scopes.join(' ');
  ctx.body = {
    access_token: token.value,
    ...(grantType === GRANT_TYPES.tokenExchange ? { issued_token_type: ACCESS_TOKEN_TYPE } : {}),
    token_type: sender.jkt === null ? 'Bearer' : 'DPoP', // RFC 8705 §3: a token bound to a certificate is a Bearer token.
    expires_in: lifetime,
    ...(scope === '' ? {} : { scope }),
    ...(granted.authorizationDetails.length === 0 ? {} : { authorization_details: granted.authorizationDetails }),
  };
  const { jti, aud } = claims;
  const { jkt, x5tS256 } = sender;
  const binding = jkt === null ? 'certificate' : x5tS256 === null ? 'dpop' : 'both';
  parts.counts.issued({ grantType, binding, format: token.format });
  const bound = { ...(jkt === null ? {} : { jkt }), ...(x5tS256 === null ? {} : { 'x5t#S256': x5tS256 }) };
  const about = subject.workload === null ? {} : { subject: subject.subject };
  parts.log.info(
    {
      client_id: client.clientId,
      grant_type: grantType,
      ...about,
      jti,
      aud,
      scope,
      expires_in: lifetime,
      format: token.format,
      ...bound,
    },
    'token issued',
  );
}

function decide(facts: IssuanceFacts, { policy, clock, log }: TokenEndpointParts): PolicyGrant {
  if (policy === null) return EVERYTHING;
  let values: readonly unknown[];
  try {
    values = policy(JSON.stringify(issuanceInput(facts)), clock());
  } catch (error) {
    log.error({ client_id: facts.client.clientId, err: error }, 'the issuance policy failed');
    throw new Error('the issuance policy failed', { cause: error });
  }
  const answer = readPolicyAnswer(values);
  if (!answer.ok) {
    log.error(
      { client_id: facts.client.clientId, problem: answer.problem },
      'the issuance policy gave no usable answer',
    );
    throw new Error('the issuance policy gave no usable answer');
  }
  if (answer.value.allow) return answer.value.grant;
  const codes = answer.value.reasons.join(', ');
  const why = codes === '' ? '' : `: ${codes}`;
  throw new errors.AccessDenied(`the issuance policy refuses this${why}`);
}

/** Seconds: never more than the ceiling, the policy and the job leave. */
function lifetimeOf({ client, subject, now }: IssuanceFacts, grant: PolicyGrant): number {
  const left = subject.deadline === null ? Number.POSITIVE_INFINITY : subject.deadline - now;
  const ceiling = grant.tokenLifetimeSeconds ?? Number.POSITIVE_INFINITY;
  const lifetime = Math.min(client.ceiling.tokenLifetimeSeconds, ceiling, left);
  if (lifetime >= 1) return lifetime;
  throw new errors.InvalidGrant('the job is over');
}

async function claim(
  ctx: AuthenticatedRequest,
  store: Store,
  { sender, subject }: { sender: Sender; subject: Subject },
): Promise<void> {
  const assertion = assertionOf(ctx)?.use;
  const key = sender.jkt ?? sender.x5tS256 ?? '';
  const uses = [assertion, ...usesOf(subject.identities, key), sender.use].filter(
    (use): use is Use => use !== undefined && use !== null,
  );
  const used = await claimUses(store, uses);
  if (used === null) return;
  if (used.kind === 'assertion') throw new errors.InvalidClientAuth('the client assertion was used before');
  if (used.kind === 'proof') throw new errors.InvalidDpopProof('the DPoP proof was used before');
  const problem = 'the workload identity token was used before';
  const exchanging = ctx.oidc.params.grant_type === GRANT_TYPES.tokenExchange;
  throw exchanging ? new errors.InvalidRequest(problem) : new errors.InvalidGrant(problem);
}

/** RFC 9068 §2.2, with `cnf` (RFC 7800), `authorization_details` (RFC 9396 §9.1), `act` (RFC 8693 §4.1) and `job`. */
function claimsOf(
  { client, subject, sender, now }: IssuanceFacts & { client: ClientRecord },
  { issuer, granted, lifetime }: { issuer: string; granted: Rights; lifetime: number },
): TokenClaims {
  const { jkt, x5tS256 } = sender;
  return {
    iss: issuer,
    aud: granted.resource,
    sub: subject.subject,
    client_id: client.clientId,
    jti: newTokenId(),
    iat: now,
    exp: now + lifetime,
    ...(granted.scopes.length === 0 ? {} : { scope: granted.scopes.join(' ') }),
    ...(granted.authorizationDetails.length === 0 ? {} : { authorization_details: granted.authorizationDetails }),
    ...(subject.actor === null ? {} : { act: subject.actor }),
    ...(subject.job === undefined ? {} : { job: subject.job }),
    cnf: { ...(jkt === null ? {} : { jkt }), ...(x5tS256 === null ? {} : { 'x5t#S256': x5tS256 }) },
  };
}
