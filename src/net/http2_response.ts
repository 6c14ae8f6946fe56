import { EventEmitter } from 'node:events';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Http2Request, StreamSocket } from './http2_request.ts';

/** Field names that concern one HTTP/1.1 connection; RFC 9113 §8.2.2 forbids them. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/**
 * An answer that goes by HTTP/2, with the members of `ServerResponse` that the gateway uses. `close` comes when the whole answer was handed
 * to the connection, or when the stream was reset.
 */
export class Http2Response extends EventEmitter {
  statusCode = 0;
  headersSent = false;
  closed = false;
  /** False: after the answer nothing more of the request is taken. */
  shouldKeepAlive = true;
  readonly socket: StreamSocket;
  readonly #stream: ServerHttp2Stream;
  readonly #request: Http2Request;
  #fields: string[] = [];
  #trailers: string[] | null = null;
  #responded = false;

  constructor(stream: ServerHttp2Stream, request: Http2Request) {
    super();
    this.#stream = stream;
    this.#request = request;
    this.socket = request.socket;
    stream.on('drain', () => this.emit('drain'));
    stream.once('finish', () => this.#finished());
    stream.once('close', () => this.#close());
  }

  /** A stream whose both sides ended is closed before its writable side says that it has finished. */
  get writableFinished(): boolean {
    const { writableFinished, writableEnded, closed, rstCode } = this.#stream;
    return (
      this.headersSent && (writableFinished || (writableEnded && closed && rstCode === constants.NGHTTP2_NO_ERROR))
    );
  }

  get writableEnded(): boolean {
    return this.headersSent && this.#stream.writableEnded;
  }

  get destroyed(): boolean {
    return this.#stream.destroyed;
  }

  /** Status and fields; they go out with the first part of the body, with the end, or by {@link flushHeaders}. */
  writeHead(status: number, fields: readonly string[] | Readonly<Record<string, string | number>>): this {
    if (this.headersSent) throw Object.assign(new Error('headers were sent'), { code: 'ERR_HTTP_HEADERS_SENT' });
    const list = Array.isArray(fields) ? (fields as readonly string[]) : Object.entries(fields).flat();
    const own: string[] = [];
    for (let index = 0; index + 1 < list.length; index += 2) {
      const name = String(list[index]).toLowerCase();
      const value = String(list[index + 1]);
      if (CONNECTION_SPECIFIC.has(name)) continue;
      // node:http2 does not look at values.
      validateHeaderName(name);
      validateHeaderValue(name, value);
      own.push(name, value);
    }
    this.#fields = own;
    this.statusCode = status;
    this.headersSent = true;
    return this;
  }

  flushHeaders(): void {
    this.#respond(false);
  }

  /** Fields after the body; to be called before the end. */
  addTrailers(fields: readonly (readonly [string, string])[]): void {
    for (const [name, value] of fields) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
    this.#trailers = fields.flatMap(([name, value]) => [name.toLowerCase(), value]);
  }

  /** Says before the header section goes out that trailers may follow the body. */
  announceTrailers(): void {
    this.#trailers ??= [];
  }

  write(chunk: string | Uint8Array): boolean {
    this.#respond(false);
    return this.#stream.destroyed || this.#stream.write(chunk);
  }

  end(chunk: string | Uint8Array = '', encoding: BufferEncoding = 'utf8'): this {
    if (chunk.length === 0) this.#respond(this.#trailers === null || this.#trailers.length === 0);
    else this.#respond(false);
    if (this.#stream.destroyed || this.#stream.writableEnded) return this;
    if (chunk.length === 0) this.#stream.end();
    else this.#stream.end(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
    return this;
  }

  /** RFC 9110 §15.2.1. */
  writeContinue(): void {
    if (!this.#stream.destroyed && !this.headersSent) this.#stream.additionalHeaders({ ':status': 100 });
  }

  #respond(endStream: boolean): void {
    if (this.#responded) return;
    this.#responded = true;
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    const waitForTrailers = this.#trailers !== null && !endStream;
    if (waitForTrailers) stream.once('wantTrailers', () => this.#sendTrailers());
    // A list instead of a map: order and repetitions are kept.
    const fields = [':status', String(this.statusCode), ...this.#fields];
    stream.respond(fields as never, { endStream, waitForTrailers });
  }

  #sendTrailers(): void {
    const fields: Record<string, string[]> = Object.create(null);
    const trailers = this.#trailers ?? [];
    for (let index = 0; index + 1 < trailers.length; index += 2) {
      const name = trailers[index] as string;
      fields[name] = [...(fields[name] ?? []), trailers[index + 1] as string];
    }
    // Without any, node:http2 ends the stream with an empty DATA frame instead.
    this.#stream.sendTrailers(fields);
  }

  #finished(): void {
    // HEAD ends the writable side before there is an answer.
    if (!this.headersSent) return;
    if (!this.#request.complete && !this.shouldKeepAlive) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    this.emit('finish');
    this.#close();
  }

  #close(): void {
    if (this.closed) return;
    this.closed = true;
    this.emit('close');
  }
}
