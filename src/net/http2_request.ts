import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/** Bytes of a body that are taken from a stream before anybody asks for them. */
const READ_AHEAD = 16_384;

/** Pseudo-header fields of a request (RFC 9113 §8.3.1); each stands at most once, which nghttp2 sees to. */
interface PseudoFields {
  method: string;
  scheme: string | null;
  path: string;
  authority: string | null;
}

/** What of an HTTP/2 connection belongs to one request: its stream. Has the members of a socket that the owner of an exchange needs. */
export class StreamSocket {
  readonly #stream: ServerHttp2Stream;
  readonly #connection: TLSSocket;

  constructor(stream: ServerHttp2Stream, connection: TLSSocket) {
    this.#stream = stream;
    this.#connection = connection;
  }

  /** The connection that the stream shares with others. */
  get connection(): TLSSocket {
    return this.#connection;
  }

  get remoteAddress(): string | undefined {
    return this.#connection.remoteAddress;
  }

  get destroyed(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  /** Whether an answer can still be sent; node:http2 ends the writable side of HEAD before there is one. */
  get writable(): boolean {
    return !this.destroyed && !(this.#stream.headersSent && this.#stream.writableEnded);
  }

  get writableLength(): number {
    return this.#stream.writableLength;
  }

  /** Tells the caller that what is missing will not come; after a whole answer: that the rest of its request is not wanted (RFC 9113 §8.1). */
  destroy(): this {
    const whole = this.#stream.headersSent && this.#stream.writableFinished;
    if (this.destroyed) return this;
    if (whole) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    // `close` with an error code would end the stream in order first, so that a truncated answer looks whole.
    else this.#stream.destroy(new Error('cut'));
    return this;
  }

  once(_event: 'close', listener: () => void): this {
    if (this.#stream.destroyed) setImmediate(listener);
    else this.#stream.once('close', listener);
    return this;
  }

  off(_event: 'close', listener: () => void): this {
    this.#stream.off('close', listener);
    return this;
  }
}

/** What arrives with a stream (`stream` event of a session). */
export interface Arrived {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly endsHere: boolean;
}

/**
 * A request that came by HTTP/2, with the members of `IncomingMessage` that the gateway uses. Its body ends only when END_STREAM was
 * received: node:http2 ends the readable side of a stream that was reset as well, which would make a truncated body look whole.
 */
export class Http2Request extends Readable {
  readonly httpVersion = '2';
  readonly httpVersionMajor = 2;
  readonly httpVersionMinor = 0;
  readonly method: string;
  /** `:path`. */
  readonly url: string;
  /** `:scheme`; null when not sent. */
  readonly scheme: string | null;
  /** `:authority`; null when not sent. */
  readonly authority: string | null;
  /** Without pseudo-header fields; names and values in turn, as received. */
  readonly rawHeaders: string[];
  readonly headers: IncomingHttpHeaders;
  rawTrailers: string[] = [];
  /** Whether a body was announced: the header section did not end the stream. */
  readonly announcesBody: boolean;
  readonly socket: StreamSocket;
  /** True once the whole request is there. */
  complete: boolean;
  readonly #stream: ServerHttp2Stream;
  #attached = false;
  #timer: NodeJS.Timeout | undefined;
  #idleMs: number | null = null;
  #late: () => void = () => undefined;

  constructor({ stream, headers, rawHeaders, endsHere }: Arrived, connection: TLSSocket) {
    super({ highWaterMark: READ_AHEAD, autoDestroy: false });
    const { pseudo, fields } = split(rawHeaders);
    this.method = pseudo.method;
    this.url = pseudo.path;
    this.scheme = pseudo.scheme;
    this.authority = pseudo.authority;
    this.rawHeaders = fields;
    this.headers = headers;
    this.announcesBody = !endsHere;
    this.complete = endsHere;
    this.socket = new StreamSocket(stream, connection);
    this.#stream = stream;
    if (endsHere) this.push(null);
    else this.#attach();
  }

  /** Calls `late` once when the whole request is not there after so many milliseconds. */
  expectWithin(ms: number, late: () => void): void {
    if (this.complete) return;
    this.#late = late;
    this.#timer = setTimeout(() => this.#timedOut(), ms);
  }

  /** From now on the body may last, but no pause of the caller may be longer than `ms` milliseconds. */
  allowPauses(ms: number): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#idleMs = ms;
    this.#timer = setTimeout(() => this.#timedOut(), ms);
  }

  #timedOut(): void {
    // Where the gateway does not take more, it is not the caller that pauses.
    if (this.#idleMs !== null && this.#stream.isPaused()) this.#timer?.refresh();
    else if (!this.complete && !this.socket.destroyed) this.#late();
  }

  override _read(): void {
    if (this.#attached) this.#stream.resume();
  }

  #attach(): void {
    const stream = this.#stream;
    this.#attached = true;
    stream.on('data', (chunk: Buffer) => {
      if (this.#idleMs !== null) this.#timer?.refresh();
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('trailers', (_trailers, _flags, raw?: string[]) => {
      this.rawTrailers = raw ?? [];
    });
    stream.on('end', () => {
      // A stream that was reset, or whose connection broke, is closed by now; one whose request ended is not, since it is not answered yet.
      if (stream.closed || stream.destroyed || stream.aborted) return;
      this.complete = true;
      clearTimeout(this.#timer);
      this.push(null);
    });
    stream.on('close', () => {
      clearTimeout(this.#timer);
      this.destroy();
    });
  }
}

function split(rawHeaders: readonly string[]): { pseudo: PseudoFields; fields: string[] } {
  const pseudo: PseudoFields = { method: '', scheme: null, path: '', authority: null };
  let index = 0;
  for (; index < rawHeaders.length && rawHeaders[index]?.charCodeAt(0) === 0x3a; index += 2) {
    const value = rawHeaders[index + 1] as string;
    if (rawHeaders[index] === ':method') pseudo.method = value;
    else if (rawHeaders[index] === ':scheme') pseudo.scheme = value;
    else if (rawHeaders[index] === ':path') pseudo.path = value;
    else if (rawHeaders[index] === ':authority') pseudo.authority = value;
  }
  return { pseudo, fields: rawHeaders.slice(index) };
}

/** The connection that a request came on, shared with other requests or not: for what the TLS handshake established. */
export function connectionOf(request: { readonly socket: Socket | StreamSocket }): Socket {
  return request.socket instanceof StreamSocket ? request.socket.connection : request.socket;
}
