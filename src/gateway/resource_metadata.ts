import type { Catalogue } from '../config/catalogue.ts';
import { getsCertificates } from '../config/certificate_rules.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { Route } from '../kernel/context.ts';
import { type Checked, pass } from '../kernel/result.ts';
import type { CallerRequest, CallerResponse } from '../net/http_server.ts';
import { RESOURCE_METADATA_PATH, type RequestReader } from '../request/read_request.ts';

/** Answers requests for protected resource metadata; false when the request is for something else. Refuses as stage 1 does. */
export type ServeResourceMetadata = (request: CallerRequest, response: CallerResponse) => Checked<boolean>;

const NOT_OURS = pass(false);
const ANSWERED = pass(true);

/** What metadata is made from. */
export interface ResourceMetadataOptions {
  readonly config: GatewayConfig;
  readonly routes: readonly Route[];
  /** Of each route, in the same order; null where it has none. */
  readonly catalogues: readonly (Catalogue | null)[];
  readonly reader: RequestReader;
}

/** A longer list of scopes helps nobody, and is left out (RFC 9728 §2 recommends one, no more). */
const MAXIMUM_SCOPES = 1000;

/**
 * Protected resource metadata (RFC 9728 §2), one document for each resource, made once: it says what the gateway does, nothing more.
 * The well-known path belongs to the gateway; stage 1 never lets it be forwarded.
 */
export function serveResourceMetadata(options: ResourceMetadataOptions): ServeResourceMetadata {
  const { routes, reader } = options;
  const documents = new Map<string, string>();
  for (const route of routes) {
    const path = route.resourceMetadata.slice(route.origin.length);
    documents.set(path, JSON.stringify(describe(route.resource, options)));
  }
  return (request, response) => {
    const target = request.url ?? '';
    if (!target.startsWith(RESOURCE_METADATA_PATH)) return NOT_OURS;
    const document = documents.get(target);
    const readable = request.method === 'GET' || request.method === 'HEAD';
    if (document === undefined || !readable) return NOT_OURS;
    const framing = reader.judgeHead(request);
    if (!framing.ok) return framing;
    // Nobody reads a body here, and what is unread must not become a request.
    if (framing.value.hasBody) response.shouldKeepAlive = false;
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(document),
      'cache-control': 'max-age=300',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? undefined : document);
    return ANSWERED;
  };
}

/** What all routes of one resource take and ask for, together. */
function describe(resource: string, { config, routes, catalogues }: ResourceMetadataOptions): Record<string, unknown> {
  const sharing = routes.filter((route) => route.resource === resource);
  const bindings = new Set(sharing.flatMap((route) => route.bindings));
  // Where no certificate ever gets here, tokens that are bound to one cannot be used, whatever a route would take.
  const certificates = bindings.has('mtls') && getsCertificates(config);
  const operations = sharing.flatMap((route) => catalogues[routes.indexOf(route)]?.operations ?? []);
  const scopes = new Set(operations.flatMap((operation) => operation.scopes));
  const types = new Set(operations.flatMap(({ authorizationDetailsType: type }) => (type === null ? [] : [type])));
  return {
    resource,
    authorization_servers: config.issuers.map((issuer) => issuer.issuer),
    ...(scopes.size === 0 || scopes.size > MAXIMUM_SCOPES ? {} : { scopes_supported: [...scopes] }),
    bearer_methods_supported: ['header'],
    ...(types.size === 0 ? {} : { authorization_details_types_supported: [...types] }),
    ...(bindings.has('dpop') ? { dpop_signing_alg_values_supported: config.dpop.algorithms } : {}),
    dpop_bound_access_tokens_required: bindings.has('dpop') && !bindings.has('bearer') && !certificates,
    tls_client_certificate_bound_access_tokens: certificates,
  };
}
