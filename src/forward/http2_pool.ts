import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Dispatcher } from 'undici';
import { Http2Exchange } from './http2_exchange.ts';

/** How the connections to one upstream are made. */
export interface Http2PoolOptions {
  readonly origin: URL;
  /** What `:authority` says. */
  readonly authority: string;
  readonly connections: number;
  readonly connectTimeoutMs: number;
  /** PEM certificates to verify the upstream with; null: those of Node.js. */
  readonly ca: string | null;
  readonly maximumHeaderBytes: number;
}

/** What is sent; as undici takes it, and the fields after the body. */
export interface Http2Outgoing extends Dispatcher.DispatchOptions {
  /** Names and values in turn, asked for when the body has ended; absent: there are none. */
  readonly requestTrailers?: (() => readonly string[]) | undefined;
}

/** Requests at the same time on one connection, where the upstream allows as many. */
const STREAMS = 100;
/** Milliseconds that a connection without requests is kept. */
const IDLE_MS = 30_000;

interface Waiting {
  readonly outgoing: Http2Outgoing;
  readonly handler: Dispatcher.DispatchHandler;
  late?: NodeJS.Timeout;
}

/** A connection that is being made, or stands. */
class Connection {
  session: ClientHttp2Session | null = null;
  open = 0;
  idle: NodeJS.Timeout | undefined;

  get free(): boolean {
    const { session } = this;
    if (session === null || session.closed || session.destroyed) return false;
    return this.open < Math.min(STREAMS, session.remoteSettings?.maxConcurrentStreams ?? STREAMS);
  }
}

/**
 * Connections of HTTP/2 to one upstream, with the part of undici's `Pool` that the forwarder uses. Over TLS the upstream must choose `h2`
 * (ALPN); without TLS it must know that HTTP/2 comes (RFC 9113 §3.3). A request that was sent is never sent again.
 */
