import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Peer, Route } from '../kernel/context.ts';
import type { CallerRequest } from '../net/http_server.ts';
import { connectionOf } from '../net/http2_request.ts';
import { presentedCertificate } from '../request/read_request.ts';

/** What an echo is made with. */
export interface EchoParts {
  readonly config: GatewayConfig;
  readonly origin: string;
  readonly routes: readonly Route[];
  readonly clock: Clock;
  peerOf(request: CallerRequest): Peer;
}

/** Fields that a proxy in front writes, and that say what it did; no credential among them. */
const TOLD = /^(?:host|via|forwarded|x-forwarded-.*|x-real-ip|connection|upgrade|transfer-encoding|content-length)$/;
/** Fields of which only digests are told. */
const DIGESTED = ['authorization', 'dpop'] as const;
const MAXIMUM_VALUE = 1024;

/** How a request arrived, and what the gateway expects, for its operator: digests of credentials, never their text. */
export function describeArrival(request: CallerRequest, parts: EchoParts): Record<string, unknown> {
  const { config, origin, routes, clock } = parts;
  const socket = connectionOf(request) as TLSSocket;
  const peer = parts.peerOf(request);
  const certificate = presentedCertificate(request.rawHeaders, peer);
  return {
    origin,
    server_time_ms: clock(),
    received: {
      method: request.method,
      target: (request.url ?? '').slice(0, MAXIMUM_VALUE),
      http_version: request.httpVersion,
      fields: toldFields(request.rawHeaders),
      credentials: Object.fromEntries(DIGESTED.map((name) => [name, digestsOf(request.rawHeaders, name)])),
      header_bytes: request.rawHeaders.reduce((sum, text) => sum + text.length + 2, 0),
    },
    connection: {
      peer: socket.remoteAddress ?? '',
      tls: socket.encrypted === true,
      front_proxy: peer.certificateField !== null,
      certificate: certificate.ok ? (certificate.value?.x5tS256 ?? null) : 'unreadable',
    },
    expects: {
      header_bytes: config.limits.header_bytes,
      max_age_seconds: config.dpop.max_age_seconds,
      leeway_seconds: config.dpop.leeway_seconds,
      client_certificates: config.listen.tls?.client_certificates ?? 'none',
      routes: routes.map(({ name, hosts, pathPrefix, bindings, websocket }) => ({
        name,
        hosts,
        path_prefix: pathPrefix,
        bindings,
        websocket,
      })),
    },
  };
}

function toldFields(rawHeaders: readonly string[]): [string, string][] {
  const told: [string, string][] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? '';
    if (TOLD.test(name)) told.push([name, rawHeaders[index + 1]?.slice(0, MAXIMUM_VALUE) ?? '']);
  }
  return told;
}

function digestsOf(rawHeaders: readonly string[], wanted: string): { length: number; sha256: string }[] {
  return rawHeaders.flatMap((name, index) => {
    if (index % 2 === 1 || name.toLowerCase() !== wanted) return [];
    const value = rawHeaders[index + 1] ?? '';
    return [{ length: value.length, sha256: hash('sha256', Buffer.from(value, 'latin1'), 'base64url') }];
  });
}
