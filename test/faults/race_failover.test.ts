import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { Scene, sendAtOnce } from './scene.ts';

/** Copies of one request over two gateways, with the Redis they share killed and a replica promoted in between: real servers, real sentinels. */

const COPIES = 100;
const ORIGIN = 'http://cloud.example.com';
/** Milliseconds for a fail-over on a busy machine. */
const FAILOVER_MS = 90_000;

let scene: Scene;
let upstream: RecordingUpstream;
const folder = mkdtempSync(join(tmpdir(), 'sallyport-failover-'));

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(async () => {
  await scene.close();
  rmSync(folder, { recursive: true, force: true });
});

async function redis(options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  scene.atEnd(() => server.stop());
  return server;
}

const info = (server: RedisServer) => server.call('INFO').then(String, () => '');

/** Two gateways with one origin, which share a Redis. */
function twoGateways(name: string, nodes: Record<string, unknown>): Promise<GatewayProcess[]> {
  const config = scene.config(upstream.origin, {
    public_origin: ORIGIN,
    // Without leeway, proofs that are made after a loss are taken a second later.
    dpop: { leeway_seconds: 0 },
    replay: { store: 'redis', redis: nodes },
  });
  return Promise.all(['a', 'b'].map((one) => scene.start(config, `${name}_${one}.yaml`)));
}

/** Sends copies of one request to both, all at once; every one is answered. @returns how many passed */
async function race(gateways: readonly GatewayProcess[], bytes: string, copies = COPIES): Promise<number> {
  const ports = gateways.map(({ port }) => port);
  const callers = await sendAtOnce(ports, copies, bytes);
  const statuses = callers.map(({ answers }) => answers[0]?.status ?? 0);
  expect(statuses.filter((status) => ![200, 401, 503].includes(status))).toEqual([]);
  return statuses.filter((status) => status === 200).length;
}

/** Sends copies again and again until both are ready. @returns how many passed */
async function raceUntilReady(gateways: readonly GatewayProcess[], bytes: string): Promise<number> {
  let passed = 0;
  await eventually('both are ready again', async () => {
    passed += await race(gateways, bytes, 10);
    const states = await Promise.all(gateways.map((gateway) => gateway.readiness()));
    return states.every(({ status }) => status === 200);
  });
  return passed;
}

/** Waits until new proofs pass, exactly once each. */
async function passesAgain(gateways: readonly GatewayProcess[]): Promise<void> {
  await eventually('new proofs pass', async () => {
    const passed = await race(gateways, await scene.bytes(gateways[0] as GatewayProcess), 20);
    expect(passed).toBeLessThanOrEqual(1);
    return passed === 1;
  });
}

/** How a round treats the replica before the proof is used. */
const ROUNDS = ['kept up', 'is behind: the write is lost'] as const;

