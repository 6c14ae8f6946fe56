import { Cluster, Redis } from 'ioredis';
import { clusterOptions, connectionOptions, nodeOptions, type RedisConfig, sentinelOptions } from './redis_options.ts';

/** States of ioredis in which nothing is open, so that no end of it is announced. */
const WITHOUT_SOCKET = ['wait', 'reconnecting', 'end'];

/** Makes a client that is not connected yet; it never waits and never sends anything twice (redis_options.ts). */
export function connectRedis(redis: RedisConfig): Redis | Cluster {
  if (redis.cluster !== undefined) return new Cluster(redis.cluster, clusterOptions(redis));
  const place = redis.sentinels === undefined ? nodeOptions(redis) : sentinelOptions(redis);
  return new Redis({ ...connectionOptions(redis), ...place });
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
