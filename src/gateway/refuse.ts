import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Answer } from '../request/answer.ts';
import { formatAnswer } from '../request/raw_answer.ts';

/** Bytes of an unread body that are taken and thrown away after a refusal, so that the connection can be kept. */
const DRAIN_BYTES = 262_144;
/** Milliseconds that taking them may last. */
const DRAIN_MS = 2000;

/** A refusal on its way to the caller. */
export interface Refusing {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly answer: Answer;
  /** The caller holds its body back (`Expect: 100-continue`): it may or may not send it, so the connection cannot be kept. */
  readonly bodyHeldBack: boolean;
}

/** Sends the answer to a refusal, and leaves the connection in a state in which no byte of an unread body can become a request. */
export function refuse({ request, response, answer, bodyHeldBack }: Refusing): void {
  // RFC 9110 §10.1.1: a final answer instead of 100 says whether the connection is closed.
  if (bodyHeldBack) response.shouldKeepAlive = false;
  else if (!request.complete) drain(request);
  response.writeHead(answer.status, answer.headers as string[]);
  response.end(answer.body);
}

/** Sends the answer where there is a socket and no response object, and ends the connection. `now`: milliseconds since the Unix epoch. */
export function refuseOnSocket(socket: Duplex, answer: Answer, now: number): void {
  socket.on('error', () => socket.destroy());
  if (socket.writable) socket.end(formatAnswer(answer, now), () => socket.destroy());
  else socket.destroy();
}

/** Takes what is left of a body, within bounds, so that the caller can read the answer; past them the connection is cut. */
function drain(request: IncomingMessage): void {
  let bytes = 0;
  const cut = setTimeout(() => request.socket.destroy(), DRAIN_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DRAIN_BYTES) request.socket.destroy();
  });
  request.once('close', () => clearTimeout(cut));
  request.resume();
}
