import type { Binding, RequestContext, VerifiedToken } from '../kernel/context.ts';
import { deny } from '../kernel/denial.ts';
import { type Checked, type Denied, pass } from '../kernel/result.ts';

/** What the sender has to show for this token on this route, after what the connection shows was compared. */
export type Owed =
  | { readonly method: 'dpop'; readonly jkt: string; readonly certificate: string | null }
  | { readonly method: Exclude<Binding, 'dpop'>; readonly thumbprint: string | null };

/**
 * Whether scheme, binding of the token and route agree, and whether the connection carries the certificate that the token asks for.
 *
 * | token bound to | under DPoP | under Bearer |
 * |---|---|---|
 * | a key | a proof is owed | proof.bound_token_as_bearer (RFC 9449 §7.2) |
 * | a certificate | proof.unbound_token: no key to prove | the certificate is owed (RFC 8705 §3) |
 * | both | proof and certificate are owed | proof.bound_token_as_bearer |
 * | nothing | proof.unbound_token (RFC 9449 §7.1) | passes only on a route that names bearer |
 *
 * A kind of binding that the route does not list is proof.binding_not_allowed.
 */
export function checkBinding(context: RequestContext, token: VerifiedToken): Checked<Owed> {
  const { jkt, x5tS256 } = token.confirmation;
  const { bindings } = context.route;
  if (context.credentials.scheme === 'dpop') {
    if (jkt === undefined) return deny('proof.unbound_token', 'token without jkt under the DPoP scheme');
    if (!bindings.includes('dpop')) return deny('proof.binding_not_allowed', 'route does not take DPoP');
    const refused = x5tS256 === undefined ? null : checkCertificate(context, token, x5tS256);
    return refused ?? pass({ method: 'dpop', jkt, certificate: x5tS256 ?? null });
  }
  if (jkt !== undefined) return deny('proof.bound_token_as_bearer', 'token with jkt under the Bearer scheme');
  if (x5tS256 !== undefined) {
    if (!bindings.includes('mtls')) return deny('proof.binding_not_allowed', 'route does not take certificates');
    return checkCertificate(context, token, x5tS256) ?? pass({ method: 'mtls', thumbprint: x5tS256 });
  }
  if (!bindings.includes('bearer')) return deny('proof.unbound_token', 'token without cnf');
  return pass({ method: 'bearer', thumbprint: null });
}

/** RFC 8705 §3: the certificate of the caller must be the one in the token, and good in itself now. Null when it is. */
function checkCertificate(
  { certificate, receivedAt }: RequestContext,
  token: VerifiedToken,
  x5tS256: string,
): Denied | null {
  if (certificate === null) return deny('proof.certificate_missing', 'no client certificate');
  if (certificate.untrusted !== null) return deny('proof.certificate_invalid', certificate.untrusted);
  // For each request: a connection, or a session that is resumed, may outlive the certificate.
  if (!(receivedAt <= certificate.notAfter)) return deny('proof.certificate_invalid', 'it has expired');
  if (!(receivedAt >= certificate.notBefore)) return deny('proof.certificate_invalid', 'it is not valid yet');
  if (certificate.x5tS256 === x5tS256) return null;
  return refuseOtherKey(token, { 'x5t#S256': certificate.x5tS256 }, 'another client certificate');
}

/**
 * Refuses a token that is bound to another key than the one that was shown. What a JWT is bound to stands in it, for whoever has it; of an
 * opaque token only its issuer and its holder know, and nobody is told here.
 */
export function refuseOtherKey({ kind, confirmation }: VerifiedToken, seen: ShownKey, note?: string): Denied {
  const bound = { jkt: confirmation.jkt, 'x5t#S256': confirmation.x5tS256 };
  const names = Object.keys(seen) as (keyof ShownKey)[];
  const expected = Object.fromEntries(names.map((name) => [name, (kind === 'jwt' ? bound[name] : null) ?? NOT_TOLD]));
  return deny('proof.key_mismatch', {
    ...(note !== undefined && { note }),
    disclosure: { expected, seen: { ...seen } },
  });
}

/** The thumbprint of a key, or of a certificate, as a token would name it. */
interface ShownKey {
  readonly jkt?: string;
  readonly 'x5t#S256'?: string;
}

const NOT_TOLD = 'that of the key the token was issued for';
