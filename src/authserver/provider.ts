import type { X509Certificate } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { IncomingMessage, type ServerResponse } from 'node:http';
import {
  type Adapter,
  type Configuration,
  errors,
  type KoaContextWithOIDC,
  Provider,
  type TokenEndpointGrantContext,
} from 'oidc-provider';
import { type CertificateName, hasCertificateName } from '../net/certificate_names.ts';
import type { Log } from '../telemetry/log.ts';
import type { AuthServerCounts } from './authserver_metrics.ts';
import type { PresentedCertificate } from './certificate.ts';
import { type ClientRecord, clientMetadata } from './clients.ts';
import { CLIENT_ALGORITHMS, ENDPOINTS, GRANT_TYPES, INNER_GRANTS } from './metadata.ts';
import { StoreUnavailable } from './store.ts';

/** Seconds that clocks may differ. */
export const CLOCK_TOLERANCE = 10;

/** Parameters of the grants, beside those by which a client authenticates. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  [GRANT_TYPES.clientCredentials]: [],
  [GRANT_TYPES.tokenExchange]: [
    'subject_token',
    'subject_token_type',
    'actor_token',
    'actor_token_type',
    'requested_token_type',
    'audience',
  ],
  [GRANT_TYPES.jwtBearer]: ['assertion'],
};
const COMMON = ['scope', 'resource', 'authorization_details'];

/** A request whose client is known: authenticated by its key or certificate, or for `none` by what the handler verifies. */
export type AuthenticatedRequest = TokenEndpointGrantContext & { readonly req: DoorRequest };

/** What answers when the client is known. Sets `ctx.body`, or throws one of oidc-provider's errors. */
export type Handler = (ctx: AuthenticatedRequest) => Promise<void>;

/** What the provider is made of. */
export interface ProviderParts {
  readonly issuer: string;
  /** Grants that end in a token here; others do not exist. */
  readonly grants: readonly string[];
  /** A private key; nothing is signed with it here. */
  readonly jwk: object;
  readonly findClient: (clientId: string) => Promise<ClientRecord | null>;
  /** After the signature of a client assertion was found good. */
  readonly checkAssertion: (ctx: KoaContextWithOIDC, claims: Members, header: Members) => void;
  readonly issueToken: Handler;
  readonly introspect: Handler;
  readonly revoke: Handler;
  readonly counts: AuthServerCounts;
  readonly nonce: { readonly required: boolean; readonly secret: Buffer };
  readonly log: Log;
}

type Members = Readonly<Record<string, unknown>>;

/** A request as oidc-provider gets it. */
export class DoorRequest extends IncomingMessage {
  certificate: PresentedCertificate | null = null;
}

/** What passes through the door. */
export interface DoorKnock {
  readonly form: URLSearchParams;
  readonly certificate: PresentedCertificate | null;
}

/** Lets oidc-provider find out who a client is, and answers with what its handler made. */
export type Door = (request: IncomingMessage, response: ServerResponse, knock: DoorKnock) => void;

const CORS_FIELDS = ['access-control-allow-origin', 'access-control-expose-headers', 'vary'];

/** Header fields that oidc-provider gets to see of a request. */
const PASSED = ['authorization', 'dpop', 'origin', 'accept'];

/**
 * Makes the only user of oidc-provider: client authentication (RFC 7523, RFC 8705) and DPoP proofs at one address, its token endpoint, and
 * nothing else that it could do. It gets a request of our making: the form as it was read, four header fields, and the issuer's own scheme
 * and host, since `htu` (RFC 9449 §4.3 check 9) is compared with a URL made from them.
 */
export function makeDoor(parts: ProviderParts): Door {
  const provider = makeProvider(parts);
  const callback = provider.callback();
  const { protocol, host } = new URL(parts.issuer);
  return (request, response, { form, certificate }) => {
    const body = Buffer.from(form.toString());
    const inner = new DoorRequest(request.socket);
    inner.method = 'POST';
    inner.url = ENDPOINTS.token;
    inner.httpVersion = request.httpVersion;
    inner.certificate = certificate;
    for (const name of PASSED) {
      const value = request.headers[name];
      if (value !== undefined) inner.headers[name] = value;
    }
    inner.headers['content-type'] = 'application/x-www-form-urlencoded';
    inner.headers['content-length'] = String(body.length);
    inner.headers['x-forwarded-proto'] = protocol.slice(0, -1);
    inner.headers['x-forwarded-host'] = host;
    inner.push(body);
    inner.push(null);
    // Else node:http takes it for a request that broke off, and ends the connection with it.
    inner.complete = true;
    callback(inner, response);
  };
}

