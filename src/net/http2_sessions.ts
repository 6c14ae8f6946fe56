import http2, {
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Http2Request } from './http2_request.ts';
import { Http2Response } from './http2_response.ts';

/** Bounds on one HTTP/2 connection; as in the configuration's `limits`. */
export interface Http2Limits {
  /** Number of header fields of a request. */
  readonly headers: number;
  readonly header_bytes: number;
  readonly request_timeout_ms: number;
  readonly headers_timeout_ms: number;
  readonly keep_alive_timeout_ms: number;
  /** Requests at the same time on one connection. */
  readonly http2_streams: number;
}

/** What is done with requests. */
export interface Http2Handlers {
  /** Takes a request. @returns what settles when the work on it is over, which may be later than the end of its stream */
  request(request: Http2Request, response: Http2Response, awaitsContinue: boolean): unknown;
  /** A request whose body did not come in time: answers in its place, or cuts it. */
  late(request: Http2Request): void;
}

/**
 * Streams that the caller reset before they were answered (CVE-2023-44487): so many at once, and so many more each second; then nghttp2
 * ends the connection. Its own bounds are 1,000 and 33.
 */
const RESETS_AT_ONCE = 200;
const RESETS_PER_SECOND = 33;
/** PING and SETTINGS frames of the caller in one period, in milliseconds. Each wants an answer (CVE-2019-9512, CVE-2019-9515). */
const CONTROL_FRAMES = 1000;
const CONTROL_PERIOD_MS = 10_000;
/** Frames that make no sense where they stand, empty DATA frames included (CVE-2019-9518), before the connection is ended. */
const INVALID_FRAMES = 100;
/** Streams past the limit that are refused before the connection is ended. */
const REJECTED_STREAMS = 100;
/** Milliseconds in which a connection that is closed must be gone. */
const LINGER_MS = 1000;

const SESSIONS = new WeakMap<Server, Set<Http2Connection>>();

/** The HTTP/2 connections of a server that are open. */
export function http2ConnectionsOf(server: Server): ReadonlySet<Http2Connection> {
  return sessionsOf(server);
}

function sessionsOf(server: Server): Set<Http2Connection> {
  let sessions = SESSIONS.get(server);
  if (sessions === undefined) {
    sessions = new Set();
    SESSIONS.set(server, sessions);
  }
  return sessions;
}

/** Speaks HTTP/2 on a connection whose handshake chose it (ALPN `h2`). */
export function serveHttp2(server: Server, socket: TLSSocket, limits: Http2Limits, handlers: Http2Handlers): void {
  const connection = new Http2Connection(socket, limits, handlers);
  const sessions = sessionsOf(server);
  sessions.add(connection);
  socket.once('close', () => sessions.delete(connection));
}

/**
 * One connection and its bounds. What nghttp2 finds malformed (RFC 9113 §8.1.1) it answers with RST_STREAM or GOAWAY, and nobody here
 * hears of it: no request exists. Fields whose name is none, or whose value has CR, LF or NUL, it leaves out.
 */
export class Http2Connection {
  readonly #session: ServerHttp2Session;
  readonly #socket: TLSSocket;
  readonly #limits: Http2Limits;
  readonly #handlers: Http2Handlers;
  /** Requests whose work is not over, those that were reset meanwhile included. */
  #open = 0;
  #idle: NodeJS.Timeout | undefined;
  #settingsWait: NodeJS.Timeout;
  #controlFrames = 0;
  #controlSince = 0;

