import type { Clock } from '../kernel/clock.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { JsonObject } from '../oauth/strict_json.ts';
import type { RememberedToken } from './cache.ts';
import { readFacts } from './facts.ts';
import { overlayAnswer, readIntrospected, refusalOfAnswer } from './introspected.ts';
import type { Introspection } from './introspection.ts';
import type { TrustedIssuer, TrustedIssuers } from './issuers.ts';
import { type VerifiedJwt, verifyJwt } from './jwt.ts';
import { isJwtShaped, type PresentedToken } from './presented_token.ts';
import type { SharedValues } from './shared_values.ts';
import { readStatus } from './status_reference.ts';

/** What tokens are verified with. */
export interface Verification {
  readonly issuers: TrustedIssuers;
  readonly clock: Clock;
  readonly shared: SharedValues;
}

/**
 * Verifies a token that is not remembered. The one place that chooses how, by its form: a JWT by its signature, and by asking its issuer
 * where that is configured; an opaque token by asking the one issuer that the route takes such tokens from. A JWT that was refused is never
 * taken for an opaque token. Where no opaque tokens are taken, every token is a JWT, well-formed or not.
 */
export async function verifyAnew(
  presented: PresentedToken,
  verification: Verification,
): Promise<Checked<RememberedToken>> {
  const issuer = verification.issuers.ofOpaqueTokens(presented.route);
  if (issuer?.introspection != null && !isJwtShaped(presented.text)) {
    return verifyOpaque({ presented, issuer, introspection: issuer.introspection }, verification);
  }
  const jwt = await verifyJwt(presented, verification);
  return jwt.ok ? completeJwt(presented, jwt.value, verification) : jwt;
}

/** A question to an issuer. */
interface Question {
  readonly presented: PresentedToken;
  readonly issuer: TrustedIssuer;
  readonly introspection: Introspection;
}

async function verifyOpaque(question: Question, verification: Verification): Promise<Checked<RememberedToken>> {
  const from = verification.clock(); // Before the question: the answer is at least as old.
  const answer = await question.introspection.ask(question.presented);
  if (!answer.ok) return answer;
  return readAnswer(question, { members: answer.value, from, jwt: null }, verification);
}

async function completeJwt(
  presented: PresentedToken,
  jwt: VerifiedJwt,
  verification: Verification,
): Promise<Checked<RememberedToken>> {
  const { issuer, key, payload, claims } = jwt;
  const status = readStatus(payload['status'], issuer.statusRules);
  if (!status.ok) return status;
  const { digest } = presented;
  const token = readFacts({ kind: 'jwt', digest, issuer: issuer.issuer, payload, claims }, verification.shared);
  if (!token.ok) return token;
  const remembered: RememberedToken = {
    token: token.value,
    notBefore: claims.notBefore,
    issuer,
    key,
    status: status.value,
    answer: null,
  };
  if (issuer.introspection?.asksAboutJwts !== true) return pass(remembered);
  const from = verification.clock();
  const answer = await issuer.introspection.ask(presented);
  if (!answer.ok) return answer;
  const members = overlayAnswer(payload, answer.value);
  if (!members.ok) return deny('token.introspection_unavailable', `the answer is malformed: ${members.problem}`);
  const question = { presented, issuer, introspection: issuer.introspection };
  return readAnswer(question, { members: members.value, from, jwt: remembered }, verification);
}

/** What an issuer said of an active token. */
interface Answer {
  /** Of the answer, over those of the JWT. */
  readonly members: JsonObject;
  /** When the question was asked, milliseconds since the Unix epoch. */
  readonly from: number;
  /** The JWT that was asked about; null for an opaque token. */
  readonly jwt: RememberedToken | null;
}

function readAnswer(
  { presented, issuer, introspection }: Question,
  { members, from, jwt }: Answer,
  { clock, shared }: Verification,
): Checked<RememberedToken> {
  const read = readIntrospected(members, { presented, issuer: issuer.issuer, now: clock() });
  if (!read.ok) return read;
  const { payload, claims } = read.value;
  const kind = jwt === null ? 'opaque' : 'jwt';
  const token = readFacts({ kind, digest: presented.digest, issuer: issuer.issuer, payload, claims }, shared);
  if (!token.ok) return refusalOfAnswer(token);
  return pass({
    token: token.value,
    notBefore: claims.notBefore,
    issuer,
    key: jwt?.key ?? null,
    status: jwt?.status ?? null,
    // RFC 7662 §4: never past exp.
    answer: { from, until: Math.min(from + introspection.cacheMs, claims.expiresAt * 1000) },
  });
}
