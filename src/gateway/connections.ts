import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Denial } from '../kernel/denial.ts';

/** One request under way on a connection. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Why the bytes of this request's body stopped making sense, once they did. */
  broken: Denial | null;
}

/** What is done with a connection whose bytes stopped being HTTP. */
export type UnreadablePlace =
  /** The bytes belong to the body of this exchange, which has not been answered: answer in its place. */
  | { readonly kind: 'in_place'; readonly exchange: Exchange }
  /** No request is under way: answer now. */
  | { readonly kind: 'now' }
  /** Answers to earlier requests are owed first; the given function was kept and runs after the last of them. */
  | { readonly kind: 'later' }
  /** An answer is being written: cut the connection. */
  | { readonly kind: 'cut' };

/** Which requests are under way on which connection: answers must go out in order (RFC 9112 §9.3.2), also the one to garbage. */
export class Connections {
  readonly #open = new WeakMap<Duplex, Set<Exchange>>();
  readonly #afterLast = new WeakMap<Duplex, () => void>();

  begin(exchange: Exchange): void {
    const socket = exchange.request.socket;
    const open = this.#open.get(socket);
    if (open === undefined) this.#open.set(socket, new Set([exchange]));
    else open.add(exchange);
  }

  end(exchange: Exchange): void {
    const socket = exchange.request.socket;
    const open = this.#open.get(socket);
    open?.delete(exchange);
    if (open?.size !== 0) return;
    const owed = this.#afterLast.get(socket);
    if (owed === undefined) return;
    this.#afterLast.delete(socket);
    if (exchange.response.writableFinished || socket.destroyed) owed();
    else exchange.response.once('close', owed);
  }

  /** Decides where the answer to malformed bytes belongs; `answerLater` is kept when earlier answers are owed. */
  unreadable(socket: Duplex, answerLater: () => void): UnreadablePlace {
    const open = [...(this.#open.get(socket) ?? [])];
    const unfinished = open.find((exchange) => !exchange.request.complete);
    if (open.length === 0) return { kind: 'now' };
    if (unfinished === undefined) {
      this.#afterLast.set(socket, answerLater);
      return { kind: 'later' };
    }
    if (open.length > 1 || unfinished.response.headersSent) return { kind: 'cut' };
    return { kind: 'in_place', exchange: unfinished };
  }
}
