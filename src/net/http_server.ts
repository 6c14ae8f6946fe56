import http, { type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { openConnections } from './open_connections.ts';
import type { ServerTlsOptions } from './tls.ts';

/** What a server hands on. Each of them must answer or destroy; none may throw. */
export interface ServerHandlers {
  /** Every request that is not an upgrade; `awaitsContinue`: the caller sent `Expect: 100-continue` and holds the body back. */
  request(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void;
  /** A WebSocket upgrade, or CONNECT: there is a socket and no response object. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Bytes that are not HTTP, or that came too slowly or were too many. */
  malformed(error: NodeJS.ErrnoException, socket: Duplex): void;
  /** A connection past the limit, without TLS; nothing was read from it. */
  overloaded(socket: Socket): void;
}

/** Bounds on what a connection may send and how long it may take; as in the configuration's `limits`. */
export interface ServerLimits {
  readonly header_bytes: number;
  readonly request_timeout_ms: number;
  readonly headers_timeout_ms: number;
  readonly keep_alive_timeout_ms: number;
  readonly connections: number;
}

/** Makes the HTTP/1.1 server with everything that Node.js would otherwise decide by itself decided here. Not yet listening. */
export function createHttpServer(
  handlers: ServerHandlers,
  limits: ServerLimits,
  tls: ServerTlsOptions | null,
): http.Server {
  const options: ServerOptions = {
    insecureHTTPParser: false,
    maxHeaderSize: limits.header_bytes,
    requestTimeout: limits.request_timeout_ms,
    headersTimeout: Math.min(limits.headers_timeout_ms, limits.request_timeout_ms),
    keepAliveTimeout: limits.keep_alive_timeout_ms,
    connectionsCheckingInterval: 500,
    // Stage 1 judges Host, so that the refusal has a reason and a record.
    requireHostHeader: false,
    noDelay: true,
    // RFC 9110 §7.8: a server may ignore Upgrade. Only WebSocket is ever switched to; h2c and others are ordinary requests.
    shouldUpgradeCallback: (request: IncomingMessage) => asksForWebSocket(request),
  } as ServerOptions;
  const server =
    tls === null
      ? http.createServer(options)
      : https.createServer({ ...options, ...tls, handshakeTimeout: limits.headers_timeout_ms });
  // Past its own limit of 2,000 Node.js drops header fields silently; stage 1 counts and refuses instead.
  server.maxHeadersCount = 0;
  server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    handlers.request(request, response, false),
  );
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    handlers.request(request, response, true),
  );
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    handlers.request(request, response, false),
  );
  server.on('upgrade', handlers.upgrade);
  server.on('connect', handlers.upgrade);
  server.on('clientError', handlers.malformed);
  limitConnections(server, limits.connections, handlers);
  if (tls?.requireCert === true) server.on('secureConnection', endWithoutCertificate);
  return server;
}

/** Whether a request asks, in the form of RFC 6455 §4.1, to switch to WebSocket; in HTTP/1.0 nothing does (RFC 9110 §7.8). */
export function asksForWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  return method === 'GET' && httpVersion === '1.1' && headers.upgrade?.trim().toLowerCase() === 'websocket';
}

/** Nothing was read from the connection yet. */
function endWithoutCertificate(socket: TLSSocket): void {
  if (socket.getPeerX509Certificate() === undefined) socket.destroy();
}

/** `server.maxConnections` would drop silently; a caller past the limit is told. */
function limitConnections(server: http.Server, maximum: number, handlers: ServerHandlers): void {
  const { sockets, streams } = openConnections(server);
  server.on('connection', (socket: Socket) => {
    if (sockets.size <= maximum) return;
    // Under TLS nothing can be said before the handshake, whose cost is what the limit saves.
    if (sockets === streams) handlers.overloaded(socket);
    else socket.destroy();
  });
}
