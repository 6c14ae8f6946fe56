import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request that the server got. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What the server does with a request; nothing sent: it hangs. */
export type Behaviour = (request: SeenRequest, response: ServerResponse) => void;

/** A server that behaves as a test says, and can be taken away and brought back on the same port. */
export class BundleServer {
  behave: Behaviour;
  readonly seen: SeenRequest[] = [];
  #server: http.Server;
  #port = 0;

  constructor(behave: Behaviour) {
    this.behave = behave;
    this.#server = this.#make();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  /** Ends every connection; further ones are refused. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
    this.#server = this.#make();
  }

  #make(): http.Server {
    return http.createServer((request, response) => void this.#answer(request, response));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { method = '', url: path = '', headers } = request;
    const seen = { method, path, headers, body: Buffer.concat(chunks) };
    this.seen.push(seen);
    this.behave(seen, response);
  }
}

/** Serves one bundle under an ETag, with 304 for whoever has it. */
export function serving(bundle: Uint8Array, etag: string, headers: Record<string, string> = {}): Behaviour {
  return ({ headers: { 'if-none-match': known } }, response) => {
    if (known === etag) response.writeHead(304, { etag }).end();
    else response.writeHead(200, { etag, 'content-type': 'application/gzip', ...headers }).end(bundle);
  };
}
