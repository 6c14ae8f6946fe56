import * as oauth from 'oauth4webapi';
import { type Clock, secondsOf } from '../kernel/clock.ts';
import { CLIENT_ASSERTION_TYPE, makeClientAssertion } from './client_assertion.ts';
import type { ServerMetadata } from './metadata.ts';
import { isSecureUrl } from './secure_url.ts';
import type { SigningKey } from './signing_key.ts';

/** Who asks, where, and with which keys. */
export interface TokenClientOptions {
  readonly server: ServerMetadata;
  readonly clientId: string;
  /** Authenticates the client (RFC 7523). */
  readonly clientKey: SigningKey;
  /** The key that tokens are bound to (RFC 9449). */
  readonly proofKey: SigningKey;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Told of the header fields of each answer. */
  readonly onAnswer?: (response: Pick<Response, 'status' | 'headers'>) => void;
}

/** What is asked for. */
export interface TokenRequest {
  /** What the token is for (RFC 8707). */
  readonly resource: string;
  readonly scopes?: readonly string[];
  readonly authorizationDetails?: readonly Readonly<Record<string, unknown>>[];
  /** What the client states of the job, in its assertion. */
  readonly job?: Readonly<Record<string, unknown>>;
}

/** What was granted; it may be less than was asked for. */
export interface IssuedToken {
  readonly accessToken: string;
  /** Seconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly scopes: readonly string[];
  readonly authorizationDetails: readonly Readonly<Record<string, unknown>>[];
}

/** The authorization server refused (RFC 6749 §5.2), or its answer cannot be used. Never holds an assertion, a proof or a token. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
  /** Error code of the answer; `invalid_response` when it was none. */
  readonly error: string;

  constructor(error: string, description: string | undefined, options?: ErrorOptions) {
    super(description === undefined ? error : `${error}: ${description}`, options);
    this.error = error;
  }
}

const MAXIMUM_BYTES = 1_048_576;

/**
 * A client of one authorization server: client credentials with `private_key_jwt` and DPoP. Keeps the server's nonce between requests
 * (RFC 9449 §8), apart from those of any resource server.
 */
export class TokenClient {
  readonly #options: TokenClientOptions;
  readonly #client: oauth.Client;
  readonly #proofs: oauth.DPoPHandle;

  constructor(options: TokenClientOptions) {
    this.#options = options;
    this.#client = { client_id: options.clientId };
    this.#proofs = oauth.DPoP(this.#client, options.proofKey, {
      // Time comes from our clock, not from the library's.
      [oauth.modifyAssertion]: (_header, claims) => {
        claims['iat'] = secondsOf(options.clock());
      },
    });
  }

  /** Asks for a token. @throws TokenRefused; or the error of the connection */
  async request(request: TokenRequest): Promise<IssuedToken> {
    try {
      return await this.#attempt(request);
    } catch (error) {
      // RFC 9449 §8: once more with the nonce that came with the refusal; assertion and proof are made anew.
      if (!oauth.isDPoPNonceError(error)) throw refusalOf(error);
    }
    return this.#attempt(request).catch((error: unknown) => {
      throw refusalOf(error);
    });
  }

  async #attempt(request: TokenRequest): Promise<IssuedToken> {
    const { server, timeoutMs, clock } = this.#options;
    const metadata = server.document as unknown as oauth.AuthorizationServer;
    const askedAt = secondsOf(clock());
    const response = await oauth.clientCredentialsGrantRequest(
      metadata,
      this.#client,
      (_server, _client, body) => this.#authenticate(body, request),
      parametersOf(request),
      {
        DPoP: this.#proofs,
        signal: AbortSignal.timeout(timeoutMs),
        [oauth.customFetch]: fetchBounded,
        [oauth.allowInsecureRequests]: isSecureUrl(String(metadata.token_endpoint), false),
      },
    );
    this.#options.onAnswer?.(response);
    return read(await oauth.processClientCredentialsResponse(metadata, this.#client, response), request, askedAt);
  }

  async #authenticate(body: URLSearchParams, request: TokenRequest): Promise<void> {
    const { clientId, clientKey, server, clock } = this.#options;
    const claims = request.job === undefined ? {} : { job: request.job };
    body.set('client_id', clientId);
    body.set('client_assertion_type', CLIENT_ASSERTION_TYPE);
    const assertion = await makeClientAssertion({ clientId, issuer: server.issuer, key: clientKey, claims, clock });
    body.set('client_assertion', assertion);
  }
}

function parametersOf(request: TokenRequest): Record<string, string> {
  const parameters: Record<string, string> = { resource: request.resource };
  if (request.scopes !== undefined) parameters['scope'] = request.scopes.join(' ');
  if (request.authorizationDetails !== undefined) {
    parameters['authorization_details'] = JSON.stringify(request.authorizationDetails);
  }
  return parameters;
}

function read(answer: oauth.TokenEndpointResponse, request: TokenRequest, askedAt: number): IssuedToken {
  // RFC 9449 §5: a bearer token is not what was asked for, and whoever reads it could use it.
  if (answer.token_type !== 'dpop') throw new TokenRefused('invalid_response', 'the token is not bound to the key');
  return {
    accessToken: answer.access_token,
    expiresAt: askedAt + (answer.expires_in ?? 0),
    // RFC 6749 §5.1: left out when it is what was asked for.
    scopes: answer.scope?.split(' ') ?? request.scopes ?? [],
    authorizationDetails: (answer.authorization_details ?? []) as IssuedToken['authorizationDetails'],
  };
}

function refusalOf(error: unknown): unknown {
  if (error instanceof oauth.ResponseBodyError) return new TokenRefused(error.error, error.error_description);
  if (error instanceof oauth.WWWAuthenticateChallengeError) return new TokenRefused('invalid_client', undefined);
  if (error instanceof oauth.OperationProcessingError) return new TokenRefused('invalid_response', error.message);
  return error;
}

/** The answer of a token endpoint is small; a larger one breaks off. */
async function fetchBounded(url: string, init: oauth.CustomFetchOptions<'POST', URLSearchParams>): Promise<Response> {
  const response = await fetch(url, init as RequestInit);
  let left = MAXIMUM_BYTES;
  const bound = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      left -= chunk.byteLength;
      if (left < 0) controller.error(new TokenRefused('invalid_response', `more than ${MAXIMUM_BYTES} bytes`));
      else controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body?.pipeThrough(bound) ?? null, { status, statusText, headers });
}
