import { compactVerify, errors } from 'jose';
import type { Clock } from '../kernel/clock.ts';
import { sealToken, type VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { type CompactJws, parseCompactJws } from '../oauth/compact_jws.ts';
import type { VerificationKey } from '../oauth/key_set.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import { readAuthorizationDetails } from './authorization_details.ts';
import { checkAudience, checkValidity, readClaims, type TokenClaims } from './claims.ts';
import { readConfirmation } from './confirmation.ts';
import { deepFreeze } from './freeze.ts';
import type { TrustedIssuer, TrustedIssuers } from './issuers.ts';
import { readJob } from './job.ts';
import type { SharedValues } from './shared_values.ts';

/** Bytes that an access token may have. */
export const MAX_TOKEN_BYTES = 16_384;
const MAX_KID_LENGTH = 1024;
/** Signatures that are computed for one token at most: several keys may share a `kid`, and all keys fit a token without one. */
const MAX_KEYS_TRIED = 4;
/** RFC 9068 §4, in lower case: media types are compared without case (RFC 7515 §4.1.9). */
const TYPES: ReadonlySet<string> = new Set(['at+jwt', 'application/at+jwt']);

/** A token as presented. */
export interface PresentedToken {
  readonly text: string;
  /** base64url(SHA-256(text)). */
  readonly digest: string;
  /** The resource of the route that it was presented for. */
  readonly resource: string;
}

/** A verified token with what must be asked again each time it is presented. */
export interface VerifiedJwt {
  readonly token: VerifiedToken;
  /** Seconds since the Unix epoch; null when the token has no nbf. */
  readonly notBefore: number | null;
  readonly issuer: TrustedIssuer;
  readonly key: VerificationKey;
}

/** What tokens are verified with. */
export interface JwtVerification {
  readonly issuers: TrustedIssuers;
  readonly clock: Clock;
  readonly shared: SharedValues;
}

/**
 * Verifies a JWT access token (RFC 9068 §4, RFC 8725 §3). Refuses with any `token.*` reason, in this order: form, type, algorithm, critical
 * header, issuer, key, signature, claims, audience, times, confirmation, details.
 */
export async function verifyJwt(
  presented: PresentedToken,
  { issuers, clock, shared }: JwtVerification,
): Promise<Checked<VerifiedJwt>> {
  const jws = parseCompactJws(presented.text, { maxBytes: MAX_TOKEN_BYTES });
  if (!jws.ok) return deny('token.malformed', jws.problem);
  const header = readHeader(jws.value, issuers);
  if (!header.ok) return header;
  const { issuer } = header.value;
  const key = await findSigner(presented.text, header.value);
  if (!key.ok) return key;

  const { payload } = jws.value;
  const claims = readClaims(payload);
  if (!claims.ok) return deny('token.claims', claims.problem);
  const audience = checkAudience(claims.value.audience, presented.resource);
  if (!audience.ok) return audience;
  const validity = checkValidity(claims.value, clock());
  if (!validity.ok) return validity;
  const token = readRights({ ...presented, issuer: issuer.issuer, payload, claims: claims.value }, shared);
  return token.ok ? pass({ token: token.value, notBefore: claims.value.notBefore, issuer, key: key.value }) : token;
}

interface Header {
  readonly alg: string;
  readonly kid: string | undefined;
  readonly issuer: TrustedIssuer;
}

/**
 * Chooses the issuer by what the token says of itself. `jwk`, `jku`, `x5u` and `x5c` are not looked at: the keys are the issuer's own
 * (RFC 8725 §3.10).
 */
function readHeader({ header, payload }: CompactJws, issuers: TrustedIssuers): Checked<Header> {
  const { typ, alg, kid } = header;
  if (typeof typ !== 'string' || !TYPES.has(typ.toLowerCase())) return deny('token.type', `typ is ${shown(typ)}`);
  if (!issuers.allow(alg)) return deny('token.algorithm', `alg is ${shown(alg)}`);
  // RFC 7515 §4.1.11, RFC 7797 §6: no extension is understood here, an unencoded payload included.
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return deny('token.critical_header');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    return deny('token.malformed', 'kid is not a text, or too long');
  }
  const issuer = issuers.get(payload['iss']);
  if (issuer === undefined) return deny('token.issuer_unknown', `iss is ${shown(payload['iss'])}`);
  if (!issuer.algorithms.has(alg)) return deny('token.algorithm', `alg ${alg} is not allowed for ${issuer.issuer}`);
  return pass({ alg, kid, issuer });
}

/** Finds the key of the issuer that made the signature (RFC 9068 §4). */
async function findSigner(text: string, wanted: Header): Promise<Checked<VerificationKey>> {
  const tried: VerificationKey[] = [];
  for (;;) {
    const found = await wanted.issuer.keys.find(wanted, tried);
    if (!found.ok && tried.length > 0) break;
    if (!found.ok && found.why === 'unavailable') {
      const retryAfterSeconds = Math.max(Math.ceil(found.retryAfterMs / 1000), 1);
      return deny('token.keys_unavailable', { note: `no keys of ${wanted.issuer.issuer}`, retryAfterSeconds });
    }
    if (!found.ok) return deny('token.key_unknown', `kid is ${shown(wanted.kid)}, issuer ${wanted.issuer.issuer}`);
    for (const key of found.keys) {
      if (tried.length === MAX_KEYS_TRIED) return deny('token.key_unknown', 'too many keys fit the token');
      if (await isSignedBy(key, text, wanted.alg)) return pass(key);
      tried.push(key);
    }
    // Without a kid, a key that was published since is looked for, as it is for an unknown kid.
    if (wanted.kid !== undefined) break;
  }
  return deny('token.signature');
}

async function isSignedBy(key: VerificationKey, text: string, alg: string): Promise<boolean> {
  try {
    await compactVerify(text, key.key, { algorithms: [alg] });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}

/** An unverified value for the record, where it is short and plain enough to be put there. */
function shown(value: unknown): string {
  if (value === undefined) return 'absent';
  return typeof value === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/.test(value)
    ? `"${value}"`
    : 'not a short plain text';
}

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

interface ReadPayload {
  readonly digest: string;
  readonly issuer: string;
  readonly payload: JsonObject;
  readonly claims: TokenClaims;
}

function readRights({ digest, issuer, payload, claims }: ReadPayload, shared: SharedValues): Checked<VerifiedToken> {
  const confirmation = readConfirmation(payload['cnf']);
  if (!confirmation.ok) return deny('token.confirmation', confirmation.problem);
  const details = readAuthorizationDetails(payload['authorization_details']);
  if (!details.ok) return deny('token.authorization_details', details.problem);
  const job = readJob(payload['job']);
  if (!job.ok) return deny('token.claims', job.problem);
  const { client_auth_method: method } = payload;
  if (method !== undefined && typeof method !== 'string')
    return deny('token.claims', 'client_auth_method is not a text');
  const facts = {
    kind: 'jwt',
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
  } as const;
  return pass(sealToken(deepFreeze(facts)));
}
