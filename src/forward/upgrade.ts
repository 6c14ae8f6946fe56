import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import httpProxy from 'http-proxy';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest, Evidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { type FieldMap, fieldMap } from './field_map.ts';
import { type Opened, type PipeBoth, Tunnel } from './tunnel.ts';
import type { Upstream } from './upstream.ts';

/** What node:http hands out for a request that asks to switch protocols. */
export interface UpgradeExchange {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** Bytes that came after the request's header section. */
  readonly head: Buffer;
}

/** One request to switch to WebSocket, ready to be sent. */
export interface UpgradeParts {
  readonly authorized: AuthorizedRequest;
  readonly exchange: UpgradeExchange;
  readonly evidence: Evidence;
  readonly upstream: Upstream;
  /** Path and query, as they are sent. */
  readonly path: string;
  /** Names and values in turn; without Host and hop-by-hop fields. */
  readonly headers: readonly string[];
}

/** What http-proxy is handed for the caller's request: made of what was authorized, and of nothing else. */
interface StandIn {
  readonly method: 'GET';
  readonly url: string;
  readonly headers: FieldMap;
  outgoing: ClientRequest | null;
}

/**
 * The connections that were switched to WebSocket, through http-proxy, which connects, writes the switching answer and pipes both ways.
 * What it does otherwise is kept from it (docs/decisions/0051-upgrades-through-http-proxy.md).
 */
export class Upgrades {
  readonly #proxy = httpProxy.createProxyServer();
  readonly #open = new Set<Tunnel>();
  readonly #clock: Clock;
  readonly #pseudonym: string;
  #closed = false;

  constructor({ clock, pseudonym }: { readonly clock: Clock; readonly pseudonym: string }) {
    this.#clock = clock;
    this.#pseudonym = pseudonym;
    this.#proxy.on('proxyReqWs', (outgoing, request) => {
      const standIn = request as unknown as StandIn;
      standIn.outgoing = outgoing;
      // http-proxy joins paths, and would collapse `//` in path and query.
      outgoing.path = standIn.url;
    });
  }

  /** Connections that are open, or being opened. */
  get open(): ReadonlySet<Tunnel> {
    return this.#open;
  }

  /** Switches, and settles when the connection has ended. */
  async run(parts: UpgradeParts): Promise<Denial | null> {
    if (this.#closed) return { reason: 'forward.stopping' };
    const tunnel = new Tunnel(parts, { clock: this.#clock, pseudonym: this.#pseudonym });
    this.#open.add(tunnel);
    try {
      return await tunnel.run(() => this.#connect(parts));
    } finally {
      this.#open.delete(tunnel);
    }
  }

  /** Ends them all, and takes no more. */
  close(): void {
    this.#closed = true;
    for (const tunnel of this.#open) tunnel.end({ reason: 'forward.stopping' });
  }

  #connect({ exchange, upstream, path, headers }: UpgradeParts): Opened {
    const fields = fieldMap([...headers, 'Host', upstream.authority, 'connection', 'Upgrade', 'upgrade', 'websocket']);
    const standIn: StandIn = { method: 'GET', url: path, headers: fields, outgoing: null };
    const { protocol, hostname, port } = upstream.origin;
    const target = {
      protocol,
      host: bare(hostname),
      hostname: bare(hostname),
      port,
      ...(upstream.ca === null ? {} : { ca: upstream.ca }),
    };
    const request = standIn as unknown as IncomingMessage;
    quietly(() => {
      this.#proxy.ws(request, exchange.socket, exchange.head, { target, toProxy: true, secure: true }, () => undefined);
    });
    const outgoing = standIn.outgoing as ClientRequest | null;
    if (outgoing === null) throw new Error('http-proxy did not take the upgrade');
    const [pipe] = outgoing.listeners('upgrade') as PipeBoth[];
    if (pipe === undefined) throw new Error('http-proxy does not wait for the upgrade');
    // It would write the refusal's decoded body under its chunked header, and end the caller's connection before an error is answered.
    for (const event of ['upgrade', 'response', 'error']) outgoing.removeAllListeners(event);
    return { outgoing, pipe };
  }
}

/** http-proxy uses util._extend, of which Node.js would warn on the output that carries the log. */
function quietly(call: () => void): void {
  const { noDeprecation } = process;
  process.noDeprecation = true;
  try {
    call();
  } finally {
    process.noDeprecation = noDeprecation ?? false;
  }
}

/** An IPv6 address as sockets take it. */
function bare(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}