export class Http2Pool {
  readonly #options: Http2PoolOptions;
  readonly #connections = new Set<Connection>();
  readonly #waiting = new Set<Waiting>();
  readonly #closing = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: Http2PoolOptions) {
    this.#options = options;
  }

  get stats(): { connected: number; running: number; pending: number } {
    const all = [...this.#connections];
    return {
      connected: all.filter(({ session }) => session !== null).length,
      running: all.reduce((sum, { open }) => sum + open, 0),
      pending: this.#waiting.size,
    };
  }

  dispatch(outgoing: Http2Outgoing, handler: Dispatcher.DispatchHandler): void {
    if (this.#closed) {
      handler.onResponseError?.(null as never, coded('UND_ERR_CLOSED', 'the pool is closed'));
      return;
    }
    const one: Waiting = { outgoing, handler };
    this.#waiting.add(one);
    this.#serve();
    // Whoever waits in vain is gone by then; an upstream that allows no streams must not keep what it asked for.
    if (this.#waiting.has(one)) one.late = setTimeout(() => this.#giveUp(one), this.#options.connectTimeoutMs);
  }

  #giveUp(one: Waiting): void {
    this.#waiting.delete(one);
    one.handler.onResponseError?.(null as never, coded('UND_ERR_CONNECT_TIMEOUT', 'waiting for a stream'));
    this.#settleWhenEmpty();
  }

  /** Takes no more requests; settles when those under way are over. */
  close(): Promise<void> {
    this.#closed = true;
    this.#settleWhenEmpty();
    return this.#closing.promise;
  }

  destroy(): Promise<void> {
    this.#closed = true;
    this.#failWaiting(coded('UND_ERR_DESTROYED', 'the pool is destroyed'));
    for (const { session } of this.#connections) session?.destroy(coded('UND_ERR_DESTROYED', 'the pool is destroyed'));
    this.#connections.clear();
    this.#settleWhenEmpty();
    return this.#closing.promise;
  }

  #serve(): void {
    for (const one of this.#waiting) {
      const connection = [...this.#connections].find(({ free }) => free);
      if (connection === undefined) break;
      this.#waiting.delete(one);
      clearTimeout(one.late);
      this.#send(connection, one.outgoing, one.handler);
    }
    const making = [...this.#connections].filter(({ session }) => session === null).length;
    // One at a time: it may take all that waits.
    if (this.#waiting.size > 0 && making === 0 && this.#connections.size < this.#options.connections) this.#connect();
  }

  #send(connection: Connection, outgoing: Http2Outgoing, handler: Dispatcher.DispatchHandler): void {
    const session = connection.session as ClientHttp2Session;
    clearTimeout(connection.idle);
    connection.open++;
    const over = (): void => {
      connection.open--;
      if (connection.open === 0 && !session.closed)
        connection.idle = setTimeout(() => session.close(), IDLE_MS).unref();
      this.#serve();
      this.#settleWhenEmpty();
    };
    const exchange = new Http2Exchange(outgoing, handler, over);
    exchange.start((fields, options) => this.#open(session, fields, { outgoing, options }));
  }

  #open(
    session: ClientHttp2Session,
    fields: readonly string[],
    { outgoing, options }: { readonly outgoing: Http2Outgoing; readonly options: http2.ClientSessionRequestOptions },
  ): ClientHttp2Stream {
    const { origin, authority } = this.#options;
    const pseudo = [':method', outgoing.method, ':scheme', origin.protocol.slice(0, -1), ':authority', authority];
    return session.request([...pseudo, ':path', outgoing.path, ...fields] as never, options);
  }

  #connect(): void {
    const connection = new Connection();
    this.#connections.add(connection);
    const { origin, connectTimeoutMs, maximumHeaderBytes } = this.#options;
    const socket = this.#openSocket();
    const late = setTimeout(() => socket.destroy(coded('UND_ERR_CONNECT_TIMEOUT', 'connecting')), connectTimeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(late);
      this.#connections.delete(connection);
      if (connection.session === null) this.#failWaiting(error);
    };
    socket.once('error', failed);
    socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
      clearTimeout(late);
      if ('alpnProtocol' in socket && socket.alpnProtocol !== 'h2') {
        socket.destroy(coded('UPSTREAM_WITHOUT_HTTP2', 'the upstream did not choose h2'));
        return;
      }
      socket.off('error', failed);
      const session = http2.connect(origin, {
        createConnection: () => socket,
        peerMaxConcurrentStreams: STREAMS,
        strictSingleValueFields: false,
        settings: { enablePush: false, maxHeaderListSize: maximumHeaderBytes },
      } as http2.ClientSessionOptions);
      connection.session = session;
      // Streams tell the exchanges that were under way.
      session.on('error', () => undefined);
      session.on('goaway', () => this.#serve());
      session.on('remoteSettings', () => this.#serve());
      session.once('close', () => {
        clearTimeout(connection.idle);
        this.#connections.delete(connection);
        this.#serve();
        this.#settleWhenEmpty();
      });
      this.#serve();
    });
  }

  #openSocket(): Socket {
    const { origin, ca } = this.#options;
    const host = origin.hostname.startsWith('[') ? origin.hostname.slice(1, -1) : origin.hostname;
    if (origin.protocol === 'http:') return connectTcp({ host, port: Number(origin.port || 80), noDelay: true });
    const name = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    return connectTls({
      host,
      port: Number(origin.port || 443),
      ALPNProtocols: ['h2'],
      rejectUnauthorized: true,
      ...name,
      ...(ca === null ? {} : { ca }),
    });
  }

  #failWaiting(error: Error): void {
    const failed = [...this.#waiting];
    this.#waiting.clear();
    for (const { handler, late } of failed) {
      clearTimeout(late);
      handler.onResponseError?.(null as never, error);
    }
    this.#settleWhenEmpty();
  }

  #settleWhenEmpty(): void {
    if (!this.#closed || this.#waiting.size > 0) return;
    if ([...this.#connections].some(({ open }) => open > 0)) return;
    for (const { session } of this.#connections) session?.close();
    this.#closing.resolve();
  }
}

/** An error as `failure.ts` understands it. */
export function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
