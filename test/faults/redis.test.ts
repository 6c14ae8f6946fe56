import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GatewayProcess } from '../support/process.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { freePort, type RedisServer, startRedis } from '../support/redis_server.ts';
import { startProxy, type TcpProxy } from '../support/tcp_proxy.ts';
import { Scene } from './scene.ts';

/** Milliseconds for a start that fails, on a busy machine. */
const START_MS = 60_000;
const COMMAND_MS = 200;
/** Every answer comes within a second and the configured time. */
const BOUND_MS = 1000 + COMMAND_MS;
/** Keys that Redis reads at 50 ms each: more than a minute, whatever this machine has to do. */
const LOADED_KEYS = 2000;

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(() => scene.close());

function configOf(url: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return scene.config(upstream.origin, {
    replay: { store: 'redis', redis: { url, command_timeout_ms: COMMAND_MS } },
    // Without leeway, proofs that are made after a loss are taken a second later.
    dpop: { leeway_seconds: 0 },
    ...changes,
  });
}

describe('Redis that cannot be used at the start: the gateway does not start', () => {
  it.concurrent('refused: says where and why, out of a worker process too', { timeout: START_MS }, async () => {
    const port = await freePort();
    const { code, errors } = await scene.failing(
      configOf(`redis://127.0.0.1:${port}`, { processes: 2 }),
      'refused.yaml',
    );
    expect(code).toBe(1);
    expect(errors).toMatch(
      new RegExp(`^sallyport: replay\\.redis: Redis at 127\\.0\\.0\\.1:${port} was not ready .*ECONNREFUSED`, 'm'),
    );
  });

  it.concurrent('may evict: says what was read, what was expected, and what to do', { timeout: START_MS }, async () => {
    const redis = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
    scene.atEnd(() => redis.stop());
    const { code, errors } = await scene.failing(configOf(redis.url), 'evicting.yaml');
    expect(code).toBe(1);
    expect(errors).toContain('maxmemory-policy is allkeys-lru, expected noeviction');
    expect(errors).toContain('run CONFIG SET maxmemory-policy noeviction');
  });
});

describe('Redis that fails later: 503 proof.replay_store_unavailable, and recovery without a restart', () => {
  let directory: string;
  let redis: RedisServer;
  let proxy: TcpProxy;
  let gateway: GatewayProcess;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sallyport-redis-'));
    scene.atEnd(async () => rmSync(directory, { recursive: true }));
    redis = await startRedis({ directory });
    scene.atEnd(() => redis.stop());
    proxy = await startProxy(redis.port);
    scene.atEnd(() => proxy.close());
    gateway = await scene.start(configOf(`redis://127.0.0.1:${proxy.port}`));
  });

  /** A fault, and how it ends. */
  interface Fault {
    readonly name: string;
    begin(): Promise<unknown>;
    end(): Promise<unknown>;
  }

  const again = async (...args: string[]) => {
    await redis.kill();
    redis = await startRedis({ directory, port: redis.port, args });
  };

  const faults: readonly Fault[] = [
    { name: 'down, then back without its data', begin: () => redis.kill(), end: () => again() },
    {
      name: 'silent',
      begin: async () => proxy.stallAnswers(),
      end: async () => proxy.resumeAnswers(),
    },
    {
      name: 'READONLY: it was made a replica',
      begin: () => redis.call('REPLICAOF', '127.0.0.1', 1),
      end: () => redis.call('REPLICAOF', 'NO', 'ONE'),
    },
    {
      name: 'OOM: its memory is full',
      begin: () => redis.call('CONFIG', 'SET', 'maxmemory', 1),
      end: () => redis.call('CONFIG', 'SET', 'maxmemory', 0),
    },
    {
      name: 'it may evict since lately',
      begin: () => redis.call('CONFIG', 'SET', 'maxmemory-policy', 'volatile-lru'),
      end: () => redis.call('CONFIG', 'SET', 'maxmemory-policy', 'noeviction'),
    },
    {
      name: 'LOADING: it reads its data after a restart',
      begin: async () => {
        await redis.call('DEBUG', 'POPULATE', LOADED_KEYS);
        await redis.call('SAVE');
        // It answers between keys, as it does between the blocks of a large file.
        await again('--key-load-delay', '50000', '--loading-process-events-interval-bytes', '1024');
      },
      end: () => again(),
    },
  ];

  it.each(faults)('$name', { timeout: 40_000 }, async ({ begin, end }) => {
    const used = await scene.headers(gateway);
    expect((await scene.call(gateway, used)).status).toBe(200);
    const losses = await gateway.metric('sallyport_replay_claims_total', 'outcome="unavailable"');

    await begin();
    const refused = await scene.callUntil(gateway, 503);
    expect(refused.reason).toBe('proof.replay_store_unavailable');
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(refused.milliseconds).toBeLessThan(BOUND_MS);
    // Nothing but Redis remembers proofs: without it the used one is not known as used.
    const replayed = await scene.call(gateway, used);
    expect(replayed).toMatchObject({ status: 503, reason: 'proof.replay_store_unavailable' });
    expect(replayed.milliseconds).toBeLessThan(BOUND_MS);
    const readiness = await gateway.becomes(503, 'replay_store');
    expect(readiness.checks.find(({ name }) => name === 'replay_store')?.detail).not.toBe('');
    expect(await gateway.metric('sallyport_replay_store_up', 'store="redis"')).toBe(0);
    expect(await gateway.metric('sallyport_replay_claims_total', 'outcome="unavailable"')).toBeGreaterThan(losses);

    await end();
    await gateway.becomes(200);
    expect(await gateway.metric('sallyport_replay_store_up', 'store="redis"')).toBe(1);
    await scene.callUntil(gateway, 200);
    expect((await scene.call(gateway, used)).status).not.toBe(200);
  });

  it('slow past its deadline', async () => {
    await redis.call('CLIENT', 'PAUSE', COMMAND_MS * 3);
    const refused = await scene.call(gateway);
    expect(refused).toMatchObject({ status: 503, reason: 'proof.replay_store_unavailable' });
    expect(refused.milliseconds).toBeLessThan(BOUND_MS);
    await scene.callUntil(gateway, 200);
  });

  it('FLUSHALL: the next proof is refused, and none that was used before passes again', async () => {
    const used = await scene.headers(gateway);
    expect((await scene.call(gateway, used)).status).toBe(200);
    const losses = await gateway.metric('sallyport_replay_losses_total');
    await redis.call('FLUSHALL');
    expect(await scene.call(gateway, used)).toMatchObject({ status: 503, reason: 'proof.replay_store_unavailable' });
    await scene.callUntil(gateway, 200);
    expect((await scene.call(gateway, used)).status).toBe(503);
    expect(await gateway.metric('sallyport_replay_losses_total')).toBe(losses + 1);
  });

  it('each refusal has its record, and nothing of it was sent upstream', async () => {
    await redis.call('CLIENT', 'PAUSE', COMMAND_MS * 3);
    const refused = await scene.call(gateway);
    const { decision_id: id } = JSON.parse(refused.body) as { decision_id: string };
    const record = await scene.recordOf(id);
    expect(record.custom.sallyport).toMatchObject({ status: 503, reason: 'proof.replay_store_unavailable' });
    const passed = scene.records().filter(({ custom }) => custom.sallyport.status === 200);
    expect(upstream.requests).toHaveLength(passed.length);
  });
});
