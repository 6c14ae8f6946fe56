import type { Duplex } from 'node:stream';
import type { CallerRequest, CallerResponse } from '../net/http_server.ts';
import type { Answer } from '../request/answer.ts';
import { formatAnswer } from '../request/raw_answer.ts';

/** Bytes of an unread body that are taken and thrown away after a refusal. */
const DRAIN_BYTES = 262_144;
/** Milliseconds that taking them may last, and that a connection is kept for the caller to read its last answer. */
const DRAIN_MS = 2000;

/** A refusal on its way to the caller. */
export interface Refusing {
  readonly request: CallerRequest;
  readonly response: CallerResponse;
  readonly answer: Answer;
  /** The rest of the body may or may not come (`Expect: 100-continue`), or makes no sense: the connection cannot be kept. */
  readonly bodyWithheld: boolean;
}

/**
 * Sends the answer to a refusal, and leaves the connection in a state in which no byte of an unread body can become a request: the rest of
 * the body is taken and thrown away, within bounds. Where the connection is closed, that comes first, since closing on unread bytes resets
 * it, and the caller might lose the answer (RFC 9112 §9.6).
 */
export function refuse({ request, response, answer, bodyWithheld }: Refusing): void {
  // RFC 9110 §10.1.1: a final answer instead of 100 says whether the connection is closed.
  if (bodyWithheld) response.shouldKeepAlive = false;
  response.writeHead(answer.status, answer.headers as string[]);
  const unread = !bodyWithheld && !request.complete;
  if (!unread || response.shouldKeepAlive) {
    response.end(answer.body);
    if (unread) drain(request, () => undefined);
    return;
  }
  // The length says that this is all of it; ending the response would close the connection.
  if (answer.body === '') response.flushHeaders();
  else response.write(answer.body);
  drain(request, () => response.end());
}

/**
 * Sends the answer where there is a socket and no response object, and ends the connection: at once when the caller ends its side, else
 * after a moment in which what it still sends is thrown away. `now`: milliseconds since the Unix epoch.
 */
export function refuseOnSocket(socket: Duplex, answer: Answer, now: number): void {
  socket.on('error', () => socket.destroy());
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(formatAnswer(answer, now));
  const cut = setTimeout(() => socket.destroy(), DRAIN_MS);
  socket.once('end', () => socket.destroy());
  socket.once('close', () => clearTimeout(cut));
  socket.resume();
}

/**
 * Takes what comes on a socket that is about to be refused, and throws it away, so that nothing of it is kept and the end of the connection
 * is noticed; past the bound the connection is cut.
 */
export function discard(socket: Duplex): void {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DRAIN_BYTES) socket.destroy();
  });
  socket.resume();
}

/** Takes what is left of a body and throws it away; past the bounds the connection is cut. */
function drain(request: CallerRequest, done: () => void): void {
  let bytes = 0;
  const cut = setTimeout(() => request.socket.destroy(), DRAIN_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DRAIN_BYTES) request.socket.destroy();
  });
  request.once('end', done);
  request.once('close', () => clearTimeout(cut));
  request.resume();
}
