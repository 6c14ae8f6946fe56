import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { buildConnector, Pool } from 'undici';
import type { UpstreamConfig } from '../config/schema.ts';
import { createFileCredential, noCredential, type UpstreamCredential } from './credential.ts';
import { RESET } from './failure.ts';
import { Http2Pool } from './http2_pool.ts';

/** Bytes of header section that an upstream's answer may have, trailers included. */
const MAXIMUM_HEADER_BYTES = 65_536;
/** Milliseconds that an idle connection is kept when the upstream does not say; less than the 5 s of common servers. */
const KEEP_ALIVE_MS = 4000;
/** Milliseconds that it is kept at most, whatever the upstream says. */
const KEEP_ALIVE_MAXIMUM_MS = 60_000;

/** What stands behind one route: where, how, and with which credential. */
export interface Upstream {
  readonly pool: Pool | Http2Pool;
  /** What is spoken with it, for Via: `1.1` or `2`. undici does not say when an answer came by HTTP/1.0. */
  readonly httpVersion: string;
  /** Scheme, host and port. */
  readonly origin: URL;
  /** What Host says. */
  readonly authority: string;
  /** Put before the judged path; empty, or without a trailing slash. */
  readonly basePath: string;
  /** Milliseconds until the headers of the answer, and between two parts of it. */
  readonly timeoutMs: number;
  /** Milliseconds until a connection stands, the wait for a free one included. */
  readonly connectTimeoutMs: number;
  /** PEM certificates to verify the upstream with; null: those of Node.js. */
  readonly ca: string | null;
  readonly credential: UpstreamCredential;
}

/** Log lines of this stage. */
export interface ForwardLog {
  warn(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
}

/** Makes the upstream of every route. Routes with the same upstream share its connections. */
export function createUpstreams(
  routes: ReadonlyMap<string, UpstreamConfig>,
  log: ForwardLog | undefined,
): Map<string, Upstream> {
  const pools = new Map<string, { pool: Pool | Http2Pool; ca: string | null }>();
  const upstreams = new Map<string, Upstream>();
  for (const [route, config] of routes) {
    const url = new URL(config.url);
    const key = JSON.stringify([
      url.origin,
      config.protocol,
      config.ca_file,
      config.connect_timeout_ms,
      config.connections,
    ]);
    const shared = pools.get(key) ?? createPool(url, config);
    pools.set(key, shared);
    upstreams.set(route, {
      ...shared,
      httpVersion: config.protocol === 'http2' ? '2' : '1.1',
      origin: url,
      authority: url.host,
      basePath: url.pathname.replace(/\/$/, ''),
      timeoutMs: config.timeout_ms,
      connectTimeoutMs: config.connect_timeout_ms,
      credential: credentialOf(route, config, log),
    });
  }
  return upstreams;
}

function createPool(url: URL, config: UpstreamConfig): { pool: Pool | Http2Pool; ca: string | null } {
  const ca = config.ca_file === undefined ? null : readFileSync(config.ca_file, 'utf8');
  if (config.protocol === 'http2') return { pool: createHttp2Pool(url, config, ca), ca };
  const pool = new Pool(url.origin, {
    connections: config.connections,
    connect: connector(ca, config.connect_timeout_ms),
    // HTTP/1.1 only, one request at a time on a connection: a request that was sent is never sent again, whatever its method.
    allowH2: false,
    pipelining: 1,
    maxHeaderSize: MAXIMUM_HEADER_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MAXIMUM_MS,
    strictContentLength: true,
  });
  return { pool, ca };
}

function createHttp2Pool(url: URL, config: UpstreamConfig, ca: string | null): Http2Pool {
  return new Http2Pool({
    origin: url,
    authority: url.host,
    connections: config.connections,
    connectTimeoutMs: config.connect_timeout_ms,
    ca,
    maximumHeaderBytes: MAXIMUM_HEADER_BYTES,
  });
}

/** Opens connections; certificates are verified against the upstream's name, which cannot be turned off. */
function connector(ca: string | null, timeout: number): buildConnector.connector {
  const connect = buildConnector({ timeout, allowH2: false, rejectUnauthorized: true, ...(ca === null ? {} : { ca }) });
  return (target, callback) =>
    connect(target, (...[error, socket]) => {
      socket?.on('error', renameReset);
      if (error === null) callback(null, socket);
      else callback(error, null);
    });
}

/**
 * undici takes ECONNRESET within an answer that lasts until the connection closes for the answer's end. Here a reset is never an end: an
 * answer that was cut must not look complete. This listener runs before undici's, which sees another code.
 */
function renameReset(this: Socket, error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = RESET;
}

function credentialOf(route: string, { credential }: UpstreamConfig, log: ForwardLog | undefined): UpstreamCredential {
  if (credential === undefined) return noCredential;
  return createFileCredential({
    header: credential.header,
    file: credential.value_file,
    onChange: (available, problem) => {
      const fields = { route, file: credential.value_file, problem };
      if (available) log?.info(fields, 'the upstream credential can be had again');
      else log?.warn(fields, 'the upstream credential cannot be had');
    },
  });
}