function makeProvider(parts: ProviderParts): Provider {
  const provider = new Provider(parts.issuer, configure(parts));
  // The scheme and host that the door puts into these headers; what a client sends never comes here.
  provider.proxy = true;
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.status === 503) ctx.set('retry-after', '5');
    // No browser is a client here, and none is told that it could be.
    for (const name of CORS_FIELDS) ctx.remove(name);
  });
  const answering = (handler: Handler) => (ctx: TokenEndpointGrantContext) =>
    handler(ctx as AuthenticatedRequest).catch((error: unknown) => {
      throw error instanceof StoreUnavailable ? unavailable(error.message) : error;
    });
  for (const grant of parts.grants) {
    const parameters = [...COMMON, ...(PARAMETERS[grant] ?? [])];
    provider.registerGrantType(grant, answering(parts.issueToken), parameters, ['resource', 'audience']);
  }
  const about = ['token', 'token_type_hint'];
  provider.registerGrantType(INNER_GRANTS.introspection, answering(parts.introspect), about);
  provider.registerGrantType(INNER_GRANTS.revocation, answering(parts.revoke), about);
  writeLog(provider, parts);
  return provider;
}

/** Nothing can be said of single use, clients or tokens: refused until it can. */
export function unavailable(detail: string): Error {
  const error = new errors.OIDCProviderError(503, 'temporarily_unavailable');
  error.expose = true;
  error.error_detail = detail;
  return error;
}

function configure(parts: ProviderParts): Configuration {
  const { nonce } = parts;
  return {
    jwks: { keys: [parts.jwk] as NonNullable<Configuration['jwks']>['keys'] },
    adapter: (name) => (name === 'Client' ? clientsOnly(parts) : NOTHING_STORED),
    routes: { token: ENDPOINTS.token },
    clientAuthMethods: ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none'],
    clientDefaults: { id_token_signed_response_alg: 'ES256', grant_types: ['client_credentials'], response_types: [] },
    enabledJWA: {
      clientAuthSigningAlgValues: [...CLIENT_ALGORITHMS],
      dPoPSigningAlgValues: [...CLIENT_ALGORITHMS],
      idTokenSigningAlgValues: ['ES256'],
    },
    clockTolerance: CLOCK_TOLERANCE,
    responseTypes: [],
    scopes: [],
    claims: {},
    features: {
      clientCredentials: { enabled: true },
      // Its own replay check is find-then-save under a key that clients share; the handlers claim instead, once and atomically.
      dPoP: {
        enabled: true,
        allowReplay: true,
        ...(nonce.required ? { nonceSecret: nonce.secret, requireNonce: () => true } : {}),
      },
      mTLS: {
        enabled: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        certificateBoundAccessTokens: false, // What a token is bound to is the handler's.
        getCertificate: (ctx) => presented(ctx)?.certificate as X509Certificate,
        certificateAuthorized: (ctx) => presented(ctx)?.trusted === true,
        certificateSubjectMatches: (ctx, property, expected) => {
          const certificate = presented(ctx)?.certificate;
          return certificate !== undefined && hasCertificateName(certificate, property as CertificateName, expected);
        },
      },
      // What the handlers grant, they read from the parameters themselves.
      resourceIndicators: { enabled: true, defaultResource: () => [] },
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
    },
    assertJwtClientAuthClaimsAndHeader: (ctx, claims, header) => parts.checkAssertion(ctx, claims, header),
    clientBasedCORS: () => false, // No browser is a client here.
    // Errors are JSON whatever the Accept header says (RFC 6749 §5.2).
    renderError: (ctx, out) => {
      ctx.body = out;
    },
  };
}

function presented(ctx: { req: IncomingMessage }): PresentedCertificate | null {
  return ctx.req instanceof DoorRequest ? ctx.req.certificate : null;
}

const NOTHING_STORED: Adapter = {
  find: async () => undefined,
  findByUid: async () => undefined,
  findByUserCode: async () => undefined,
  upsert: async () => undefined,
  consume: async () => undefined,
  destroy: async () => undefined,
  revokeByGrantId: async () => undefined,
};

/** All that oidc-provider ever looks up is a client: its tokens, codes and sessions do not exist. */
function clientsOnly({ findClient, grants }: ProviderParts): Adapter {
  return {
    ...NOTHING_STORED,
    find: async (clientId) => {
      const client = await findClient(clientId).catch((error: Error) => {
        throw unavailable(error.message);
      });
      if (client === null) return undefined;
      const own = client.grantTypes.filter((grant) => grants.includes(grant));
      return clientMetadata(client, [...own, ...Object.values(INNER_GRANTS)]);
    },
  };
}

/** One line for each refusal; never a token, an assertion or a proof. */
function writeLog(provider: Provider, { log, counts }: ProviderParts): void {
  provider.on('grant.error', (ctx, { error, error_description, error_detail }) => {
    const inner = Object.entries(INNER_GRANTS).find(([, grant]) => grant === ctx.oidc.params?.['grant_type'])?.[0];
    counts.refused(inner ?? 'token', error);
    const message = inner === undefined ? 'token refused' : `${inner} refused`;
    log.warn({ client_id: ctx.oidc.client?.clientId, error, error_description, error_detail }, message);
  });
  provider.on('server_error', (_ctx, error) => log.error({ err: error }, 'authorization server failed'));
  // Without a listener Koa writes to the console.
  (provider as EventEmitter).on('error', (error: Error) => log.error({ err: error }, 'authorization server failed'));
}
