import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  clusterOptions,
  connectionOptions,
  describeRedis,
  nodeOptions,
  sentinelOptions,
} from '../../src/redis/redis_options.ts';
import { redisConfig } from '../proof/replay_fixture.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-options-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('the options of the Redis client', () => {
  it('never wait, never send twice, whatever the deployment', () => {
    const fixed = {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      commandTimeout: 5000,
    };
    expect(connectionOptions(redisConfig({ url: 'redis://h' }))).toMatchObject(fixed);
    const cluster = clusterOptions(redisConfig({ cluster: [{ host: 'h', port: 1 }] }));
    expect(cluster).toMatchObject({ enableOfflineQueue: false, retryDelayOnFailover: 0, retryDelayOnClusterDown: 0 });
    expect(cluster.redisOptions).toMatchObject(fixed);
  });

  it('READONLY reconnects without sending again, other errors do not', () => {
    const { reconnectOnError } = connectionOptions(redisConfig({ url: 'redis://h' }));
    expect(reconnectOnError(new Error("READONLY You can't write against a read only replica."))).toBe(true);
    expect(reconnectOnError(new Error('OOM command not allowed'))).toBe(false);
  });

  it.each([
    ['redis://h', { host: 'h', port: 6379, db: 0 }],
    ['redis://h:7/5', { host: 'h', port: 7, db: 5 }],
    ['rediss://[::1]:7', { host: '::1', port: 7, db: 0 }],
  ])('%s', (url, expected) => {
    expect(nodeOptions(redisConfig({ url }))).toEqual(expected);
  });

  it('credentials: those of the configuration stand before those of the URL', () => {
    const file = join(folder, 'password');
    writeFileSync(file, 'p w\r\n');
    const url = 'redis://u%40:p%20q@h';
    expect(connectionOptions(redisConfig({ url }))).toMatchObject({ username: 'u@', password: 'p q' });
    expect(connectionOptions(redisConfig({ url, username: 'x', password_file: file }))).toMatchObject({
      username: 'x',
      password: 'p w',
    });
    expect(connectionOptions(redisConfig({ url: 'redis://h' }))).not.toHaveProperty('password');
  });

  it('TLS by rediss or by tls, always verified', () => {
    const ca = join(folder, 'ca.pem');
    writeFileSync(ca, 'CA');
    expect(connectionOptions(redisConfig({ url: 'redis://h' }))).not.toHaveProperty('tls');
    expect(connectionOptions(redisConfig({ url: 'rediss://h' }))).toMatchObject({ tls: {} });
    const tls = { ca_file: ca, certificate_file: ca, key_file: ca, server_name: 's' };
    expect(connectionOptions(redisConfig({ url: 'redis://h', tls }))).toMatchObject({
      tls: {
        rejectUnauthorized: true,
        ca: Buffer.from('CA'),
        cert: Buffer.from('CA'),
        key: Buffer.from('CA'),
        servername: 's',
      },
    });
    const sentinels = { sentinels: [{ host: 'h', port: 1 }], name: 'm' };
    expect(sentinelOptions(redisConfig({ ...sentinels, tls }))).toMatchObject({
      enableTLSForSentinelMode: true,
      name: 'm',
    });
    expect(sentinelOptions(redisConfig(sentinels))).not.toHaveProperty('enableTLSForSentinelMode');
  });

  it('reconnects within half a second', () => {
    const { retryStrategy } = connectionOptions(redisConfig({ url: 'redis://h' }));
    expect([1, 2, 10, 1000].map(retryStrategy)).toEqual([50, 100, 500, 500]);
  });

  it('is described without its password', () => {
    expect(describeRedis(redisConfig({ url: 'redis://u:secret@h:7/1' }))).toBe('Redis at h:7');
    const nodes = [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ];
    expect(describeRedis(redisConfig({ cluster: nodes }))).toBe('Redis Cluster at a:1, b:2');
    expect(describeRedis(redisConfig({ sentinels: nodes, name: 'm' }))).toBe('Redis m behind sentinels a:1, b:2');
  });
});
