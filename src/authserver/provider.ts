import type { EventEmitter } from 'node:events';
import { type Adapter, type Configuration, Provider } from 'oidc-provider';
import type { Log } from '../telemetry/log.ts';
import { DETAIL_TYPES } from './authorization_details.ts';
import { type Clients, clientMetadata } from './clients.ts';
import { CLOCK_TOLERANCE, type Issuance } from './issuance.ts';
import { CLIENT_ALGORITHMS, ENDPOINTS } from './metadata.ts';
import type { SigningKeys } from './signing_keys.ts';

/** What the provider is made of. */
export interface ProviderParts {
  readonly issuer: string;
  readonly clients: Clients;
  readonly keys: SigningKeys;
  readonly issuance: Issuance;
  readonly log: Log;
}

/** Makes the only user of oidc-provider: a token endpoint for machine clients, and nothing else that it could do. */
export function makeProvider(parts: ProviderParts): Provider {
  const provider = new Provider(parts.issuer, configure(parts));
  // The caller puts the issuer's own scheme and host into these headers; what a client sends never counts.
  provider.proxy = true;
  writeLog(provider, parts.log);
  return provider;
}

function configure({ clients, keys, issuance }: ProviderParts): Configuration {
  return {
    clients: [...clients.values()].map(clientMetadata),
    jwks: { keys: keys.keys as NonNullable<Configuration['jwks']>['keys'] },
    adapter: () => NOTHING_STORED,
    routes: { token: ENDPOINTS.token, jwks: ENDPOINTS.jwks },
    clientAuthMethods: ['private_key_jwt'],
    clientDefaults: { id_token_signed_response_alg: 'ES256', grant_types: ['client_credentials'], response_types: [] },
    enabledJWA: {
      clientAuthSigningAlgValues: [...CLIENT_ALGORITHMS],
      dPoPSigningAlgValues: [...CLIENT_ALGORITHMS],
      idTokenSigningAlgValues: ['ES256'],
    },
    clockTolerance: CLOCK_TOLERANCE,
    ttl: { ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 1 },
    responseTypes: [],
    scopes: [],
    claims: {},
    features: {
      clientCredentials: { enabled: true },
      // Its own replay check is find-then-save under a key that clients share; Issuance claims instead, once and atomically.
      dPoP: { enabled: true, allowReplay: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => [], // None; Issuance refuses a request that names none.
        getResourceServerInfo: (ctx, resource) => issuance.describeResource(ctx, resource),
      },
      richAuthorizationRequests: {
        enabled: true,
        types: Object.fromEntries(Object.keys(DETAIL_TYPES).map((type) => [type, { validate: () => undefined }])),
        // Read strictly and as a whole here, not item by item in `validate`.
        authorizationDetailsForAccessToken: (ctx) => issuance.grantDetails(ctx),
        authorizationDetailsForGrantSource: () => undefined,
      },
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
    },
    assertJwtClientAuthClaimsAndHeader: (ctx, claims, header) => issuance.checkAssertion(ctx, claims, header),
    extraTokenClaims: (ctx, token) => issuance.finish(ctx, token as Parameters<Issuance['finish']>[1]),
    clientBasedCORS: () => false, // No browser is a client here.
    // Errors are JSON whatever the Accept header says (RFC 6749 §5.2).
    renderError: (ctx, out) => {
      ctx.body = out;
    },
  };
}

/** Tokens are JWTs, clients come from the configuration, single use is Issuance's: oidc-provider has nothing to keep. */
const NOTHING_STORED: Adapter = {
  find: async () => undefined,
  findByUid: async () => undefined,
  findByUserCode: async () => undefined,
  upsert: async () => undefined,
  consume: async () => undefined,
  destroy: async () => undefined,
  revokeByGrantId: async () => undefined,
};

/** One line for each token issued or refused; never a token, an assertion or a proof. */
function writeLog(provider: Provider, log: Log): void {
  provider.on('grant.success', (ctx) => {
    const { jti, aud, scope, expiration, jkt } = ctx.oidc.entities.ClientCredentials ?? {};
    log.info({ client_id: ctx.oidc.client?.clientId, jti, aud, scope, expires_in: expiration, jkt }, 'token issued');
  });
  provider.on('grant.error', (ctx, { error, error_description, error_detail }) => {
    log.warn({ client_id: ctx.oidc.client?.clientId, error, error_description, error_detail }, 'token refused');
  });
  provider.on('server_error', (_ctx, error) => log.error({ err: error }, 'authorization server failed'));
  // Without a listener Koa writes to the console.
  (provider as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'authorization server failed'));
}
