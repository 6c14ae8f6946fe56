import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createHttpServer } from './http_server.ts';
import type { ServerTlsOptions } from './tls.ts';

/** Answers a request; never throws. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Bounds of a connection whose requests are small and come from programs. */
const LIMITS = {
  header_bytes: 32_768,
  request_timeout_ms: 10_000,
  headers_timeout_ms: 10_000,
  keep_alive_timeout_ms: 30_000,
  connections: 1000,
  headers: 100,
  http2_streams: 1,
};
const MALFORMED = 'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n';

/** Makes the server of something smaller than a gateway: ordinary requests are answered, everything else ends the connection. Not yet listening. */
export function createPlainServer(
  answer: Answer,
  tls: ServerTlsOptions | null = null,
  connections: number = LIMITS.connections,
): Server {
  return createHttpServer(
    {
      request: (request, response, awaitsContinue) => {
        if (awaitsContinue) response.writeContinue();
        // Without `http2` among its options, the server hands on what node:http makes only.
        answer(request as IncomingMessage, response as ServerResponse);
      },
      late: (request) => request.socket.destroy(),
      upgrade: (_request, socket) => socket.destroy(),
      malformed: (_error, socket) => {
        if (socket.writable) socket.end(MALFORMED, () => socket.destroy());
        else socket.destroy();
      },
      overloaded: (socket) => socket.destroy(),
    },
    { ...LIMITS, connections },
    tls,
  );
}
