import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { isNumericDate } from '../oauth/numeric_date.ts';
import { CLOCK_TOLERANCE } from './provider.ts';
import type { Use } from './single_use.ts';

/** Seconds that an assertion may be valid ahead: it is made for one request. */
const ASSERTION_AHEAD = 300;
const ASSERTION_BYTES = 16_384;

/** What a good assertion leaves behind for the handler. */
export interface Assertion {
  readonly use: Use;
  /** What the client states of the job; not checked. */
  readonly job: unknown;
}

/** What assertions are held against. */
export interface AssertionRules {
  readonly issuer: string;
  /** Seconds since the Unix epoch. */
  readonly now: number;
}

const KEY = 'assertion';

/** Checks an assertion beyond what oidc-provider does, after its signature was found good (RFC 7523 §3), and keeps it for `assertionOf`. */
export function checkAssertion(
  ctx: KoaContextWithOIDC,
  claims: Readonly<Record<string, unknown>>,
  { header, rules: { issuer, now } }: { header: Readonly<Record<string, unknown>>; rules: AssertionRules },
): void {
  // RFC 6749 §2.3: one method of authentication for each request.
  if (ctx.oidc.body?.['client_secret'] !== undefined) {
    throw new errors.InvalidRequest('client authentication must only be provided using one mechanism');
  }
  const assertion = parseCompactJws(String(ctx.oidc.params?.['client_assertion']), { maxBytes: ASSERTION_BYTES });
  if (!assertion.ok) throw new errors.InvalidClientAuth(assertion.problem);
  // RFC 8725 §3.11: a token or a proof signed with the same key is no assertion.
  if (![undefined, 'JWT', 'client-authentication+jwt'].includes(header['typ'] as string | undefined)) {
    throw new errors.InvalidClientAuth('typ of the client assertion is another');
  }
  if (!isSole(claims['aud'], issuer)) {
    throw new errors.InvalidClientAuth('aud of the client assertion is not the issuer alone');
  }
  const { exp, jti } = claims as { exp: number; jti: string };
  if (!(exp <= now + ASSERTION_AHEAD + CLOCK_TOLERANCE)) {
    throw new errors.InvalidClientAuth('the client assertion is valid for too long');
  }
  if (jti.length > 256) throw new errors.InvalidClientAuth('jti of the client assertion is too long');
  const owner = ctx.oidc.client?.clientId ?? '';
  const { iat } = claims;
  // Without iat: no sooner than its exp was allowed.
  const issuedAt = isNumericDate(iat) ? iat : exp - ASSERTION_AHEAD - CLOCK_TOLERANCE;
  const kept: Assertion = {
    use: { kind: 'assertion', owner, id: jti, issuedAt, until: exp + CLOCK_TOLERANCE },
    job: claims['job'],
  };
  ctx.state[KEY] = kept;
}

/** The assertion of a request; null where the client authenticated in another way. */
export function assertionOf(ctx: KoaContextWithOIDC): Assertion | null {
  return (ctx.state[KEY] as Assertion | undefined) ?? null;
}

/** One value and no other: with two, another server could pass the assertion on (draft-ietf-oauth-rfc7523bis). */
function isSole(audience: unknown, issuer: string): boolean {
  return audience === issuer || (Array.isArray(audience) && audience.length === 1 && audience[0] === issuer);
}
