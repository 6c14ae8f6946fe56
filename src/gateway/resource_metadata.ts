import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GatewayConfig } from '../config/schema.ts';
import type { Route } from '../kernel/context.ts';
import { type Checked, pass } from '../kernel/result.ts';
import { RESOURCE_METADATA_PATH, type RequestReader } from '../request/read_request.ts';

/** Answers requests for protected resource metadata; false when the request is for something else. Refuses as stage 1 does. */
export type ServeResourceMetadata = (request: IncomingMessage, response: ServerResponse) => Checked<boolean>;

const NOT_OURS = pass(false);
const ANSWERED = pass(true);

/** What metadata is made from. */
export interface ResourceMetadataOptions {
  readonly config: GatewayConfig;
  readonly routes: readonly Route[];
  readonly reader: RequestReader;
}

/**
 * Protected resource metadata (RFC 9728 §2), one document for each resource, made once: it says what the gateway does, nothing more.
 * The well-known path belongs to the gateway; stage 1 never lets it be forwarded.
 */
export function serveResourceMetadata({ config, routes, reader }: ResourceMetadataOptions): ServeResourceMetadata {
  const documents = new Map<string, string>();
  for (const route of routes) {
    const path = route.resourceMetadata.slice(route.origin.length);
    const sharing = routes.filter((other) => other.resource === route.resource);
    documents.set(path, JSON.stringify(describe(config, route, sharing)));
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

function describe(config: GatewayConfig, route: Route, sharing: readonly Route[]): Record<string, unknown> {
  const bindings = new Set(sharing.flatMap((other) => other.bindings));
  const certificates = bindings.has('mtls') && (config.listen.tls?.client_certificates ?? 'none') !== 'none';
  return {
    resource: route.resource,
    authorization_servers: config.issuers.map((issuer) => issuer.issuer),
    bearer_methods_supported: ['header'],
    dpop_signing_alg_values_supported: config.dpop.algorithms,
    dpop_bound_access_tokens_required: bindings.size === 1 && bindings.has('dpop'),
    tls_client_certificate_bound_access_tokens: certificates,
  };
}
