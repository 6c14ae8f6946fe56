import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Answer } from '../request/answer.ts';

/** Bytes of an unread body that are taken and thrown away after a refusal, so that the connection can be kept. */
const DRAIN_BYTES = 262_144;
/** Milliseconds that taking them may last. */
const DRAIN_MS = 2000;

/** How a refusal is sent. */
export interface RefuseOptions {
  /** The caller holds its body back (`Expect: 100-continue`): it may or may not send it, so the connection cannot be kept. */
  readonly bodyHeldBack: boolean;
}

/** Sends the answer to a refusal, and leaves the connection in a state in which no byte of an unread body can become a request. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  options: RefuseOptions,
): void {
  // RFC 9110 §10.1.1: a final answer instead of 100 says whether the connection is closed.
  if (options.bodyHeldBack) response.setHeader('connection', 'close');
  else if (!request.complete) drain(request);
  response.writeHead(answer.status, answer.headers as string[]);
  response.end(answer.body);
}

/** Sends the answer where there is a socket and no response object, and ends the connection. */
export function refuseOnSocket(socket: Duplex, answer: Answer, date: Date): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`, `date: ${date.toUTCString()}`];
  for (let i = 0; i + 1 < answer.headers.length; i += 2) lines.push(`${answer.headers[i]}: ${answer.headers[i + 1]}`);
  lines.push('connection: close', '', answer.body);
  socket.on('error', () => socket.destroy());
  socket.end(lines.join('\r\n'), () => socket.destroy());
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
