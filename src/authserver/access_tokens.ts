import { randomBytes, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type { ResourceServerConfig } from '../config/authserver_clients.ts';
import type { Clock } from '../kernel/clock.ts';
import { secondsOf } from '../kernel/clock.ts';
import { parseCompactJws } from '../oauth/compact_jws.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import { sha256Base64url } from '../oauth/thumbprint.ts';
import type { KeyRing } from './key_ring.ts';
import { SIGNING_ALGORITHM } from './metadata.ts';
import { AHEAD } from './single_use.ts';
import { type Store, StoreUnavailable } from './store.ts';

/** A token that was made. */
export interface IssuedToken {
  readonly value: string;
  readonly format: 'jwt' | 'opaque';
  /** Keeps what must be known of it; before that it is worth nothing. */
  keep(): Promise<void>;
}

/** Claims of a token of this server, known to be good. */
export type TokenClaims = JsonObject & {
  readonly jti: string;
  readonly client_id: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
};

/** What tokens are made with. */
export interface AccessTokensOptions {
  readonly issuer: string;
  readonly keys: KeyRing;
  readonly store: Store;
  readonly resourceServers: readonly ResourceServerConfig[];
  readonly clock: Clock;
}

/** Begins every opaque token, so that one that leaked can be found by scanners. */
const OPAQUE_PREFIX = 'spat_';
const OPAQUE_BYTES = 32;
const MAX_TOKEN_BYTES = 98_304;
/** Bytes that claims may have: what a gateway reads of an introspection answer. */
const MAX_CLAIMS_BYTES = 65_536;

/** Makes access tokens, finds out about them, and takes them back. */
export class AccessTokens {
  readonly #options: AccessTokensOptions;
  readonly #servers: ReadonlyMap<string, ResourceServerConfig>;

  constructor(options: AccessTokensOptions) {
    this.#options = options;
    this.#servers = new Map(
      options.resourceServers.flatMap((server) => server.resources.map((resource) => [resource, server] as const)),
    );
  }

  /**
   * Makes a token of its claims: a JWT (RFC 9068), or an opaque one where the resource server wants that or a JWT would be too long to send.
   * Null when it is too long and nobody could ask about it.
   */
  async make(claims: TokenClaims): Promise<IssuedToken | null> {
    const server = this.#servers.get(claims.aud);
    const { token_format: format = 'jwt', large_token_bytes: limit = MAX_JWT_BYTES } = server ?? {};
    if (format !== 'opaque') {
      const value = await this.#sign(claims);
      if (value.length <= limit || format === 'jwt')
        return value.length > MAX_JWT_BYTES ? null : { value, format: 'jwt', keep: nothing };
    }
    const text = JSON.stringify(claims);
    if (text.length > MAX_CLAIMS_BYTES) return null;
    const value = OPAQUE_PREFIX + randomBytes(OPAQUE_BYTES).toString('base64url');
    // By its digest: who reads the store cannot use what is in it.
    const entry = { kind: 'token', id: sha256Base64url(value), value: text, until: claims.exp } as const;
    return { value, format: 'opaque', keep: () => this.#options.store.put(entry) };
  }

  /**
   * The claims of a token that this server issued, is not expired and was not taken back; null for everything else. Rejects with
   * `StoreUnavailable` where it may have been taken back before the store lost its memory.
   */
  async find(token: string): Promise<TokenClaims | null> {
    const { store } = this.#options;
    const claims = await this.read(token);
    if (claims === null || (await store.get('revoked', claims.jti)) !== null) return null;
    if (claims.iat <= (await store.lostAt()) + AHEAD)
      throw new StoreUnavailable('what was taken back before the storage lost its memory cannot be told');
    return claims;
  }

  /** The same, whether it was taken back or not. */
  async read(token: string): Promise<TokenClaims | null> {
    const claims = token.startsWith(OPAQUE_PREFIX) ? await this.#findOpaque(token) : await this.#verify(token);
    return claims === null || claims.exp <= secondsOf(this.#options.clock()) ? null : claims;
  }

  /** Takes a token back (RFC 7009). */
  async revoke(token: string, claims: TokenClaims): Promise<void> {
    const { store } = this.#options;
    await store.put({ kind: 'revoked', id: claims.jti, value: '', until: claims.exp });
    if (token.startsWith(OPAQUE_PREFIX)) await store.remove('token', sha256Base64url(token));
  }

  async #sign(claims: TokenClaims): Promise<string> {
    const { kid, key } = this.#options.keys.current();
    return new SignJWT(claims).setProtectedHeader({ alg: SIGNING_ALGORITHM, typ: 'at+jwt', kid }).sign(key);
  }

  async #findOpaque(token: string): Promise<TokenClaims | null> {
    const text = await this.#options.store.get('token', sha256Base64url(token));
    const json = text === null ? null : parseJsonObject(text, { maxBytes: MAX_TOKEN_BYTES });
    return json?.ok === true ? (json.value as TokenClaims) : null;
  }

  async #verify(token: string): Promise<TokenClaims | null> {
    const jws = parseCompactJws(token, { maxBytes: MAX_TOKEN_BYTES });
    if (!jws.ok) return null;
    const { header, payload } = jws.value;
    if (header['typ'] !== 'at+jwt' || payload['iss'] !== this.#options.issuer) return null;
    const good = await this.#options.keys.verify(token, header['kid']);
    return good && isTokenClaims(payload) ? payload : null;
  }
}

/** A JWT that is longer is refused by servers on the way, whatever the configuration says. */
const MAX_JWT_BYTES = 15_360;

function isTokenClaims(claims: unknown): claims is TokenClaims {
  if (!isJsonObject(claims)) return false;
  const texts = [claims['jti'], claims['client_id'], claims['aud']];
  return texts.every((text) => typeof text === 'string') && [claims['exp'], claims['iat']].every(Number.isFinite);
}

async function nothing(): Promise<void> {}

/** Identifier of a token. */
export function newTokenId(): string {
  return randomUUID();
}
