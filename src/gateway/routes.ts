import type { GatewayConfig, RouteConfig } from '../config/schema.ts';
import type { Route } from '../kernel/context.ts';
import { RESOURCE_METADATA_PATH } from '../request/read_request.ts';

/** Makes the kernel's routes from the configuration and the origin that callers use (no trailing slash). */
export function buildRoutes(config: GatewayConfig, origin: string): Route[] {
  return config.routes.map((route) => ({
    name: route.name,
    // A listed host may be reached on another port than callers use: behind a load balancer, or by a health check.
    hosts: route.hosts?.map((host) => (hasPort(host) ? host : `${host}:*`).toLowerCase()) ?? [new URL(origin).hostname],
    pathPrefix: route.path_prefix,
    resource: route.resource,
    origin,
    bindings: route.bindings,
    nonceRequired: (route.dpop_nonce ?? config.dpop.nonce) === 'required',
    replay: route.replay ?? config.replay.store,
    methods: route.methods,
    body: route.body,
    bodyLimitBytes: route.body_limit_bytes,
    websocket: route.websocket,
    trailers: route.trailers,
    bodyPauseMs: route.streaming ? route.upstream.timeout_ms : null,
    expiryGraceMs: route.expiry_grace_seconds * 1000,
    targetRules: {
      encodedSlash: route.allow.includes('encoded_slash'),
      emptySegments: route.allow.includes('empty_segments'),
      dotSegmentsInKeys: route.allow.includes('dot_segments_in_keys'),
    },
    resourceMetadata: origin + resourceMetadataPath(route, origin),
  }));
}

function hasPort(host: string): boolean {
  return /:\d+$/.test(host);
}

/** RFC 9728 §3.1: the well-known path is inserted before the path of the resource; a resource elsewhere gets the route's name instead. */
function resourceMetadataPath(route: RouteConfig, origin: string): string {
  const resource = new URL(route.resource);
  if (resource.origin !== origin) return `${RESOURCE_METADATA_PATH}/${route.name}`;
  return RESOURCE_METADATA_PATH + (resource.pathname === '/' ? '' : resource.pathname) + resource.search;
}
