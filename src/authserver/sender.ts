import { errors } from 'oidc-provider';
import { validateDpop } from 'oidc-provider/lib/helpers/grants.js';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { certificateThumbprint } from '../oauth/thumbprint.ts';
import type { ClientRecord } from './clients.ts';
import { type AuthenticatedRequest, CLOCK_TOLERANCE } from './provider.ts';
import type { Use } from './single_use.ts';

/** What a token is bound to; at least one of the two. */
export interface Sender {
  /** RFC 9449 §6.1. */
  readonly jkt: string | null;
  /** RFC 8705 §3.1. */
  readonly x5tS256: string | null;
  /** The use of the proof, to be claimed last; null without a proof. */
  readonly use: Use | null;
}

/** Seconds that a proof may be old (RFC 9449 §11.1). */
const PROOF_AGE = 60;
const PROOF_BYTES = 16_384;

/**
 * Finds what the token will be bound to: the key of the proof, where there is one; the certificate of the connection, where the client's
 * tokens are bound to it. What the client's tokens must be bound to is not left out. `now`: seconds since the Unix epoch.
 */
export async function readSender(ctx: AuthenticatedRequest, client: ClientRecord, now: number): Promise<Sender> {
  const proof = await readProof(ctx, client, now);
  const x5tS256 = client.binding.certificate ? thumbprintOf(ctx) : null;
  if (proof === null && x5tS256 === null) throw new errors.InvalidDpopProof('a DPoP proof is required');
  return { jkt: proof?.jkt ?? null, x5tS256, use: proof?.use ?? null };
}

function thumbprintOf(ctx: AuthenticatedRequest): string {
  const { certificate } = ctx.req;
  if (certificate === null) {
    throw new errors.InvalidRequest('a client certificate is required: the tokens of this client are bound to it');
  }
  return certificateThumbprint(certificate.certificate.raw);
}

async function readProof(
  ctx: AuthenticatedRequest,
  client: ClientRecord,
  now: number,
): Promise<{ jkt: string; use: Use } | null> {
  const text = ctx.get('DPoP');
  if (text === '') {
    if (client.binding.dpop) throw new errors.InvalidDpopProof('a DPoP proof is required'); // RFC 9449 §5
    return null;
  }
  const parsed = parseCompactJws(text, { maxBytes: PROOF_BYTES });
  if (!parsed.ok) throw new errors.InvalidDpopProof('the DPoP proof is not a well-formed JWT');
  const proof = await validateDpop(ctx.oidc.provider, ctx);
  if (proof === undefined) throw new errors.InvalidDpopProof('a DPoP proof is required');
  const { thumbprint: jkt, iat, jti } = proof;
  const age = now - iat;
  if (!(age <= PROOF_AGE && age >= -CLOCK_TOLERANCE)) {
    throw new errors.InvalidDpopProof('iat of the DPoP proof is not recent enough');
  }
  if (jti.length > 256) throw new errors.InvalidDpopProof('jti of the DPoP proof is too long');
  return { jkt, use: { kind: 'proof', owner: jkt, id: jti, issuedAt: iat, until: Math.ceil(iat) + PROOF_AGE } };
}
