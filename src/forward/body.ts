import { Readable } from 'node:stream';
import type { CallerRequest } from './caller.ts';
import { BodyTooLarge } from './failure.ts';
import { countPassed } from './young_buffers.ts';

/** Milliseconds and bytes of a request body that are still taken, and thrown away, after the upstream has answered without wanting it. */
const DRAIN_MS = 2000;
const DRAIN_BYTES = 262_144;

/** Bytes that may wait for the upstream before the caller has to. */
const UNSENT_BYTES = 262_144;

/** What a body is made of. */
export interface RequestBodyOptions {
  readonly request: CallerRequest;
  /** Bytes that were read already. */
  readonly head: readonly Uint8Array[];
  /** Bytes at most; more ends the body with {@link BodyTooLarge}. */
  readonly limit: number;
}

/**
 * A request body on its way: first what was read already, then the rest as it comes, no faster than the upstream takes it. It stands
 * between the caller's connection and undici, so that undici, which destroys a body that it does not need, cannot destroy the connection's
 * request. It ends only when the caller's body ended as its framing says; a caller that hangs up is noticed by the exchange.
 */
export class RequestBody extends Readable {
  /** Bytes handed on. */
  bytes = 0;
  readonly #request: CallerRequest;
  readonly #limit: number;
  #head: readonly Uint8Array[];
  #attached = false;
  readonly #onData = (chunk: Buffer): void => {
    if (!this.#take(chunk)) this.#request.pause();
  };
  readonly #onEnd = (): void => {
    this.push(null);
  };

  constructor({ request, head, limit }: RequestBodyOptions) {
    super({ highWaterMark: UNSENT_BYTES });
    this.#request = request;
    this.#head = head;
    this.#limit = limit;
    // Without a listener an error that comes after undici let go of the body would end the process.
    this.on('error', () => undefined);
  }

  override _read(): void {
    for (const chunk of this.#head) this.#take(chunk);
    this.#head = [];
    if (!this.#attached && !this.destroyed) {
      this.#attached = true;
      this.#request.on('data', this.#onData);
      this.#request.on('end', this.#onEnd);
    }
    this.#request.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#request.off('data', this.#onData);
    this.#request.off('end', this.#onEnd);
    if (!this.#request.readableEnded) this.#request.pause();
    callback(error);
  }

  #take(chunk: Uint8Array): boolean {
    this.bytes += chunk.length;
    countPassed(chunk.length);
    if (this.bytes > this.#limit) {
      this.destroy(new BodyTooLarge('the request body is too large'));
      return false;
    }
    return this.push(chunk);
  }
}

/**
 * After an early answer: takes what is left of the request body, within bounds, so that the caller can read the answer and no byte of the
 * body is ever read as a request; past the bounds the connection is cut (RFC 9112 §9.6).
 */
export function drain(request: CallerRequest): void {
  if (request.complete) {
    request.resume();
    return;
  }
  let bytes = 0;
  const cut = setTimeout(() => request.socket.destroy(), DRAIN_MS);
  cut.unref();
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DRAIN_BYTES) request.socket.destroy();
  });
  request.once('close', () => clearTimeout(cut));
  request.resume();
}
