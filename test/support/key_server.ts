import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWK } from 'jose';

/** Answers a request instead of the server's usual way. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An authorization server reduced to what a gateway fetches from it: metadata (RFC 8414) and keys, over real HTTP on loopback. */
export class KeyServer {
  /** Paths in the order of their requests. */
  readonly requests: string[] = [];
  /** The JWK Set that is published. */
  keys: JWK[] = [];
  /** Answers for some paths, instead of the usual ones. */
  readonly answers = new Map<string, Answer>();
  readonly #server: Server;
  readonly #port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
  }

  static async start(port = 0): Promise<KeyServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return new KeyServer(server, (server.address() as AddressInfo).port);
  }

  get port(): number {
    return this.#port;
  }

  get issuer(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get jwksUri(): string {
    return `${this.issuer}/jwks`;
  }

  /** Requests for the keys so far. */
  get jwksRequests(): number {
    return this.requests.filter((path) => path === '/jwks').length;
  }

  /** Answers the keys like this, until `restore`. */
  onJwks(answer: Answer): void {
    this.answers.set('/jwks', answer);
  }

  restore(): void {
    this.answers.clear();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    this.requests.push(path);
    const answer = this.answers.get(path) ?? this.#usual(path);
    answer(request, response);
  }

  #usual(path: string): Answer {
    if (path === '/jwks') return (_, response) => sendJson(response, { keys: this.keys });
    if (path === '/.well-known/oauth-authorization-server') {
      return (_, response) => sendJson(response, { issuer: this.issuer, jwks_uri: this.jwksUri });
    }
    return (_, response) => sendJson(response, { error: 'not_found' }, 404);
  }
}

/** Sends a value, or a text as it is, as JSON. */
export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(typeof value === 'string' ? value : JSON.stringify(value));
}

/** A port of this machine where nothing listens. */
export async function closedPort(): Promise<number> {
  const server = await KeyServer.start();
  await server.stop();
  return server.port;
}

/** Waits until a condition holds; fails after two seconds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 200; round++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the condition did not come true within two seconds');
}
