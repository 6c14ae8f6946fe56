import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import type { Clock } from '../kernel/clock.ts';
import { ServerMemory } from './server_memory.ts';

/** How a gateway is reached. */
export interface GatewayLinkOptions {
  /** Scheme, host and port. */
  readonly origin: string;
  readonly connectTimeoutMs: number;
  /** Milliseconds without a byte in either direction. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
  readonly onSkew: (seconds: number) => void;
}

/** One request to a gateway, ready to be sent. */
export interface GatewayRequest {
  readonly method: string;
  /** Path and query, sent byte for byte. */
  readonly target: string;
  /** Names and values in turn, Host and framing included. */
  readonly headers: readonly string[];
  /** A connection of its own, which may be switched to another protocol. */
  readonly upgrade?: true;
}

/** Connections to one gateway at a time; more requests wait for one. */
const CONNECTIONS = 256;
/** A clock that is further away than this, in milliseconds, is why a proof was refused. */
const SKEW_MS = 2000;
/** Milliseconds that an idle connection is kept: shorter than servers keep theirs, so that none is used that is just being closed. */
const IDLE_CONNECTION_MS = 4000;

/**
 * The way to one gateway: its connections, and what is known of its nonce and its clock. There is no other way by which the agent sends a
 * token, and nothing here follows a redirect.
 */
export class GatewayLink {
  readonly origin: string;
  readonly memory: ServerMemory;
  readonly clock: Clock;
  readonly #options: GatewayLinkOptions;
  readonly #url: URL;
  readonly #pool: http.Agent;

  constructor(options: GatewayLinkOptions) {
    this.#options = options;
    this.origin = options.origin;
    this.clock = options.clock;
    this.memory = new ServerMemory(options.clock, options.onSkew);
    this.#url = new URL(options.origin);
    const pool = { keepAlive: true, maxSockets: CONNECTIONS, maxFreeSockets: 32, timeout: IDLE_CONNECTION_MS };
    // RFC 9325 §3.1.1; certificates are checked, as Node.js does unless told otherwise.
    this.#pool = this.#secure ? new https.Agent({ ...pool, minVersion: 'TLSv1.2' }) : new http.Agent(pool);
  }

  get #secure(): boolean {
    return this.#url.protocol === 'https:';
  }

  /** Opens a request. Its errors come as events; one that is not connected or is without a byte for too long is destroyed with a {@link LinkTimeout}. */
  open({ method, target, headers, upgrade }: GatewayRequest): ClientRequest {
    const { hostname, port } = this.#url;
    const { connectTimeoutMs, idleTimeoutMs } = this.#options;
    const options: https.RequestOptions = {
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (this.#secure ? 443 : 80) : Number(port),
      method,
      path: target,
      headers: headers as string[],
      setHost: false,
      agent: upgrade === true ? false : this.#pool,
      timeout: idleTimeoutMs,
      // The name to be certified is the gateway's, whatever Host says.
      ...(this.#secure ? { servername: /^[\d.]+$|:/.test(hostname) ? '' : hostname, rejectUnauthorized: true } : {}),
    };
    const request = this.#secure ? https.request(options) : http.request(options);
    request.on('socket', (socket) => {
      if (request.reusedSocket) return;
      socket.setNoDelay(true);
      const late = setTimeout(() => request.destroy(new LinkTimeout('connecting took too long')), connectTimeoutMs);
      socket.once(this.#secure ? 'secureConnect' : 'connect', () => clearTimeout(late));
      socket.once('close', () => clearTimeout(late));
    });
    request.on('timeout', () => request.destroy(new LinkTimeout('nothing came for too long')));
    return request;
  }

  /** Learns from the header fields of an answer. @returns whether it gave a nonce */
  learn(headers: http.IncomingHttpHeaders, sentAt: number): boolean {
    const nonce = headers['dpop-nonce'];
    const date = headers.date ?? null;
    // Node.js joins two of them with a comma, which is no NQCHAR's neighbour in one nonce.
    const single = typeof nonce === 'string' && !nonce.includes(', ') ? nonce : null;
    return this.memory.learn({ nonce: single, date, sentAt, receivedAt: this.clock() });
  }

  /** Whether another proof may do better: the gateway asks for a nonce (RFC 9449 §9), or its clock was found to be another since `offsetBefore`. */
  wantsAnotherProof({ statusCode, headers }: http.IncomingMessage, offsetBefore: number): boolean {
    if (statusCode !== 401) return false;
    const challenge = String(headers['www-authenticate']);
    if (/\buse_dpop_nonce\b/.test(challenge)) return headers['dpop-nonce'] !== undefined;
    return /\binvalid_dpop_proof\b/.test(challenge) && Math.abs(this.memory.offsetMs - offsetBefore) > SKEW_MS;
  }

  close(): void {
    this.#pool.destroy();
  }
}

/** The gateway was waited for, for as long as the configuration says. */
export class LinkTimeout extends Error {
  override readonly name = 'LinkTimeout';
}
