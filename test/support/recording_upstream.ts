import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { RawConnection } from './raw_connection.ts';
import { type RecordedRequest, readRequests } from './read_requests.ts';

/** What an upstream does on one connection. */
export type UpstreamScript = (connection: UpstreamConnection, upstream: RecordingUpstream) => void | Promise<void>;

/** The upstream's side of one connection, with what came on it. */
export class UpstreamConnection extends RawConnection {
  /** What came, cut into requests. */
  get requests(): RecordedRequest[] {
    return readRequests(this.received);
  }

  /** Waits for the n-th complete request, from 1, and returns it. */
  async request(n = 1): Promise<RecordedRequest> {
    await this.until(() => this.requests[n - 1]?.complete === true);
    return this.requests[n - 1] as RecordedRequest;
  }
}

/** An upstream that records the exact bytes of every connection and answers with scripted bytes. */
export class RecordingUpstream {
  readonly connections: UpstreamConnection[] = [];
  readonly #server: Server;
  readonly #secure: boolean;

  constructor(script: UpstreamScript, tls?: TlsOptions) {
    const accept = (socket: Socket) => {
      const connection = new UpstreamConnection(socket);
      this.connections.push(connection);
      // A script ends early when its connection does.
      void Promise.resolve(script(connection, this)).catch(() => socket.destroy());
    };
    this.#secure = tls !== undefined;
    this.#server = tls === undefined ? createServer(accept) : createTlsServer(tls, accept);
    this.#server.on('tlsClientError', () => undefined);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Such as `http://127.0.0.1:1234`. */
  get origin(): string {
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** The requests of all connections. */
  get requests(): RecordedRequest[] {
    return this.connections.flatMap((connection) => connection.requests);
  }

  /** The bytes of all connections, one after the other. */
  get received(): string {
    return this.connections.map((connection) => connection.received).join('');
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** A whole answer, small and kept alive. */
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers each complete request of a connection, in order, with the same bytes or with those that a function gives. */
export function answerEach(answer: string | ((request: RecordedRequest) => string) = OK): UpstreamScript {
  return async (connection) => {
    for (let n = 1; ; n++) {
      const request = await connection.request(n);
      connection.send(typeof answer === 'string' ? answer : answer(request));
    }
  };
}

/** Answers the first request of each connection with these bytes, then ends the connection if told to. */
export function answerOnce(answer: string, { end = false }: { readonly end?: boolean } = {}): UpstreamScript {
  return async (connection) => {
    await connection.request();
    connection.send(answer);
    if (end) connection.end();
  };
}

/** Starts a recording upstream on a free port of the loopback interface; it answers every request with {@link OK} unless told otherwise. */
export function startRecordingUpstream(
  script: UpstreamScript = answerEach(),
  tls?: TlsOptions,
): Promise<RecordingUpstream> {
  return new RecordingUpstream(script, tls).listen();
}
