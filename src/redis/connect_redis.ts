import { Cluster, Redis } from 'ioredis';
import {
  clusterOptions,
  connectionOptions,
  nodeOptions,
  passwordOf,
  type RedisConfig,
  sentinelOptions,
} from './redis_options.ts';

/** States of ioredis in which nothing is open, so that no end of it is announced. */
const WITHOUT_SOCKET = ['wait', 'reconnecting', 'end'];

/** Nodes of a cluster that are remembered beside those of the configuration. */
const LEARNED_NODES = 16;
/** By the part of the configuration that says where the cluster is. */
const startNodesOf = new WeakMap<RedisConfig, { host: string; port: number }[]>();

/**
 * Makes a client that is not connected yet; it never waits and never sends anything twice (redis_options.ts). A password in a file is read
 * again before each new connection, so that another one needs no restart.
 */
export function connectRedis(redis: RedisConfig): Redis | Cluster {
  if (redis.cluster !== undefined) return connectCluster(redis, redis.cluster);
  const place = redis.sentinels === undefined ? nodeOptions(redis) : sentinelOptions(redis);
  const client = new Redis({ ...connectionOptions(redis), ...place });
  client.on('reconnecting', () => renewPassword(client.options, redis));
  return client;
}

/**
 * A new connection to a cluster begins at these nodes (ioredis keeps the list it was given); so those that the cluster names are added to it:
 * when every configured one has been replaced, there must still be one to begin at.
 */
function connectCluster(redis: RedisConfig, configured: readonly { host: string; port: number }[]): Cluster {
  const startNodes = startNodesOf.get(redis) ?? [...configured];
  startNodesOf.set(redis, startNodes);
  const client = new Cluster(startNodes, clusterOptions(redis));
  client.on('+node', ({ options: { host, port } }: Redis) => {
    if (host === undefined || port === undefined) return;
    if (startNodes.some((node) => node.host === host && node.port === port)) return;
    startNodes.push({ host, port });
    if (startNodes.length > configured.length + LEARNED_NODES) startNodes.splice(configured.length, 1);
  });
  client.on('close', () => renewPassword(client.options.redisOptions ?? {}, redis));
  return client;
}

function renewPassword(options: { password?: string | undefined }, redis: RedisConfig): void {
  try {
    options.password = passwordOf(redis);
  } catch {
    // The one before stays: the file may be in the middle of being replaced.
  }
}

/** The nodes that take writes. */
export function mastersOf(client: Redis | Cluster): readonly Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client];
}

/** Ends the connection, and waits until it has ended. */
export async function closeRedis(client: Redis | Cluster): Promise<void> {
  const open = !WITHOUT_SOCKET.includes(client.status);
  const ended = new Promise<void>((resolve) => client.once('end', resolve));
  client.disconnect();
  if (open) await ended;
}
