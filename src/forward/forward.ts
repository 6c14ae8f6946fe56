import type { Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest, Evidence, RequestContext } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { Roster } from '../kernel/roster.ts';
import { RequestBody } from './body.ts';
import type { HttpExchange } from './caller.ts';
import { Exchange } from './exchange.ts';
import type { Http2Outgoing } from './http2_pool.ts';
import { announcedLength, checkSetHeaders, requestHeaders } from './request_headers.ts';
import { allowedTrailers, takesTrailers } from './trailers.ts';
import { type UpgradeExchange, Upgrades } from './upgrade.ts';
import { createUpstreams, type ForwardLog, type Upstream } from './upstream.ts';

export type { HttpExchange } from './caller.ts';
export type { UpgradeExchange } from './upgrade.ts';
export type { ForwardLog } from './upstream.ts';

/** What the forwarder is made from. */
export interface ForwarderOptions {
  /** The upstream of each route, by the route's name. */
  readonly routes: ReadonlyMap<string, UpstreamConfig>;
  /** Bytes of a request body at most, whatever the policy says. */
  readonly bodyBytes: number;
  readonly clock: Clock;
  /** The gateway's name in Via and Proxy-Status; a token (RFC 9110 §5.6.2). */
  readonly pseudonym?: string;
  readonly log?: ForwardLog;
}

/** What is under way towards one upstream. */
export interface UpstreamStats {
  readonly origin: string;
  /** Names of the routes that share these connections. */
  readonly routes: readonly string[];
  readonly connected: number;
  /** Requests that were sent and not yet answered to the end. */
  readonly running: number;
  /** Requests that wait for a connection. */
  readonly waiting: number;
}

/** The state of stage 5, for readiness and metrics. */
export interface ForwarderStats {
  readonly upstreams: readonly UpstreamStats[];
  /** Requests under way, upgraded connections not included. */
  readonly exchanges: number;
  /** Upgraded connections that are open, or being opened. */
  readonly upgrades: number;
  /** Routes whose upstream credential cannot be had. */
  readonly withoutCredential: readonly string[];
}

/** A request that is under way, or the connection that it became (`context.upgrade` of it). */
export interface UnderWay {
  readonly authorized: AuthorizedRequest;
  /**
   * Ends it: the caller sees that the rest is missing, the upstream is left. Before anything was answered the denial is the gateway's to
   * answer; what was answered to its end stays answered.
   */
  end(denial: Denial): void;
}

/**
 * Stage 5: sends what was authorized and nothing else. A denial that comes back before anything was sent to the caller (`evidence.status`
 * is 0) is the gateway's to answer; after that the forwarder has destroyed the caller's connection, and the denial is for the record.
 */
export interface Forwarder {
  /** Settles when the exchange is over; null: the answer was passed on to its end. Reasons: `forward.*`, `request.body_*`. */
  forward(authorized: AuthorizedRequest, exchange: HttpExchange, evidence: Evidence): Promise<Denial | null>;
  /** Settles when the upgraded connection has ended, or when there is none; null: it ended by itself, or the upstream's refusal was passed on. */
  upgrade(authorized: AuthorizedRequest, exchange: UpgradeExchange, evidence: Evidence): Promise<Denial | null>;
  /** What is under way at the moment, also what lasts, upgraded connections included. */
  underWay(): UnderWay[];
  /** Ends every upgraded connection and takes no more of them, for a gateway that stops; other requests go on. */
  endUpgrades(): void;
  stats(): ForwarderStats;
  /** Takes no more requests, ends upgraded connections, lets running exchanges finish within the grace time, and closes all connections. */
  close(graceMs?: number): Promise<void>;
}

/** Makes stage 5. Throws when a file that the upstreams need, other than a credential, cannot be read. */
export function createForwarder(options: ForwarderOptions): Forwarder {
  return new PoolForwarder(options);
}

class PoolForwarder implements Forwarder {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #upgrades: Upgrades;
  readonly #running = new Roster<Exchange>();
  readonly #bodyBytes: number;
  readonly #pseudonym: string;
  #closed: Promise<unknown> | null = null;

  constructor({ routes, bodyBytes, clock, pseudonym = 'sallyport', log }: ForwarderOptions) {
    this.#upstreams = createUpstreams(routes, log);
    this.#upgrades = new Upgrades({ clock, pseudonym });
    this.#bodyBytes = bodyBytes;
    this.#pseudonym = pseudonym;
  }

