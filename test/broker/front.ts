import { createServer, type IncomingHttpHeaders, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request to the authorization server as it passed. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Of the answer of the server behind; 0 as long as there is none. */
  status: number;
  answer: string;
}

/** Does something else with a request than to pass it on; null passes it on. */
export type Interference = (passed: Passed) => ((response: ServerResponse) => void) | null;

/**
 * Stands before a real authorization server, which knows itself by this address, and passes everything on unless a test says otherwise: the
 * place where networks and load balancers fail.
 */
export class ServerFront {
  readonly origin: string;
  readonly passed: Passed[] = [];
  /** Of the server behind. */
  target = '';
  interfere: Interference = () => null;
  /** Changes the answer of the server behind before it is passed back; resolves when it may go. */
  alter: (passed: Passed) => Promise<string> | string = ({ answer }) => answer;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<ServerFront> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const front = new ServerFront(server);
    server.on('request', (incoming, response) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const { method = '', url: path = '', headers } = incoming;
        const passed = { method, path, headers, body: Buffer.concat(chunks).toString(), status: 0, answer: '' };
        front.passed.push(passed);
        const other = front.interfere(passed);
        if (other === null) front.#pass(passed, response);
        else other(response);
      });
    });
    return front;
  }

  /** What passed to a path, by its method. */
  seen(method: string, path: string | RegExp): Passed[] {
    return this.passed.filter(
      (one) => one.method === method && (typeof path === 'string' ? one.path === path : path.test(one.path)),
    );
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(passed: Passed, response: ServerResponse): void {
    const { method, path, headers, body } = passed;
    const sent = request(this.target + path, { method, headers: { ...headers, connection: 'close' } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        passed.status = answer.statusCode ?? 0;
        passed.answer = Buffer.concat(chunks).toString();
        void Promise.resolve(this.alter(passed)).then((text) => {
          const { 'content-length': _length, 'transfer-encoding': _coding, ...kept } = answer.headers;
          response.writeHead(passed.status, kept);
          response.end(text);
        });
      });
    });
    sent.on('error', () => response.destroy());
    sent.end(body);
  }
}

/** Answers with JSON. */
export function json(status: number, value: unknown, headers: Record<string, string> = {}) {
  return (response: ServerResponse): void => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };
}

/** Never answers. */
export function hang(): void {}

/** Breaks the connection. */
export function drop(response: ServerResponse): void {
  response.destroy();
}
