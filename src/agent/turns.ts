import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Requests of one connection that are read ahead while another is answered. */
const READ_AHEAD = 8;

/** The requests of one connection. */
interface Line {
  /** Those that are not answered to their end. */
  open: number;
  /** The last of them; null in `response`: an upgrade or CONNECT, behind which no request comes. */
  newest: { readonly request: IncomingMessage; readonly response: ServerResponse | null };
  /** Resolves when its answer is through. */
  last: Promise<void>;
}

/**
 * The requests of each connection, one at a time: node:http hands out pipelined requests as fast as it reads them, and what changes something
 * must not be overtaken (RFC 9112 §9.3.2).
 */
export class Turns {
  readonly #lines = new WeakMap<Duplex, Line>();

  /** Resolves when what came before on the connection is answered. @returns whether the connection takes another answer (RFC 9112 §9.6) */
  async begin(request: IncomingMessage, response: ServerResponse | null): Promise<boolean> {
    const { socket } = request;
    const before = this.#lines.get(socket);
    const over = Promise.withResolvers<void>();
    const line: Line = before ?? { open: 0, newest: { request, response }, last: over.promise };
    const turn = before?.last;
    this.#lines.set(socket, line);
    Object.assign(line, { newest: { request, response }, last: over.promise });
    if (++line.open > READ_AHEAD) setImmediate(() => line.open > READ_AHEAD && socket.pause());
    response?.once('close', () => {
      if (line.open-- > READ_AHEAD) socket.resume();
      over.resolve();
    });
    await turn;
    return socket.writable;
  }

  /**
   * Where the answer to bytes that are no HTTP belongs: `now` may be called; or after the answers that are owed first; or nowhere, since an
   * answer has begun.
   */
  malformed(socket: Duplex, now: () => void): void {
    const line = this.#lines.get(socket);
    const newest = line === undefined || line.open === 0 ? null : line.newest;
    if (newest === null || line === undefined) now();
    else if (newest.request.complete) void line.last.then(now);
    else if (line.open === 1 && newest.response?.headersSent === false) now();
    else socket.destroy();
  }
}
