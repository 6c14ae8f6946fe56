import type { ClientHttp2Stream, ClientSessionRequestOptions, IncomingHttpHeaders } from 'node:http2';
import { constants } from 'node:http2';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Http2Outgoing } from './http2_pool.ts';

/** Opens a stream with these fields. */
type OpenStream = (fields: readonly string[], options: ClientSessionRequestOptions) => ClientHttp2Stream;

/** Fields of an answer, and where its trailers are put: what undici hands out beside them. */
interface Controller extends Dispatcher.DispatchController {
  rawHeaders: string[];
  rawTrailers: string[];
}

/** One request on a stream of HTTP/2 and the answer to it, told to a handler of undici's kind. */
export class Http2Exchange {
  readonly #outgoing: Http2Outgoing;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #over: () => void;
  readonly #controller: Controller;
  #stream: ClientHttp2Stream | null = null;
  #timer: NodeJS.Timeout | undefined;
  #answered = false;
  #done = false;
  /** Whether the upstream ended its side of the stream (END_STREAM). */
  #whole = false;
  #reason: Error | null = null;

  constructor(outgoing: Http2Outgoing, handler: Dispatcher.DispatchHandler, over: () => void) {
    this.#outgoing = outgoing;
    this.#handler = handler;
    this.#over = over;
    const exchange = this;
    this.#controller = {
      rawHeaders: [],
      rawTrailers: [],
      get aborted() {
        return exchange.#reason !== null;
      },
      get paused() {
        return exchange.#stream?.isPaused() ?? false;
      },
      get reason() {
        return exchange.#reason;
      },
      abort: (reason) => this.#fail(reason as Error),
      pause: () => this.#pause(),
      resume: () => this.#resume(),
    } as Controller;
  }

  start(open: OpenStream): void {
    try {
      this.#handler.onRequestStart?.(this.#controller, null);
    } catch {
      // Nobody waits for it any more, and nothing was sent.
      this.#finish();
      return;
    }
    const { body, headers, requestTrailers, headersTimeout } = this.#outgoing;
    const fields = (headers as string[]).map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text));
    try {
      const stream = open(fields, { endStream: body == null, waitForTrailers: requestTrailers !== undefined });
      this.#stream = stream;
      this.#watchEnd(stream);
      this.#listen(stream);
      this.#expect(headersTimeout ?? 0, 'UND_ERR_HEADERS_TIMEOUT');
      if (body != null) this.#sendBody(stream, body as Uint8Array | Readable);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #listen(stream: ClientHttp2Stream): void {
    const { requestTrailers } = this.#outgoing;
    stream.on('headers', (headers, _flags, raw) => this.#interim(headers, raw as unknown as string[]));
    stream.on('response', (headers, _flags, raw) => this.#answer(headers, raw as unknown as string[]));
    stream.on('data', (chunk: Buffer) => {
      this.#expectPart();
      this.#tell(() => this.#handler.onResponseData?.(this.#controller, chunk));
    });
    stream.on('trailers', (_trailers, _flags, raw) => {
      this.#controller.rawTrailers = (raw as unknown as string[]) ?? [];
    });
    stream.on('end', () => this.#ended(stream));
    stream.on('error', (error: Error) => this.#fail(broken(error)));
    stream.on('close', () => this.#fail(broken(new Error(`stream closed with ${stream.rstCode}`))));
    if (requestTrailers !== undefined) stream.on('wantTrailers', () => this.#sendTrailers(stream, requestTrailers));
  }

  /**
   * node:http2 ends the readable side of a stream that was reset with NO_ERROR just as that of one whose END_STREAM came, and says the same
   * of both. Only the order differs: a reset stream is closed first.
   */
  #watchEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (chunk === null && !stream.closed) this.#whole = true;
      return push(chunk, encoding);
    };
  }

  #sendBody(stream: ClientHttp2Stream, body: Uint8Array | Readable): void {
    if (body instanceof Uint8Array) {
      stream.end(body);
      return;
    }
    body.on('data', (chunk: Buffer) => {
      if (!stream.destroyed && !stream.write(chunk)) body.pause();
    });
    stream.on('drain', () => body.resume());
    body.once('end', () => stream.end());
    body.once('error', (error: Error) => this.#fail(error));
  }

  /** Thrown at where nobody listens, an error would end the process. */
  #sendTrailers(stream: ClientHttp2Stream, trailers: () => readonly string[]): void {
    try {
      stream.sendTrailers(fieldsOf(trailers()));
    } catch (error) {
      this.#fail(error as Error);
      stream.destroy();
    }
  }

  #interim(headers: IncomingHttpHeaders, raw: string[]): void {
    this.#expect(this.#outgoing.headersTimeout ?? 0, 'UND_ERR_HEADERS_TIMEOUT');
    this.#tellStart(headers, raw);
  }

  #answer(headers: IncomingHttpHeaders, raw: string[]): void {
    this.#answered = true;
    this.#expectPart();
    this.#tellStart(headers, raw);
  }

  #tellStart(headers: IncomingHttpHeaders, raw: string[]): void {
    this.#controller.rawHeaders = raw.slice(pseudoLength(raw));
    const status = Number((headers as Record<string, unknown>)[':status']);
    this.#tell(() => this.#handler.onResponseStart?.(this.#controller, status, headers));
  }

  #ended(stream: ClientHttp2Stream): void {
    // node:http2 ends the readable side of a stream that was reset as well.
    if (this.#done || !this.#answered || !this.#whole || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    this.#tell(() => this.#handler.onResponseEnd?.(this.#controller, {}));
    this.#finish();
    // The upstream wants no more of the request (RFC 9113 §8.1).
    if (!stream.writableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #fail(error: Error): void {
    if (this.#done) return;
    this.#reason = error;
    this.#finish();
    const stream = this.#stream;
    if (stream !== null && !stream.destroyed) {
      if (stream.writableEnded) stream.close(constants.NGHTTP2_CANCEL);
      // `close` would end the stream in order first, so that a truncated request looks whole.
      else stream.destroy(new Error('cut'));
    }
    this.#handler.onResponseError?.(this.#controller, error);
  }

  #tell(call: () => void): void {
    if (this.#done) return;
    try {
      call();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #expectPart(): void {
    this.#expect(this.#outgoing.bodyTimeout ?? 0, 'UND_ERR_BODY_TIMEOUT');
  }

  #expect(ms: number, code: string): void {
    clearTimeout(this.#timer);
    if (this.#done || ms === 0) return;
    this.#timer = setTimeout(() => this.#fail(Object.assign(new Error('upstream'), { code })), ms);
  }

  #pause(): void {
    clearTimeout(this.#timer);
    this.#stream?.pause();
  }

  #resume(): void {
    this.#expectPart();
    this.#stream?.resume();
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    this.#over();
  }
}

function pseudoLength(raw: readonly string[]): number {
  let index = 0;
  while (raw[index]?.startsWith(':')) index += 2;
  return index;
}

function fieldsOf(list: readonly string[]): Record<string, string[]> {
  const fields: Record<string, string[]> = Object.create(null);
  for (let index = 0; index + 1 < list.length; index += 2) {
    const name = (list[index] as string).toLowerCase();
    fields[name] = [...(fields[name] ?? []), list[index + 1] as string];
  }
  return fields;
}

/** What ended a stream from outside is a broken connection, whatever node:http2 calls it; what was ended here keeps its name. */
function broken(error: Error): Error {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return code.startsWith('UND_ERR_') ? error : Object.assign(new Error(error.message), { code: 'UND_ERR_SOCKET' });
}
