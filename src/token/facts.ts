import { sealToken, type TokenFacts, type VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { readAuthorizationDetails } from './authorization_details.ts';
import type { TokenClaims } from './claims.ts';
import { readConfirmation } from './confirmation.ts';
import { deepFreeze } from './freeze.ts';
import { readJob } from './job.ts';
import type { SharedValues } from './shared_values.ts';

/** Claims that have a place of their own in `VerifiedToken`. */
const READ_CLAIMS: ReadonlySet<string> = new Set([
  'iss',
  'sub',
  'client_id',
  'aud',
  'exp',
  'iat',
  'nbf',
  'jti',
  'scope',
  'cnf',
  'authorization_details',
  'job',
  'client_auth_method',
]);

/** What is known of a token whose claims were checked. */
export interface CheckedToken {
  readonly kind: TokenFacts['kind'];
  readonly digest: string;
  readonly issuer: string;
  readonly payload: JsonObject;
  readonly claims: TokenClaims;
}

/**
 * Reads what a token grants and to whom it is bound, and seals it. Called when everything else about the token was found good.
 * Refuses with `token.confirmation`, `token.authorization_details`, `token.claims`.
 */
export function readFacts(checked: CheckedToken, shared: SharedValues): Checked<VerifiedToken> {
  const { kind, digest, issuer, payload, claims } = checked;
  const confirmation = readConfirmation(payload['cnf']);
  if (!confirmation.ok) return deny('token.confirmation', confirmation.problem);
  const details = readAuthorizationDetails(payload['authorization_details']);
  if (!details.ok) return deny('token.authorization_details', details.problem);
  const job = readJob(payload['job']);
  if (!job.ok) return deny('token.claims', job.problem);
  const { client_auth_method: method } = payload;
  if (method !== undefined && typeof method !== 'string')
    return deny('token.claims', 'client_auth_method is not a text');
  const facts: TokenFacts = {
    kind,
    digest,
    issuer,
    subject: claims.subject,
    clientId: claims.clientId,
    audience: shared.share(claims.audience),
    jti: claims.jti,
    issuedAt: claims.issuedAt,
    expiresAt: claims.expiresAt,
    scopes: shared.share(claims.scopes),
    authorizationDetails: shared.share(details.value),
    confirmation: confirmation.value,
    job: job.value,
    clientAuthMethod: method ?? null,
    claims: shared.share(Object.fromEntries(Object.entries(payload).filter(([name]) => !READ_CLAIMS.has(name)))),
  };
  return pass(sealToken(deepFreeze(facts)));
}
