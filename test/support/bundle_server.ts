import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a port may be in use by somebody's connection. */
const PORT_MS = 10_000;

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

  /** Listens; again where it did before, once whoever has the port for a connection of its own lets go of it. */
  async start(): Promise<void> {
    const late = performance.now() + PORT_MS;
    while (!(await this.#listens())) {
      if (performance.now() > late) throw new Error(`port ${this.#port} is taken`);
      await sleep(50);
    }
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** False: the port is taken. */
  #listens(): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error));
      this.#server.once('error', failed);
      this.#server.listen(this.#port, '127.0.0.1', () => {
        this.#server.off('error', failed);
        resolve(true);
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