  forward(authorized: AuthorizedRequest, http: HttpExchange, evidence: Evidence): Promise<Denial | null> {
    const upstream = this.#upstreamOf(authorized);
    const prepared = this.#prepare(authorized, upstream);
    if ('reason' in prepared) return Promise.resolve(prepared);
    const { context, decision } = authorized;
    const body = bodyOf(
      context,
      http,
      Math.min(this.#bodyBytes, decision.obligations.maximumBodyBytes ?? Number.POSITIVE_INFINITY),
    );
    if (body === 'too_large') return Promise.resolve({ reason: 'request.body_too_large' });
    const { path, headers } = prepared;
    const running = this.#running;
    const length = body instanceof RequestBody ? announcedLength(context) : null;
    if (length !== null) headers.push('content-length', String(length));
    if (takesTrailers(authorized)) headers.push('te', 'trailers');
    const outgoing: Http2Outgoing = {
      method: context.method as Dispatcher.HttpMethod,
      path,
      headers,
      body,
      headersTimeout: upstream.timeoutMs,
      bodyTimeout: upstream.timeoutMs,
      ...(body !== null && requestTrailersOf(authorized, http)),
    };
    return new Exchange({ authorized, http, evidence, upstream, pseudonym: this.#pseudonym, outgoing, running }).run();
  }

  upgrade(authorized: AuthorizedRequest, exchange: UpgradeExchange, evidence: Evidence): Promise<Denial | null> {
    const upstream = this.#upstreamOf(authorized);
    const prepared = this.#prepare(authorized, upstream);
    if ('reason' in prepared) return Promise.resolve(prepared);
    return this.#upgrades.run({ authorized, exchange, evidence, upstream, ...prepared });
  }

  underWay(): UnderWay[] {
    return [...this.#running.all(), ...this.#upgrades.open];
  }

  endUpgrades(): void {
    this.#upgrades.close();
  }

  stats(): ForwarderStats {
    const byPool = Map.groupBy(this.#upstreams, ([, { pool }]) => pool);
    return {
      upstreams: [...byPool].map(([pool, entries]) => ({
        origin: (entries[0] as [string, Upstream])[1].origin.origin,
        routes: entries.map(([route]) => route),
        connected: pool.stats.connected,
        running: pool.stats.running,
        waiting: pool.stats.pending,
      })),
      exchanges: this.#running.size,
      upgrades: this.#upgrades.open.size,
      withoutCredential: [...this.#upstreams]
        .filter(([, { credential }]) => !credential.available)
        .map(([route]) => route),
    };
  }

  async close(graceMs = 0): Promise<void> {
    this.#upgrades.close();
    for (const { credential } of this.#upstreams.values()) credential.stop();
    const pools = [...new Set([...this.#upstreams.values()].map(({ pool }) => pool))];
    this.#closed ??= Promise.all(pools.map((pool) => pool.close()));
    // A pool with requests that wait for a connection does not say that it is closed once it is destroyed; so whichever comes first.
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const cut = setTimeout(() => resolve(Promise.all(pools.map((pool) => pool.destroy()))), graceMs);
    await Promise.race([this.#closed, promise]);
    clearTimeout(cut);
  }

  #upstreamOf({ context }: AuthorizedRequest): Upstream {
    const upstream = this.#upstreams.get(context.route.name);
    if (upstream === undefined) throw new Error(`route ${context.route.name} has no upstream`);
    return upstream;
  }

  /** Path and header list as they are sent. The path is the one that was judged, byte for byte. */
  #prepare(authorized: AuthorizedRequest, upstream: Upstream): { path: string; headers: string[] } | Denial {
    const { basePath, authority, credential } = upstream;
    const { method, target } = authorized.context;
    const refused = checkSetHeaders(authorized, credential.names);
    if (refused !== null) return refused;
    const path = target.query === null ? basePath + target.path : `${basePath}${target.path}?${target.query}`;
    const headers = requestHeaders(authorized, this.#pseudonym, credential.names);
    if (credential.apply({ method, authority, path, headers })) return { path, headers };
    return { reason: 'forward.credential_unavailable' };
  }
}

/** The body as undici takes it: nothing, bytes that are all there, or a stream. */
function bodyOf(
  context: RequestContext,
  { request }: HttpExchange,
  limit: number,
): Uint8Array | RequestBody | null | 'too_large' {
  const { state, head, complete } = context.body;
  if (state === 'absent') return null;
  const length = announcedLength(context);
  if (length !== null && length > limit) return 'too_large';
  let bytes: Uint8Array | null;
  if (complete) bytes = head.length === 1 ? (head[0] as Uint8Array) : Buffer.concat(head);
  // A small body has usually come with its header section: it is there, and a stream would only cost.
  else if (head.length === 0 && request.complete) bytes = request.read() as Buffer | null;
  else return new RequestBody({ request, head, limit });
  return bytes !== null && bytes.length > limit ? 'too_large' : bytes;
}

/** What may follow a body, also one that is all there; only HTTP/2 carries it (config/). */
function requestTrailersOf(
  { context }: AuthorizedRequest,
  { request }: HttpExchange,
): Pick<Http2Outgoing, 'requestTrailers'> | null {
  const allowed = context.route.trailers.request;
  return allowed.length === 0 ? null : { requestTrailers: () => allowedTrailers(request.rawTrailers, allowed) };
}
