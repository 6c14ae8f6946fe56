import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Denial } from '../kernel/denial.ts';
import type { Http2Request } from '../net/http2_request.ts';
import { denialOfParseError, type ParseError } from '../request/parse_error.ts';
import type { Connections } from './connections.ts';
import { beginEvidence } from './evidence.ts';
import type { Stages } from './handler.ts';
import { discard, refuseOnSocket } from './refuse.ts';
import { turnToRefuse } from './work.ts';

/** What node:http reports of bytes that it could not read. */
export interface Unreadable {
  readonly error: ParseError;
  readonly socket: Duplex;
}

/** Connections that wait for the answer to such bytes: what follows those is looked at no more. */
const WAITING = new WeakSet<Duplex>();

/** Bytes that are not HTTP still are a request: it is answered where an answer can be told from others, and recorded. */
export function answerUnreadable(stages: Stages, connections: Connections, { error, socket }: Unreadable): void {
  const denial = denialOfParseError(error);
  // The connection broke, or nothing was ever sent on it: there is nobody to answer, and no request.
  if (denial === null || (denial.reason === 'request.timeout' && (socket as Socket).bytesRead === 0)) {
    socket.destroy();
    return;
  }
  // It was refused already, and ends, or will be in its turn.
  if (!socket.writable || WAITING.has(socket)) return;
  const answerAlone = () => void answerInTurn(stages, socket, denial);
  const place = connections.unreadable(socket, denial, answerAlone);
  if (place.kind === 'now') answerAlone();
  else if (place.kind === 'cut') socket.destroy();
  else if (place.kind === 'in_place') {
    // The record of that request is written where it is served, which finds the connection gone.
    const { exchange } = place;
    exchange.answered = true;
    refuseOnSocket(socket, stages.answer(denial, exchange.evidence), stages.clock());
    // What is under way for it, the upstream's connection too, ends with the caller's connection.
    socket.once('finish', () => socket.destroy());
  }
}

/** In its turn, as any refusal, and recorded; who is gone by then is told nothing. */
async function answerInTurn(stages: Stages, socket: Duplex, denial: Denial): Promise<void> {
  const evidence = beginEvidence(stages.clock(), { peerAddress: (socket as Socket).remoteAddress });
  evidence.denial = denial;
  const turn = turnToRefuse(stages, evidence, socket);
  if (turn !== null) {
    WAITING.add(socket);
    discard(socket);
    await turn;
  }
  if (socket.writable) {
    const answer = stages.answer(denial, evidence);
    evidence.status = answer.status;
    refuseOnSocket(socket, answer, stages.clock());
  } else socket.destroy();
  stages.record(evidence);
}

/** A body over HTTP/2 that does not come in time: its request is answered where it was found, or its stream is cut. */
export function answerLate(stages: Stages, connections: Connections, request: Http2Request): void {
  const denial: Denial = { reason: 'request.timeout', note: 'body' };
  const exchange = connections.late(request, denial);
  const response = exchange?.response ?? null;
  if (exchange === null || response === null || response.headersSent) {
    request.socket.destroy();
    return;
  }
  exchange.answered = true;
  const { status, headers, body } = stages.answer(denial, exchange.evidence);
  // What is under way for it, the upstream's connection too, ends with the stream.
  response.shouldKeepAlive = false;
  response.writeHead(status, headers as string[]);
  response.end(body);
}
