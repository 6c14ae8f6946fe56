import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GatewayProcess } from '../support/process.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { Scene, sendAtOnce } from './scene.ts';

const COPIES = 100;
const ROUNDS = [1, 2, 3, 4, 5];
/** Two nodes are one gateway to their callers. */
const ORIGIN = 'http://cloud.example.com';
/** Without leeway, proofs that are made after a loss are taken a second later. */
const NO_LEEWAY = { leeway_seconds: 0 };

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(() => scene.close());

async function startedRedis(port?: number): Promise<RedisServer> {
  const redis = await startRedis(port === undefined ? {} : { port });
  scene.atEnd(() => redis.stop());
  return redis;
}

function start(name: string, changes: Record<string, unknown>): Promise<GatewayProcess> {
  return scene.start(scene.config(upstream.origin, { public_origin: ORIGIN, ...changes }), `${name}.yaml`);
}

const sharing = (redis: RedisServer) => ({ replay: { store: 'redis', redis: { url: redis.url } } });

/** Sends copies of one request to some gateways, all at once. @returns how many got which status */
async function race(gateways: readonly GatewayProcess[], bytes: string): Promise<Record<number, number>> {
  const callers = await sendAtOnce(
    gateways.map(({ port }) => port),
    COPIES,
    bytes,
  );
  const counts: Record<number, number> = {};
  for (const { answers } of callers) {
    const status = answers[0]?.status ?? 0;
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

async function raceOnce(gateways: readonly GatewayProcess[]): Promise<void> {
  const before = upstream.requests.length;
  const counts = await race(gateways, await scene.bytes(gateways[0] as GatewayProcess));
  expect(counts).toEqual({ 200: 1, 401: COPIES - 1 });
  expect(upstream.requests.length - before).toBe(1);
}

describe('proof.replayed: of 100 copies of one request at once exactly one passes', () => {
  let workers: GatewayProcess;
  let nodes: GatewayProcess[];
  let alone: GatewayProcess;

  beforeAll(async () => {
    const redis = await startedRedis();
    workers = await start('workers', { ...sharing(redis), processes: 2 });
    nodes = await Promise.all(['a', 'b'].map((name) => start(name, sharing(redis))));
    alone = await start('alone', {});
  });

  it.each(ROUNDS)('two worker processes that share a Redis, round %i', () => raceOnce([workers]));

  it.each(ROUNDS)('two gateways that share a Redis, round %i', () => raceOnce(nodes));

  it.each(ROUNDS)('one process with the memory store, round %i', () => raceOnce([alone]));

  it('each of them has its record', async () => {
    const rounds = ROUNDS.length * 3;
    await expect.poll(() => scene.records().length).toBe(rounds * COPIES);
    const reasons = scene.records().map(({ custom }) => custom.sallyport.reason ?? 'allowed');
    expect(reasons.filter((reason) => reason === 'allowed')).toHaveLength(rounds);
    expect(new Set(reasons)).toEqual(new Set(['allowed', 'proof.replayed']));
  });
});

describe('proof.replayed: proofs that were used before a gateway started', () => {
  it('a gateway that was stopped and started again, and one that was killed, with Redis', {
    timeout: 60_000,
  }, async () => {
    const redis = await startedRedis();
    const before = upstream.requests.length;
    let gateway = await start('restarted', sharing(redis));
    const bytes = await scene.bytes(gateway);
    expect(await race([gateway], bytes)).toEqual({ 200: 1, 401: COPIES - 1 });
    expect(await gateway.stop()).toBe(0);
    gateway = await start('restarted', sharing(redis));
    expect(await race([gateway], bytes)).toEqual({ 401: COPIES });
    const next = await scene.bytes(gateway);
    expect(await race([gateway], next)).toEqual({ 200: 1, 401: COPIES - 1 });
    await gateway.stop('SIGKILL');
    gateway = await start('restarted', sharing(redis));
    for (const used of [bytes, next]) expect(await race([gateway], used)).toEqual({ 401: COPIES });
    expect(upstream.requests.length - before).toBe(2);
  });
});

describe('proof.replayed: copies before, while and after Redis is gone', () => {
  it('at most one passes, ever; new proofs pass again', { timeout: 40_000 }, async () => {
    let redis = await startedRedis();
    const gateway = await start('short', { ...sharing(redis), processes: 2, dpop: NO_LEEWAY });
    const bytes = await scene.bytes(gateway);
    const before = upstream.requests.length;
    const counts: Record<number, number>[] = [];
    counts.push(await race([gateway], bytes));
    const [during] = await Promise.all([race([gateway], bytes), redis.kill()]);
    counts.push(during);
    counts.push(await race([gateway], bytes));
    redis = await startedRedis(redis.port);
    await gateway.becomes(200);
    counts.push(await race([gateway], bytes));
    expect(counts.reduce((sum, count) => sum + (count[200] ?? 0), 0)).toBe(1);
    expect(upstream.requests.length - before).toBe(1);
    await expect
      .poll(async () => (await race([gateway], await scene.bytes(gateway)))[200], { timeout: 10_000 })
      .toBe(1);
  });
});
