import type { Readable } from 'node:stream';

/** What of the caller's connection belongs to one exchange: all of it in HTTP/1.1, a stream in HTTP/2. */
export interface CallerSocket {
  readonly destroyed: boolean;
  /** Bytes that were written and not yet sent. */
  readonly writableLength: number;
  /** Tells the caller that what is missing will not come. */
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}

/** The caller's request, as far as forwarding needs it; `IncomingMessage` of node:http is one. */
export interface CallerRequest extends Readable {
  /** `1.0`, `1.1`, `2`. */
  readonly httpVersion: string;
  /** True once the body ended as its framing says. */
  readonly complete: boolean;
  /** Fields after the body, names and values in turn; known once it is complete. */
  readonly rawTrailers: string[];
  readonly socket: CallerSocket;
}

/** The answer to it; `ServerResponse` of node:http is one. */
export interface CallerResponse {
  readonly headersSent: boolean;
  /** True once all of it was handed to the connection. */
  readonly writableFinished: boolean;
  readonly socket: CallerSocket | null;
  /** Throws where a field cannot be sent. */
  writeHead(status: number, headers: string[]): unknown;
  flushHeaders(): void;
  write(chunk: Uint8Array): boolean;
  end(chunk: string, encoding: 'latin1'): unknown;
  /** Fields after the body, before its end; in HTTP/1.1 they are sent after a chunked body only. */
  addTrailers(fields: readonly [string, string][]): void;
  /** Where that must be known before the header section is sent. */
  announceTrailers?(): void;
  once(event: 'close' | 'drain', listener: () => void): unknown;
  off(event: 'close' | 'drain', listener: () => void): unknown;
}

/** One request and the response to it. */
export interface HttpExchange {
  readonly request: CallerRequest;
  readonly response: CallerResponse;
}

/** After the first byte of an answer only a broken connection tells the caller that the rest is missing. */
export function cutAnswer({ request, response }: HttpExchange): void {
  const { socket } = request;
  if (!response.headersSent || socket.destroyed) return;
  // An answer to HTTP/1.0 may end with the connection: a reset is no end. A TLS connection that ends without close_notify is none either.
  if (request.httpVersion === '1.0' && !('encrypted' in socket) && 'resetAndDestroy' in socket) {
    (socket as { resetAndDestroy(): unknown }).resetAndDestroy();
  } else {
    socket.destroy();
  }
}