describe('behind sentinels', () => {
  async function replicaOf(one: RedisServer): Promise<RedisServer> {
    const server = await redis({
      args: ['--replicaof', '127.0.0.1', String(one.port), '--repl-diskless-sync-delay', '0'],
    });
    await eventually('it replicates', async () => (await info(server)).includes('master_link_status:up'), 30);
    return server;
  }

  /** A master, a replica, a sentinel that knows both, and two gateways. */
  async function deploy(name: string) {
    const master = await redis({ args: ['--repl-diskless-sync-delay', '0'] });
    const replica = await replicaOf(master);
    const file = join(folder, `${name}.conf`);
    const lines = [
      `sentinel monitor proofs 127.0.0.1 ${master.port} 1`,
      // Longer than a busy machine keeps a server waiting.
      'sentinel down-after-milliseconds proofs 3000',
      'sentinel failover-timeout proofs 3000',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const sentinel = await redis({ sentinelConfig: file });
    await eventually('the master knows its replica', async () =>
      (await info(master)).includes(`port=${replica.port},state=online`),
    );
    await eventually(
      'the sentinel knows the replica',
      async () => String(await sentinel.call('SENTINEL', 'REPLICAS', 'proofs')).includes(String(replica.port)),
      30,
    );
    const gateways = await twoGateways(name, {
      sentinels: [{ host: sentinel.host, port: sentinel.port }],
      name: 'proofs',
      command_timeout_ms: 500,
    });
    return { master, replica, gateways };
  }

  it.each(ROUNDS)(
    'the replica %s; the master is killed, the replica promoted: at most one of all copies passes',
    { timeout: FAILOVER_MS },
    async (state) => {
      const { master, replica, gateways } = await deploy(state === 'kept up' ? 'kept_up' : 'behind');
      const before = upstream.requests.length;
      const bytes = await scene.bytes(gateways[0] as GatewayProcess);
      if (state !== 'kept up') process.kill(replica.pid, 'SIGSTOP');
      let passed = await race(gateways, bytes);
      expect(passed).toBe(1);
      const [during] = await Promise.all([race(gateways, bytes), master.kill()]);
      passed += during;
      if (state !== 'kept up') process.kill(replica.pid, 'SIGCONT');
      for (;;) {
        passed += await race(gateways, bytes, 20);
        if ((await info(replica)).includes('role:master')) break;
      }
      passed += await race(gateways, bytes);
      passed += await raceUntilReady(gateways, bytes);
      passed += await race(gateways, bytes);
      expect(passed).toBe(1);
      expect(upstream.requests.length - before).toBe(1);
      await passesAgain(gateways);
      expect(await race(gateways, bytes)).toBe(0);
    },
  );
});

describe('a Redis Cluster', () => {
  const args = [
    '--repl-diskless-sync-delay',
    '0',
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '1000',
    '--cluster-replica-validity-factor',
    '0',
  ];

  it('the master of the half that holds the proof is killed, its replica takes over: at most one of all copies passes', {
    timeout: FAILOVER_MS,
  }, async () => {
    // Three masters, so that the others are a majority.
    const masters = await Promise.all([redis({ args }), redis({ args }), redis({ args })]);
    const first = masters[0] as RedisServer;
    const slots = [0, 5461, 10_923, 16_384];
    for (const [index, one] of masters.entries()) {
      await one.call('CLUSTER', 'ADDSLOTSRANGE', slots[index] as number, (slots[index + 1] as number) - 1);
      if (one !== first) await one.call('CLUSTER', 'MEET', '127.0.0.1', first.port);
    }
    const replicas = await Promise.all(masters.map(() => redis({ args })));
    for (const one of replicas) await one.call('CLUSTER', 'MEET', '127.0.0.1', first.port);
    for (const [index, one] of replicas.entries()) {
      const id = String(await masters[index]?.call('CLUSTER', 'MYID'));
      await eventually('it is known', async () => String(await one.call('CLUSTER', 'NODES')).includes(id));
      // Refused for as long as it has not heard from the master.
      await eventually('it may replicate', () =>
        one.call('CLUSTER', 'REPLICATE', id).then(
          () => true,
          () => false,
        ),
      );
      await eventually('it replicates', async () => (await info(one)).includes('master_link_status:up'), 30);
    }
    for (const one of [...masters, ...replicas]) {
      await eventually('it is one cluster', async () =>
        String(await one.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
      );
    }
    const gateways = await twoGateways('cluster', {
      cluster: masters.map(({ host, port }) => ({ host, port })),
      command_timeout_ms: 500,
    });
    await passesAgain(gateways);
    const before = upstream.requests.length;
    // One of these is on the node that is killed, whatever its slot.
    const proofs = await Promise.all(Array.from({ length: 6 }, () => scene.bytes(gateways[0] as GatewayProcess)));
    const passed = await Promise.all(proofs.map((bytes) => race(gateways, bytes, 20)));
    expect(passed).toEqual(proofs.map(() => 1));
    const again = async () => {
      for (const [at, bytes] of proofs.entries()) passed[at] = (passed[at] ?? 0) + (await race(gateways, bytes, 20));
    };
    await Promise.all([again(), first.kill()]);
    while (!(await info(replicas[0] as RedisServer)).includes('role:master')) await again();
    await eventually('both are ready again', async () => {
      await again();
      const states = await Promise.all(gateways.map((gateway) => gateway.readiness()));
      return states.every(({ status }) => status === 200);
    });
    await again();
    expect(passed).toEqual(proofs.map(() => 1));
    expect(upstream.requests.length - before).toBe(proofs.length);
    await passesAgain(gateways);
  });
});
