import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream, type UpstreamScript } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { sendSignal } from '../support/signal.ts';
import { Scene } from './scene.ts';

let scene: Scene;
let redis: RedisServer;
let upstream: RecordingUpstream;

/** Answers at once, after a while, or never, as the path says. */
const obliging: UpstreamScript = async (connection) => {
  for (let n = 1; ; n++) {
    const { target } = await connection.request(n);
    if (target.startsWith('/v1/never')) return;
    if (target.startsWith('/v1/slow')) await sleep(300);
    connection.send(OK);
  }
};

beforeAll(async () => {
  scene = await Scene.create();
  redis = await startRedis();
  scene.atEnd(() => redis.stop());
  upstream = await scene.upstream(obliging);
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), 'package sallyport\n\ndecision := {"allow": true}\n');
});

afterAll(() => scene.close());

function configOf(changes: Record<string, unknown> = {}) {
  return scene.config(
    upstream.origin,
    {
      processes: 2,
      policy: { path: 'rego', watch: false },
      limits: { stop_grace_ms: 1000 },
      replay: { store: 'redis', redis: { url: redis.url } },
      ...changes,
    },
    { upstream: { url: upstream.origin, timeout_ms: 10_000 } },
  );
}

/** Sends a good request on a connection of its own; the answer may never come. */
async function send(gateway: GatewayProcess, path: string): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  caller.send(await scene.bytes(gateway, path));
  return caller;
}

const answered = (caller: RawConnection) => caller.received.endsWith('ok');
const over = (caller: RawConnection) => answered(caller) || caller.socket.closed;

