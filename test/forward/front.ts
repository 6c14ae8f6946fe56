import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { UpstreamConfig } from '../../src/config/schema.ts';
import { createForwarder, type Forwarder, type ForwarderOptions } from '../../src/forward/forward.ts';
import type { AuthorizedRequest, Evidence } from '../../src/kernel/context.ts';
import { type Denial, statusOf } from '../../src/kernel/denial.ts';
import { type AuthorizedChanges, makeAuthorized, makeEvidence, NO_BODY, UNREAD_BODY } from '../support/authorized.ts';

/** How one request ended: what the gateway would record. */
export interface Outcome {
  readonly denial: Denial | null;
  readonly evidence: Evidence;
}

/** What differs from a plain front. */
export interface FrontOptions {
  readonly upstream?: Partial<UpstreamConfig>;
  readonly forwarder?: Partial<ForwarderOptions>;
  /** What differs from a plain allowed request, for each that comes. */
  readonly changes?: AuthorizedChanges | ((request: IncomingMessage) => AuthorizedChanges | Promise<AuthorizedChanges>);
}

/** The smallest thing that calls the forwarder as the gateway does: every request is authorized. */
export class Front {
  readonly forwarder: Forwarder;
  readonly outcomes: Outcome[] = [];
  readonly #server: Server;
  readonly #options: FrontOptions;

  constructor(upstreamUrl: string, options: FrontOptions = {}) {
    this.#options = options;
    this.forwarder = createForwarder({
      routes: new Map([['projects', upstreamConfig(upstreamUrl, options.upstream)]]),
      bodyBytes: 1_099_511_627_776,
      clock: Date.now,
      ...options.forwarder,
    });
    this.#server = createServer({ connectionsCheckingInterval: 200, requestTimeout: 10_000 });
    this.#server.on('request', (request, response) => {
      void this.#handle(request, async (authorized, evidence) => {
        const denial = await this.forwarder.forward(authorized, { request, response }, evidence);
        if (denial !== null && !response.headersSent && !response.destroyed) {
          evidence.status = statusOf(denial.reason);
          response.writeHead(evidence.status, { 'content-type': 'text/plain' }).end(denial.reason);
        }
        return denial;
      });
    });
    this.#server.on('upgrade', (request, socket, head) => {
      void this.#handle(request, async (authorized, evidence) => {
        const denial = await this.forwarder.upgrade(authorized, { request, socket, head }, evidence);
        if (denial !== null && evidence.status === 0) {
          evidence.status = statusOf(denial.reason);
          socket.end(`HTTP/1.1 ${evidence.status} Refused\r\nConnection: close\r\n\r\n${denial.reason}`);
        }
        return denial;
      });
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  /** Waits for the n-th request to be over, from 1. */
  async outcome(n = 1): Promise<Outcome> {
    while (this.outcomes.length < n) await once(this.#server, 'outcome');
    return this.outcomes[n - 1] as Outcome;
  }

  async close(): Promise<void> {
    await this.forwarder.close();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(
    request: IncomingMessage,
    work: (authorized: AuthorizedRequest, evidence: Evidence) => Promise<Denial | null>,
  ): Promise<void> {
    const { changes = {} } = this.#options;
    const authorized = makeAuthorized({
      ...plain(request),
      ...(typeof changes === 'function' ? await changes(request) : changes),
    });
    const evidence = makeEvidence(authorized);
    this.outcomes.push({ denial: await work(authorized, evidence), evidence });
    this.#server.emit('outcome');
  }
}

/** A configuration of an upstream with the schema's defaults. */
export function upstreamConfig(url: string, changes: Partial<UpstreamConfig> = {}): UpstreamConfig {
  return { url, protocol: 'http1', timeout_ms: 30_000, connect_timeout_ms: 5000, connections: 128, ...changes };
}

/** Starts a front for an upstream. */
export function startFront(upstreamUrl: string, options?: FrontOptions): Promise<Front> {
  return new Front(upstreamUrl, options).listen();
}

/** The request as it came, as stage 1 would read it. */
function plain(request: IncomingMessage): AuthorizedChanges {
  const [path = '/', query] = splitOnce(request.url ?? '/');
  const announced = request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? '0';
  return {
    method: request.method ?? 'GET',
    path,
    query: query ?? null,
    rawHeaders: request.rawHeaders,
    peerAddress: request.socket.remoteAddress ?? '',
    body: announced === '0' ? NO_BODY : UNREAD_BODY,
  };
}

function splitOnce(target: string): string[] {
  const at = target.indexOf('?');
  return at === -1 ? [target] : [target.slice(0, at), target.slice(at + 1)];
}
