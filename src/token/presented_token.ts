/** Bytes that an access token may have. */
export const MAX_TOKEN_BYTES = 16_384;

/** A token as presented, and for what. */
export interface PresentedToken {
  readonly text: string;
  /** base64url(SHA-256(text)). */
  readonly digest: string;
  /** The resource of the route that it was presented for. */
  readonly resource: string;
  /** The name of that route. */
  readonly route: string;
  /** The address that it came from. */
  readonly from: string;
}

/**
 * Whether a token is to be judged as a JWT: three parts, the first of which a lenient reader could take for a JSON object. Lenient, so that
 * no spelling of a JWT passes for an opaque token that somebody else judges; `verifyJwt` reads it strictly. Everything else is opaque, also
 * where it has dots (RFC 6750 §2.1), and a JWE (RFC 7516 §3.1: five parts), which only its issuer can read.
 */
export function isJwtShaped(text: string): boolean {
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  if (first < 1 || second < 0 || text.indexOf('.', second + 1) >= 0) return false;
  return Buffer.from(text.slice(0, first), 'base64url').toString('utf8').trimStart().startsWith('{');
}