const recorded = (target: string) => scene.records().filter(({ custom }) => custom.sallyport.path === target).length;

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('worker processes', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await scene.start(configOf());
  });

  beforeEach(() => eventually('two are ready', () => gateway.workers.length === 2));

  it('metrics are those of all of them', async () => {
    const callers = await Promise.all(Array.from({ length: 20 }, (_, n) => send(gateway, `/v1/quick/${n}`)));
    await eventually('all are answered', () => callers.every(answered));
    await eventually('all are counted', async () => (await gateway.metric('sallyport_requests_total')) === 20);
    expect(await gateway.metric('sallyport_requests_total', 'reason="none"', 'status_class="2xx"')).toBe(20);
    expect(await gateway.metric('sallyport_replay_claims_total', 'outcome="first"')).toBe(20);
    expect(await gateway.metric('sallyport_request_seconds_count')).toBe(20);
    expect(await gateway.metric('sallyport_connections')).toBe(20);
    await eventually('all are recorded', async () => (await gateway.metric('sallyport_records_written_total')) === 20);
    expect(await gateway.metric('sallyport_workers_ready')).toBe(2);
    // Not once for each process.
    expect(await gateway.metric('sallyport_policy_reloads_total', 'outcome="success"')).toBe(1);
    expect(await gateway.metric('sallyport_policy_info')).toBe(1);
    for (const { socket } of callers) socket.destroy();
  });

  it('kill -9: its requests fail, those of the others are answered, another takes its place, no record is torn', async () => {
    const [victim, other] = gateway.workers;
    const callers = await Promise.all(Array.from({ length: 20 }, (_, n) => send(gateway, `/v1/slow/kill/${n}`)));
    await eventually(
      'all are under way',
      () => upstream.requests.filter(({ target }) => target.includes('/kill/')).length === 20,
    );
    sendSignal(victim, 'SIGKILL');
    await eventually('each of them is over', () => callers.every(over));
    const lost = callers.filter((caller) => !answered(caller));
    // Connections are dealt out in turn.
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.length).toBeLessThan(20);
    expect(lost.every(({ received }) => received === '')).toBe(true);

    await gateway.logs(({ msg, worker }) => worker === victim && /^a worker ended/.test(String(msg)));
    await eventually('there are two again', () => gateway.workers.length === 2);
    expect(gateway.workers).toContain(other);
    await gateway.becomes(200);
    expect(await gateway.metric('sallyport_worker_unexpected_ends_total')).toBe(1);
    const next = await Promise.all(Array.from({ length: 6 }, (_, n) => send(gateway, `/v1/quick/next/${n}`)));
    await eventually('all are answered', () => next.every(answered));
    // Every line is JSON, and each request that was answered has one.
    await eventually('the records', () => next.every((_, n) => recorded(`/v1/quick/next/${n}`) === 1));
    callers.forEach((caller, n) => {
      if (answered(caller)) expect(recorded(`/v1/slow/kill/${n}`)).toBe(1);
    });
    for (const { socket } of next) socket.destroy();
  });

  it('kill -9 before it took its connection: the caller does not wait for ever', async () => {
    const [victim] = gateway.workers;
    sendSignal(victim, 'SIGSTOP');
    const callers = await Promise.all(Array.from({ length: 8 }, (_, n) => send(gateway, `/v1/quick/stuck/${n}`)));
    await eventually('the other one answers', () => callers.filter(answered).length >= 7);
    sendSignal(victim, 'SIGKILL');
    await eventually('each of them is over', () => callers.every(over));
    await eventually('there are two again', () => gateway.workers.length === 2);
  });

  it('a worker that hangs is killed after half a minute, and another takes its place', {
    timeout: 120_000,
  }, async () => {
    const [victim] = gateway.workers;
    sendSignal(victim, 'SIGSTOP');
    const callers = await Promise.all(Array.from({ length: 8 }, (_, n) => send(gateway, `/v1/quick/hung/${n}`)));
    const told = (words: RegExp) => gateway.log.some(({ msg, worker }) => worker === victim && words.test(String(msg)));
    await eventually('it is killed', () => told(/answers nothing any more; it is killed/), 90);
    await eventually('each of them is over', () => callers.every(over));
    await eventually('there are two again', () => gateway.workers.length === 2);
    await gateway.becomes(200);
    const next = await Promise.all(Array.from({ length: 6 }, (_, n) => send(gateway, `/v1/quick/unhung/${n}`)));
    await eventually('all are answered', () => next.every(answered));
    await eventually('the records', () => next.every((_, n) => recorded(`/v1/quick/unhung/${n}`) === 1));
    for (const { socket } of next) socket.destroy();
  });

  it('a worker that leaves half a record: the next record begins a line of its own', async () => {
    const torn = '{"half":';
    const [recordsBefore, linesBefore] = [readFileSync(scene.recordsFile).length, gateway.log.length];
    writeFileSync(scene.recordsFile, torn, { flag: 'a' });
    const [victim] = gateway.workers;
    sendSignal(victim, 'SIGKILL');
    await gateway.logs(({ msg, worker }) => worker === victim && /^a worker ended/.test(String(msg)));
    await scene.call(gateway, undefined, '/v1/quick/after');
    await eventually('it says so', () =>
      gateway.log.slice(linesBefore).some(({ msg }) => /ended in an unfinished line; it was ended/.test(String(msg))),
    );
    const lines = () => readFileSync(scene.recordsFile).subarray(recordsBefore).toString().split('\n');
    await eventually('the record', () => lines().some((line) => line.includes('/v1/quick/after')));
    expect(lines().filter((line) => line !== '' && !isJson(line))).toEqual([torn]);
    await eventually('there are two again', () => gateway.workers.length === 2);
  });

  it('a worker that cannot start is tried again, less and less often; the other one serves', {
    timeout: 40_000,
  }, async () => {
    await redis.kill();
    const [victim] = gateway.workers;
    sendSignal(victim, 'SIGKILL');
    const failed = () => gateway.log.filter(({ msg }) => msg === 'a worker failed');
    await eventually('it fails', () => failed().length > 0);
    expect(failed()[0]).toMatchObject({ why: expect.stringContaining('replay.redis: ') });
    const { checks } = await gateway.becomes(503, 'workers');
    expect(checks.find(({ name }) => name === 'workers')?.detail).toBe('1 of 2 answer');
    redis = await startRedis({ port: redis.port });
    await eventually('there are two again', () => gateway.workers.length === 2);
    await gateway.becomes(200);
    await scene.callUntil(gateway, 200);
  });
});

describe('a primary process that is killed', () => {
  it('its workers finish what is under way and end by themselves', async () => {
    scene.useRecordsFile('orphans.jsonl');
    const gateway = await GatewayProcess.start(scene.folder, configOf(), 'orphans.yaml');
    const { workers } = gateway;
    expect(workers).toHaveLength(2);
    const callers = await Promise.all(Array.from({ length: 6 }, (_, n) => send(gateway, `/v1/slow/orphan/${n}`)));
    await eventually(
      'all are under way',
      () => upstream.requests.filter(({ target }) => target.includes('/orphan/')).length === 6,
    );
    sendSignal(gateway.pid, 'SIGKILL');
    await eventually('all are answered', () => callers.every(answered));
    await eventually('no worker is left', () => !workers.some(isAlive));
    expect(scene.records()).toHaveLength(6);
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
