import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { type Configuration, Provider } from 'oidc-provider';
import { inMemoryAdapter } from './oidc_adapter.ts';

/** What a foreign authorization server is set up with. */
export interface ForeignOptions {
  /** The public key of its one client, `foreign-ci`. */
  readonly clientJwk: JWK;
  /** Default: a new key for `alg`. */
  readonly signingJwk?: JWK;
  /** Signature algorithm of its tokens. */
  readonly alg: 'ES256' | 'PS256' | 'EdDSA';
  /** Below the origin, such as `/tenants/a`. */
  readonly path: string;
  /** Initial access token of dynamic registration (RFC 7591); absent: there is none. */
  readonly initialAccessToken?: string;
  /** Proofs must carry a nonce of this server (RFC 9449 §8). */
  readonly nonce?: boolean;
  /** Tokens can be revoked (RFC 7009). */
  readonly revocation?: boolean;
}

/** A running one. */
export interface ForeignAuthServer {
  readonly issuer: string;
  close(): Promise<void>;
}

/**
 * An authorization server that is not this project's: oidc-provider with a configuration of its own, below a path, with metadata by OpenID
 * Connect Discovery only, that signs JWT access tokens by an algorithm of the test's choice.
 */
export async function startForeignAuthServer(options: ForeignOptions): Promise<ForeignAuthServer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}${options.path}`;
  const jwk = options.signingJwk ?? (await newKey(options.alg));
  const provider = new Provider(issuer, configuration(options, jwk));
  const serve = provider.callback();
  server.on('request', (request: IncomingMessage & { originalUrl?: string }, response) => {
    const target = request.url ?? '';
    if (!target.startsWith(`${options.path}/`)) {
      response.writeHead(404).end();
      return;
    }
    request.originalUrl = target;
    request.url = target.slice(options.path.length);
    void serve(request, response);
  });
  return { issuer, close: () => close(server) };
}

/** A private JWK for an algorithm, with a kid that says nothing. */
export async function newKey(alg: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: 'key-1', alg, use: 'sig' };
}

function configuration(
  { clientJwk, alg, initialAccessToken, revocation, nonce }: ForeignOptions,
  jwk: JWK,
): Configuration {
  return {
    adapter: () => inMemoryAdapter(),
    jwks: { keys: [jwk] },
    clients: [
      {
        client_id: 'foreign-ci',
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [clientJwk] },
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        authorization_details_types: ['cloud_api'],
        id_token_signed_response_alg: alg,
      },
    ],
    clientAuthMethods: ['private_key_jwt'],
    clientDefaults: { id_token_signed_response_alg: alg },
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    responseTypes: [],
    scopes: ['projects:read'],
    ttl: { ClientCredentials: 120 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      ...(revocation === true && { revocation: { enabled: true } }),
      ...(initialAccessToken !== undefined && {
        registration: { enabled: true, initialAccessToken },
        registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
      }),
      dPoP: { enabled: true, ...(nonce === true && { nonceSecret: randomBytes(32), requireNonce: () => true }) },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: 'projects:read',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 120,
          jwt: { sign: { alg } },
        }),
      },
      richAuthorizationRequests: {
        enabled: true,
        types: { cloud_api: { validate: () => undefined } },
        authorizationDetailsForGrantSource: () => undefined,
        authorizationDetailsForAccessToken: (context: { oidc: { params?: { authorization_details?: string } } }) =>
          JSON.parse(context.oidc.params?.authorization_details ?? '[]') as unknown,
      },
    },
  } as unknown as Configuration;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