  constructor(socket: TLSSocket, limits: Http2Limits, handlers: Http2Handlers) {
    this.#socket = socket;
    this.#limits = limits;
    this.#handlers = handlers;
    this.#session = http2.performServerHandshake(socket, options(limits));
    const session = this.#session;
    session.on('stream', (stream, headers, flags, ...rest) => {
      this.#stream(stream, headers, flags, rest[0] as unknown as string[]);
    });
    session.on('ping', () => this.#controlFrame());
    session.on('remoteSettings', () => this.#controlFrame());
    // The connection is ended by whoever found the error.
    session.on('error', () => undefined);
    session.once('close', () => this.#over());
    this.#settingsWait = setTimeout(() => this.#judgeSettings(), limits.headers_timeout_ms);
    this.#waitIdle(limits.headers_timeout_ms);
  }

  /**
   * Takes no more requests; the connection ends when those under way are answered. GOAWAY names the last request that was taken, so that
   * callers send again what was on its way behind it (RFC 9113 §6.8). A notice before that would lose requests: node:http2 cannot send one
   * without ignoring every later stream.
   */
  close(): void {
    if (!this.#session.closed) this.#session.close();
    if (this.#open === 0) this.#linger();
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: readonly string[]): void {
    stream.on('error', () => undefined);
    // A caller that resets its streams is rid of them at once, the work for them is not (CVE-2023-44487).
    if (this.#open >= this.#limits.http2_streams * 2) {
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    this.#open++;
    clearTimeout(this.#idle);
    const endsHere = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const request = new Http2Request({ stream, headers, rawHeaders, endsHere }, this.#socket);
    const response = new Http2Response(stream, request);
    const awaitsContinue = headers.expect?.toLowerCase() === '100-continue';
    request.expectWithin(this.#limits.request_timeout_ms, () => this.#handlers.late(request));
    const done = () => this.#done();
    void Promise.resolve(this.#handlers.request(request, response, awaitsContinue)).then(done, done);
  }

  #done(): void {
    this.#open--;
    if (this.#open > 0 || this.#session.destroyed) return;
    if (this.#session.closed) this.#linger();
    else this.#waitIdle(this.#limits.keep_alive_timeout_ms);
  }

  #waitIdle(ms: number): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), ms);
  }

  /** A caller that takes nothing any more would keep the last frames, and the connection with them. */
  #linger(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }

  /** RFC 9113 §6.5.3: the limits are in force once they are acknowledged, so a caller may not leave that out. */
  #judgeSettings(): void {
    if (this.#session.pendingSettingsAck) this.#end(constants.NGHTTP2_SETTINGS_TIMEOUT);
  }

  #controlFrame(): void {
    const now = performance.now();
    if (now - this.#controlSince > CONTROL_PERIOD_MS) {
      this.#controlSince = now;
      this.#controlFrames = 0;
    }
    this.#controlFrames++;
    if (this.#controlFrames > CONTROL_FRAMES) this.#end(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #end(code: number): void {
    // Without an error, node:http2 would leave out the code.
    if (!this.#session.destroyed) this.#session.destroy(new Error('bound exceeded'), code);
    this.#linger();
  }

  #over(): void {
    clearTimeout(this.#settingsWait);
    clearTimeout(this.#idle);
    if (!this.#socket.destroyed) this.#linger();
    this.#socket.once('close', () => clearTimeout(this.#idle));
  }
}

function options(limits: Http2Limits): http2.ServerOptions {
  return {
    settings: {
      enablePush: false,
      // RFC 8441 is not spoken: WebSocket goes by HTTP/1.1, on routes that allow it.
      enableConnectProtocol: false,
      maxConcurrentStreams: limits.http2_streams,
      maxHeaderListSize: limits.header_bytes,
    },
    // So that those who send somewhat too many or too much are told why (431); past that nghttp2 resets the stream.
    maxHeaderListPairs: limits.headers * 2 + 8,
    maxSessionInvalidFrames: INVALID_FRAMES,
    maxSessionRejectedStreams: REJECTED_STREAMS,
    streamResetBurst: RESETS_AT_ONCE,
    streamResetRate: RESETS_PER_SECOND,
    // An upstream that repeats a field must not make an exception of it.
    strictSingleValueFields: false,
    // Otherwise nghttp2 leaves out fields with white space around their value, a second DPoP among them, and nobody could refuse the request.
    strictFieldWhitespaceValidation: false,
  } as http2.ServerOptions;
}
