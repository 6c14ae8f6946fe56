import http, { type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Http2Request } from './http2_request.ts';
import type { Http2Response } from './http2_response.ts';
import { type Http2Limits, serveHttp2 } from './http2_sessions.ts';
import { openConnections } from './open_connections.ts';
import type { ServerTlsOptions } from './tls.ts';

/** A request as the server hands it on: node:http's own, or what stands for it where the caller speaks HTTP/2. */
export type CallerRequest = IncomingMessage | Http2Request;
/** The answer to it. */
export type CallerResponse = ServerResponse | Http2Response;

/** What a server hands on. Each of them must answer or destroy; none may throw. */
export interface ServerHandlers {
  /**
   * Every request that is not an upgrade; `awaitsContinue`: the caller sent `Expect: 100-continue` and holds the body back.
   * @returns what settles when the work on it is over
   */
  request(request: CallerRequest, response: CallerResponse, awaitsContinue: boolean): unknown;
  /** A request over HTTP/2 whose body did not come in time; over HTTP/1.1 that is `malformed`. */
  late(request: Http2Request): void;
  /** A WebSocket upgrade, or CONNECT: there is a socket and no response object. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Bytes that are not HTTP, or that came too slowly or were too many. */
  malformed(error: NodeJS.ErrnoException, socket: Duplex): void;
  /** A connection past the limit, without TLS; nothing was read from it. */
  overloaded(socket: Socket): void;
}

/** Bounds on what a connection may send and how long it may take; as in the configuration's `limits`. */
export interface ServerLimits extends Http2Limits {
  readonly connections: number;
}

/**
 * Makes the server with everything that Node.js would otherwise decide by itself decided here. HTTP/1.1; over TLS also HTTP/2, where the
 * caller offers it and the options say so (ALPN, RFC 9113 §3.2). Without TLS never: h2c is not spoken. Not yet listening.
 */
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
      : https.createServer({
          ...options,
          ...tls,
          handshakeTimeout: limits.headers_timeout_ms,
          ALPNProtocols: tls.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
        });
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
  if (tls !== null) routeByProtocol(server, { handlers, limits, requireCert: tls.requireCert });
  return server;
}

/** Whether a request asks, in the form of RFC 6455 §4.1, to switch to WebSocket; in HTTP/1.0 nothing does (RFC 9110 §7.8). */
export function asksForWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  return method === 'GET' && httpVersion === '1.1' && headers.upgrade?.trim().toLowerCase() === 'websocket';
}

interface Routing {
  readonly handlers: ServerHandlers;
  readonly limits: ServerLimits;
  readonly requireCert: boolean;
}

/** After the handshake, before anything was read: connections without the certificate they need end, the others go where ALPN sends them. */
function routeByProtocol(server: http.Server, { handlers, limits, requireCert }: Routing): void {
  const [serveHttp1] = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
  if (serveHttp1 === undefined) throw new Error('node:https does not wait for connections');
  server.removeListener('secureConnection', serveHttp1);
  server.on('secureConnection', (socket: TLSSocket) => {
    if (requireCert && socket.getPeerX509Certificate() === undefined) socket.destroy();
    else if (socket.alpnProtocol === 'h2') serveHttp2(server, socket, limits, handlers);
    else serveHttp1.call(server, socket);
  });
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
