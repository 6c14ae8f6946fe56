import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Evidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import type { Enrolled } from '../kernel/roster.ts';
import type { CallerRequest, CallerResponse } from '../net/http_server.ts';
import { type Http2Request, StreamSocket } from '../net/http2_request.ts';
import { UnderWay } from './under_way.ts';

/** Requests of one connection that are read ahead while another is answered; with more, the connection is not read until some are through. */
const READ_AHEAD = 8;
/** Milliseconds that a caller may take to accept the rest of an answer that was written to its end. */
const ANSWER_MS = 10_000;

/** The last answer was sent: the turn of what follows does not come. */
const NEVER = Promise.resolve(false);

/** One request on a connection. */
export interface Exchange extends Enrolled {
  readonly request: CallerRequest;
  /** Null for an upgrade and CONNECT. */
  readonly response: CallerResponse | null;
  readonly evidence: Evidence;
  /** Why the bytes of this request's body stopped making sense, once they did. */
  broken: Denial | null;
  /** True when that was answered where it was found. */
  answered: boolean;
}

/** What is done with a connection whose bytes stopped being HTTP. */
export type UnreadablePlace =
  /** The bytes belong to the body of this exchange, which has not been answered: answer in its place. */
  | { readonly kind: 'in_place'; readonly exchange: Exchange }
  /** No request is under way: answer now. */
  | { readonly kind: 'now' }
  /** Answers to earlier requests are owed first; it was noted, and is answered after them. */
  | { readonly kind: 'later' }
  /** They belong to a request that is being answered, or was: cut the connection. */
  | { readonly kind: 'cut' };

/** The requests of one connection; the first is under way, the others wait for their turn. */
interface Line {
  readonly open: Exchange[];
  readonly turns: ((goesOn: boolean) => void)[];
  /** The last request, as long as its body is not through. */
  unfinished: Exchange | null;
  /** Answers bytes that came after the last request. */
  owed: (() => void) | null;
}

/**
 * The requests of each connection, one at a time: a request that was sent behind another is looked at when the one before is answered, so
 * that answers go out in order, requests that change something are not overtaken (RFC 9112 §9.3.2), and nothing is done for what follows
 * an answer that closes the connection (RFC 9112 §9.6).
 */
export class Connections {
  readonly #lines = new WeakMap<Duplex, Line>();
  readonly #streams = new WeakMap<StreamSocket, Exchange>();
  /** Those whose turn has come, of all connections. */
  readonly underWay = new UnderWay();

  /** Takes a request into the line of its connection. @returns null when it is its turn; else whether its turn will come */
  begin(exchange: Exchange): Promise<boolean> | null {
    const { socket } = exchange.request;
    // Streams of HTTP/2 are answered beside each other; how many of them is the connection's to bound.
    if (socket instanceof StreamSocket) {
      this.#streams.set(socket, exchange);
      return null;
    }
    if (!socket.writable) return NEVER;
    let line = this.#lines.get(socket);
    if (line === undefined) {
      line = { open: [], turns: [], unfinished: null, owed: null };
      this.#lines.set(socket, line);
    }
    line.open.push(exchange);
    line.unfinished = exchange;
    if (line.open.length === 1) return null;
    if (line.open.length > READ_AHEAD) setImmediate(hold, line, socket);
    const { turns } = line;
    return new Promise((resolve) => {
      turns.push(resolve);
    });
  }

  /** The exchange is over but for what of its answer the caller has not accepted yet. */
  end(exchange: Exchange): void {
    const { request, response } = exchange;
    const { socket } = request;
    const line = socket instanceof StreamSocket ? undefined : this.#lines.get(socket);
    const over = (): void => {
      if (line !== undefined) advance(line, socket as Socket, request);
    };
    if (response === null || response.closed || socket.destroyed) {
      over();
      return;
    }
    const patience = setTimeout(() => socket.destroy(), ANSWER_MS);
    response.once('close', () => {
      clearTimeout(patience);
      over();
    });
  }

  /** The exchange of a request over HTTP/2 whose body did not come in time, marked so; null: it is over. */
  late({ socket }: Http2Request, denial: Denial): Exchange | null {
    const exchange = this.#streams.get(socket);
    if (exchange === undefined || exchange.broken !== null) return null;
    exchange.broken = denial;
    return exchange;
  }

  /** Decides where the answer to malformed bytes belongs; `answerAlone` is kept when earlier answers are owed. */
  unreadable(socket: Duplex, denial: Denial, answerAlone: () => void): UnreadablePlace {
    const line = this.#lines.get(socket);
    const unfinished = line?.unfinished ?? null;
    if (line !== undefined && unfinished !== null && !unfinished.request.complete) {
      unfinished.broken = denial;
      const position = line.open.indexOf(unfinished);
      if (position > 0) return { kind: 'later' };
      if (position < 0 || unfinished.response?.headersSent !== false) return { kind: 'cut' };
      return { kind: 'in_place', exchange: unfinished };
    }
    if (line === undefined || line.open.length === 0) return { kind: 'now' };
    line.owed = answerAlone;
    return { kind: 'later' };
  }
}

/** Stops reading. Not at once: node:http resumes a connection at the end of each message, and before anything more is read. */
function hold(line: Line, socket: Duplex): void {
  if (line.open.length > READ_AHEAD) socket.pause();
}

/** The next request has its turn, unless the connection takes no more answers: then none has. */
function advance(line: Line, socket: Socket, request: CallerRequest): void {
  line.open.shift();
  if (request.complete && line.open.length === 0) line.unfinished = null;
  if (!socket.writable) {
    line.open.length = 0;
    line.owed = null;
    for (const turn of line.turns.splice(0)) turn(false);
    return;
  }
  if (line.open.length === READ_AHEAD) socket.resume();
  const turn = line.turns.shift();
  if (turn !== undefined) {
    turn(true);
    return;
  }
  const { owed } = line;
  line.owed = null;
  owed?.();
}
