import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { denialOfParseError, type ParseError } from '../request/parse_error.ts';
import type { Connections } from './connections.ts';
import { beginEvidence, type Stages } from './handler.ts';
import { refuseOnSocket } from './refuse.ts';

/** What node:http reports of bytes that it could not read. */
export interface Unreadable {
  readonly error: ParseError;
  readonly socket: Duplex;
}

/** Bytes that are not HTTP still are a request: it is answered where an answer can be told from others, and recorded. */
export function answerUnreadable(stages: Stages, connections: Connections, { error, socket }: Unreadable): void {
  const denial = denialOfParseError(error);
  // The peer is gone, or the connection broke: there is nobody to answer.
  if (denial === null || !socket.writable) {
    socket.destroy();
    return;
  }
  const answerAlone = (): void => {
    const evidence = beginEvidence(stages.clock(), { peerAddress: (socket as Socket).remoteAddress });
    evidence.denial = denial;
    const answer = stages.answer(denial, evidence);
    if (socket.writable) evidence.status = answer.status;
    refuseOnSocket(socket, answer, stages.clock());
    stages.record(evidence);
  };
  const place = connections.unreadable(socket, answerAlone);
  if (place.kind === 'now') answerAlone();
  else if (place.kind === 'cut') socket.destroy();
  else if (place.kind === 'in_place') {
    // The record of that request is written where it is served; it gets this denial, and finds the connection gone.
    const { request } = place.exchange;
    const { method, url: target, socket: peer } = request;
    const evidence = beginEvidence(stages.clock(), { method, target, peerAddress: peer.remoteAddress });
    place.exchange.broken = denial;
    refuseOnSocket(socket, stages.answer(denial, evidence), stages.clock());
  }
}
