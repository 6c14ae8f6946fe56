import type { AuthorizationServerConfig } from '../config/agent_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from '../oauth/client_assertion.ts';
import { type IssuedToken, TokenClient, TokenRefused } from '../oauth/client_credentials.ts';
import { fetchBytes } from '../oauth/fetch_bytes.ts';
import { discoverMetadata, type ServerMetadata } from '../oauth/metadata.ts';
import { isSecureUrl } from '../oauth/secure_url.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import { SigningKeyFile } from '../oauth/signing_key_file.ts';
import { ServerMemory } from './server_memory.ts';
import { type AskedRights, type TokenSource, TokenUnavailable } from './token_source.ts';

/** What an authorization server is asked with. */
export interface AuthorizationServerSourceOptions {
  readonly config: AuthorizationServerConfig;
  readonly key: SigningKey;
  readonly timeoutMs: number;
  readonly allowPlaintext: boolean;
  readonly clock: Clock;
}

/** Milliseconds for taking back one token. */
const REVOKE_MS = 5000;
/** A clock that is further away than this is why a proof or an assertion was refused. */
const SKEW_MS = 2000;

interface Found {
  readonly server: ServerMetadata;
  readonly clientKey: SigningKey;
  readonly client: TokenClient;
}

/** Gets a job's tokens by client credentials with private_key_jwt, and takes them back at the end where the server can (RFC 7009). */
export class AuthorizationServerSource implements TokenSource {
  readonly #options: AuthorizationServerSourceOptions;
  readonly #memory: ServerMemory;
  readonly #keyFile: SigningKeyFile;
  #found: Found | null = null;

  /** @throws Error that names the file of the client's key */
  constructor(options: AuthorizationServerSourceOptions) {
    this.#options = options;
    this.#memory = new ServerMemory(options.clock);
    this.#keyFile = new SigningKeyFile(options.config.private_key_file);
  }

  async request({ resource, scopes, authorizationDetails }: AskedRights): Promise<IssuedToken> {
    const { client } = await this.#find();
    const { job } = this.#options.config;
    const request = {
      resource,
      ...(scopes.length === 0 ? {} : { scopes }),
      ...(authorizationDetails.length === 0 ? {} : { authorizationDetails }),
      ...(job === undefined ? {} : { job }),
    };
    const offsetBefore = this.#memory.offsetMs;
    try {
      return await client.request(request);
    } catch (error) {
      const learned = Math.abs(this.#memory.offsetMs - offsetBefore) > SKEW_MS;
      if (!learned) throw unavailable(this.#options.config.issuer, error);
    }
    // Assertion and proof were dated by a clock that is wrong; now it is known by how much.
    return client.request(request).catch((error: unknown) => {
      throw unavailable(this.#options.config.issuer, error);
    });
  }

  async end(tokens: readonly IssuedToken[]): Promise<string | null> {
    const endpoint = this.#found?.server.document['revocation_endpoint'];
    // Where the server takes none back, they are of no use all the same: the key is gone.
    if (typeof endpoint !== 'string' || !isSecureUrl(endpoint, this.#options.allowPlaintext)) return null;
    const problems = await Promise.all(tokens.map((token) => this.#revoke(endpoint, token)));
    return problems.find((problem) => problem !== null) ?? null;
  }

  async #find(): Promise<Found> {
    const { config, key, timeoutMs, allowPlaintext } = this.#options;
    const clientKey = await this.#keyFile.current();
    if (this.#found !== null && this.#found.clientKey === clientKey) return this.#found;
    const server = await discoverMetadata(config.issuer, { timeoutMs, allowInsecure: allowPlaintext });
    if (!server.ok) throw new TokenUnavailable(`the authorization server ${config.issuer}: ${server.problem}`, true);
    let sentAt = this.#options.clock();
    const client = new TokenClient({
      server: server.value,
      clientId: config.client_id,
      clientKey,
      proofKey: key,
      timeoutMs,
      clock: () => {
        sentAt = this.#options.clock();
        return this.#memory.clock();
      },
      onAnswer: ({ headers }) => {
        // The client keeps the nonces of its server itself.
        const receivedAt = this.#options.clock();
        this.#memory.learn({ nonce: null, date: headers.get('date'), sentAt, receivedAt });
      },
    });
    this.#found = { server: server.value, clientKey, client };
    return this.#found;
  }

  /** RFC 7009 §2.1; an unknown token is answered with 200 as well. */
  async #revoke(url: string, { accessToken }: IssuedToken): Promise<string | null> {
    const { config } = this.#options;
    const clientKey = await this.#keyFile.current();
    const assertion = { clientId: config.client_id, issuer: config.issuer, key: clientKey, clock: this.#memory.clock };
    const body = new URLSearchParams({
      token: accessToken,
      token_type_hint: 'access_token',
      client_id: config.client_id,
      client_assertion_type: CLIENT_ASSERTION_TYPE,
      client_assertion: await makeClientAssertion(assertion),
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const any = { isWanted: () => true, wanted: 'an answer', maxBytes: 65_536 };
    const answer = await fetchBytes({ url, body: body.toString(), headers, timeoutMs: REVOKE_MS, ...any });
    return answer.ok ? null : `revoking a token: the authorization server ${answer.problem}`;
  }
}

function unavailable(issuer: string, error: unknown): TokenUnavailable {
  if (error instanceof TokenUnavailable) return error;
  if (error instanceof TokenRefused) {
    const words = error.message.replace(/[\s\p{C}]+/gu, ' ').slice(0, 500);
    return new TokenUnavailable(`the authorization server ${issuer} refused: ${words}`, false);
  }
  const { name, cause } = error as Error & { cause?: { code?: unknown } };
  const why = name === 'TimeoutError' ? 'gave no answer in time' : `cannot be reached (${String(cause?.code ?? name)})`;
  return new TokenUnavailable(`the authorization server ${issuer} ${why}`, true);
}
