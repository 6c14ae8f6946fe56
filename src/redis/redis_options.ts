import { readFileSync } from 'node:fs';
import type { ReplayConfig } from '../config/schema.ts';

/** The part of the configuration that says where Redis is. */
export type RedisConfig = NonNullable<ReplayConfig['redis']>;

/** Milliseconds that connecting, or one step of it, may take. */
const CONNECT_TIMEOUT_MS = 2000;
const MAX_RECONNECT_DELAY_MS = 500;

/**
 * The options under which ioredis never waits and never sends anything twice: a claim that cannot be sent now fails now, one that is not
 * answered in time fails then, and one whose connection breaks is not repeated, since a repeated claim looks like a replay.
 */
export function connectionOptions(config: RedisConfig) {
  const url = config.url === undefined ? null : new URL(config.url);
  const username = config.username ?? (decodeURIComponent(url?.username ?? '') || undefined);
  const password = passwordOf(config);
  const tls = tlsOptions(config, url?.protocol === 'rediss:');
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: config.command_timeout_ms,
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: 100,
    // The store gathers its writes itself, which measured better at every load (docs/decisions/0035).
    enableAutoPipelining: false,
    disableClientInfo: true,
    retryStrategy: (times: number) => Math.min(50 * times, MAX_RECONNECT_DELAY_MS),
    // A master that became a replica: look for the new one. `true` reconnects and does not send the command again.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
  };
}

/** The password of the file, else of the URL. @throws when the file cannot be read */
export function passwordOf({ password_file: file, url }: RedisConfig): string | undefined {
  if (file !== undefined) return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  return url === undefined ? undefined : decodeURIComponent(new URL(url).password) || undefined;
}

/** Host, port and database of a single node. */
export function nodeOptions(config: RedisConfig) {
  const url = new URL(config.url ?? '');
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(url.pathname.slice(1) || 0),
  };
}

/** A master that sentinels watch. */
export function sentinelOptions(config: RedisConfig) {
  return {
    sentinels: config.sentinels ?? [],
    name: config.name ?? '',
    sentinelRetryStrategy: (times: number) => Math.min(50 * times, MAX_RECONNECT_DELAY_MS),
    // Without it, an old master that still answers keeps taking claims for ten seconds after another was promoted.
    failoverDetector: true,
    sentinelReconnectStrategy: () => MAX_RECONNECT_DELAY_MS,
    ...(config.tls === undefined ? {} : { enableTLSForSentinelMode: true }),
  };
}

/** A cluster: redirections are followed, since a redirected command was not executed; nothing else is sent again. */
export function clusterOptions(config: RedisConfig) {
  const { retryStrategy: clusterRetryStrategy, lazyConnect, ...redisOptions } = connectionOptions(config);
  return {
    redisOptions,
    lazyConnect,
    clusterRetryStrategy,
    enableOfflineQueue: false,
    maxRedirections: 3,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    slotsRefreshInterval: 1000,
  };
}

/** Where it is, for messages: never with a password. */
export function describeRedis(config: RedisConfig): string {
  if (config.url !== undefined) return `Redis at ${new URL(config.url).host}`;
  const nodes = (config.sentinels ?? config.cluster ?? []).map(({ host, port }) => `${host}:${port}`).join(', ');
  return config.sentinels === undefined
    ? `Redis Cluster at ${nodes}`
    : `Redis ${config.name} behind sentinels ${nodes}`;
}

function tlsOptions(config: RedisConfig, byUrl: boolean) {
  const { tls } = config;
  if (tls === undefined) return byUrl ? {} : undefined;
  return {
    rejectUnauthorized: true,
    ...(tls.ca_file === undefined ? {} : { ca: readFileSync(tls.ca_file) }),
    ...(tls.certificate_file === undefined ? {} : { cert: readFileSync(tls.certificate_file) }),
    ...(tls.key_file === undefined ? {} : { key: readFileSync(tls.key_file) }),
    ...(tls.server_name === undefined ? {} : { servername: tls.server_name }),
  };
}
