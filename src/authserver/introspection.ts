import { SignJWT } from 'jose';
import { errors } from 'oidc-provider';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import type { AccessTokens, TokenClaims } from './access_tokens.ts';
import { assertionOf } from './client_assertion.ts';
import type { ClientDirectory } from './client_directory.ts';
import type { ClientRecord } from './clients.ts';
import type { KeyRing } from './key_ring.ts';
import { SIGNING_ALGORITHM } from './metadata.ts';
import type { AuthenticatedRequest } from './provider.ts';
import { claimUses } from './single_use.ts';
import type { Store } from './store.ts';

/** What is asked about tokens with. */
export interface IntrospectionParts {
  readonly issuer: string;
  readonly clients: ClientDirectory;
  readonly tokens: AccessTokens;
  readonly keys: KeyRing;
  readonly store: Store;
  readonly clock: Clock;
}

const SIGNED = 'application/token-introspection+jwt';
/** Bytes; longer than every token of this server, so that an answer is given to whatever was presented as one. */
const MAX_TOKEN_CHARACTERS = 98_304;

/**
 * Answers a resource server about a token (RFC 7662 §2). Whatever is not a token of this server, for one of that server's resources, good now,
 * of a client that still exists, is `{"active": false}` and nothing else. As a JWT where the server asks for one (RFC 9701 §4).
 */
export async function introspect(ctx: AuthenticatedRequest, parts: IntrospectionParts): Promise<void> {
  const { issuer, keys, clock } = parts;
  const asking = await authenticated(ctx, parts);
  const { resourceServer } = asking;
  if (resourceServer === undefined) throw new errors.UnauthorizedClient('this client is no resource server');
  const answer = await describe(tokenParameter(ctx), resourceServer.resources, parts);
  if (ctx.accepts('application/json', SIGNED) !== SIGNED) {
    ctx.body = answer;
    return;
  }
  const { kid, key } = keys.current();
  ctx.body = await new SignJWT({ token_introspection: answer })
    .setProtectedHeader({ alg: SIGNING_ALGORITHM, typ: 'token-introspection+jwt', kid }) // RFC 9701 §5
    .setIssuer(issuer)
    .setAudience(asking.clientId)
    .setIssuedAt(secondsOf(clock()))
    .sign(key);
  ctx.type = SIGNED;
}

/** Takes a token of the asking client back (RFC 7009 §2). What is no token is taken back already (§2.2). */
export async function revoke(ctx: AuthenticatedRequest, parts: IntrospectionParts): Promise<void> {
  const asking = await authenticated(ctx, parts);
  const token = tokenParameter(ctx);
  const claims = await parts.tokens.read(token);
  if (claims !== null) {
    // RFC 7009 §2.1: issued to the client that asks, or refused.
    if (claims.client_id !== asking.clientId) throw new errors.UnauthorizedClient('the token is of another client');
    await parts.tokens.revoke(token, claims);
  }
  ctx.status = 200;
  ctx.body = '';
}

/** The client that asks, and its assertion used up. */
async function authenticated(ctx: AuthenticatedRequest, { clients, store }: IntrospectionParts): Promise<ClientRecord> {
  const client = await clients.known(ctx.oidc.client.clientId);
  if (client === null) throw new errors.InvalidClientAuth('client not found');
  const assertion = assertionOf(ctx);
  if (assertion !== null && (await claimUses(store, [assertion.use])) !== null) {
    throw new errors.InvalidClientAuth('the client assertion was used before');
  }
  return client;
}

function tokenParameter(ctx: AuthenticatedRequest): string {
  const { token } = ctx.oidc.params as { token?: unknown };
  if (typeof token !== 'string' || token === '') throw new errors.InvalidRequest('the parameter token is required');
  return token.slice(0, MAX_TOKEN_CHARACTERS);
}

async function describe(
  token: string,
  resources: readonly string[],
  { tokens, clients }: IntrospectionParts,
): Promise<Record<string, unknown>> {
  const claims = await tokens.find(token);
  if (claims === null || !resources.includes(claims.aud)) return { active: false };
  // A client that was removed has no tokens.
  if ((await clients.known(claims.client_id)) === null) return { active: false };
  return { active: true, ...forServer(claims, resources) };
}

/** RFC 9396 §9.2: items for other places are none of this server's business. */
function forServer(claims: TokenClaims, resources: readonly string[]): Record<string, unknown> {
  const { authorization_details: details, ...rest } = claims;
  const cnf = claims['cnf'] as Readonly<Record<string, unknown>> | undefined;
  const kept = (Array.isArray(details) ? (details as { locations?: unknown }[]) : []).filter(
    ({ locations }) => !Array.isArray(locations) || locations.some((place) => isWithin(String(place), resources)),
  );
  return {
    ...rest,
    token_type: cnf?.['jkt'] === undefined ? 'Bearer' : 'DPoP',
    ...(kept.length === 0 ? {} : { authorization_details: kept }),
  };
}

/** A location is a resource of the server, or lies below one or above one, by whole segments. */
function isWithin(location: string, resources: readonly string[]): boolean {
  return resources.some((resource) => isBelow(location, resource) || isBelow(resource, location));
}

function isBelow(one: string, other: string): boolean {
  return one === other || one.startsWith(other.endsWith('/') ? other : `${other}/`) || `${one}/` === other;
}
