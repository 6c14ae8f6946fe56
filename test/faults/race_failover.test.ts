import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import type { RecordingUpstream } from '../support/recording_upstream.ts';
import { deployCluster, deploySentinel, infoOf } from '../support/redis_deployments.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { sendSignal } from '../support/signal.ts';
import { Scene, sendAtOnce } from './scene.ts';

/**
 * Copies of one request over two gateways, with the Redis they share killed and a replica promoted in between, again and again: real servers,
 * real sentinels. Proofs of earlier rounds are tried in every later one.
 */

const COPIES = 100;
const ORIGIN = 'http://cloud.example.com';
/** Milliseconds for all fail-overs of a test on a busy machine. */
const FAILOVERS_MS = 240_000;

let scene: Scene;
let upstream: RecordingUpstream;

beforeAll(async () => {
  scene = await Scene.create();
  upstream = await scene.upstream();
});

afterAll(() => scene.close());

const atEnd = (close: () => Promise<unknown>) => scene.atEnd(close);
const isMaster = async (server: RedisServer) => (await infoOf(server)).includes('role:master');

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

/** Proofs, and how often each of them was let through by two gateways. */
class Proofs {
  readonly #gateways: readonly GatewayProcess[];
  readonly #all: { readonly bytes: string; passed: number }[] = [];
  readonly #before = upstream.requests.length;

  constructor(gateways: readonly GatewayProcess[]) {
    this.#gateways = gateways;
  }

  /** Sends copies of one request to both, all at once; every one is answered. @returns how many passed */
  async race(bytes: string, copies: number): Promise<number> {
    const ports = this.#gateways.map(({ port }) => port);
    const callers = await sendAtOnce(ports, copies, bytes);
    const statuses = callers.map(({ answers }) => answers[0]?.status ?? 0);
    expect(statuses.filter((status) => ![200, 401, 503].includes(status))).toEqual([]);
    return statuses.filter((status) => status === 200).length;
  }

  /** New proofs, each sent as so many copies at once. */
  async use(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      const bytes = await scene.bytes(this.#gateways[0] as GatewayProcess);
      this.#all.push({ bytes, passed: await this.race(bytes, COPIES) });
    }
  }

  /** Copies of every proof again. */
  async again(copies = 10): Promise<void> {
    for (const proof of this.#all) proof.passed += await this.race(proof.bytes, copies);
  }

  /** Copies of the last proof, as many as at first, while something happens. */
  async during(happens: () => Promise<unknown>): Promise<void> {
    const last = this.#all.at(-1);
    if (last === undefined) throw new Error('no proof yet');
    const [passed] = await Promise.all([this.race(last.bytes, COPIES), happens()]);
    last.passed += passed;
  }

  /** Goes on until both gateways are ready, then until a new proof passes, exactly once. */
  async recover(): Promise<void> {
    await eventually(
      'both are ready again',
      async () => {
        await this.again();
        const states = await Promise.all(this.#gateways.map((gateway) => gateway.readiness()));
        return states.every(({ status }) => status === 200);
      },
      60,
    );
    await eventually('new proofs pass', async () => {
      await this.use(1);
      return this.#all.at(-1)?.passed === 1;
    });
    await this.again();
  }

  /** None passed twice, those that were made in quiet passed once, and the upstream saw no more than that. */
  judge(): void {
    const passed = this.#all.map((proof) => proof.passed);
    expect(Math.max(...passed)).toBe(1);
    expect(upstream.requests.length - this.#before).toBe(passed.reduce((sum, one) => sum + one, 0));
  }
}

/** How a round treats the replica before the proof is used. */
const ROUNDS = ['kept up', 'is behind', 'kept up', 'is behind'] as const;

describe('behind sentinels', () => {
  it('proof.replayed: the master is killed and the replica promoted, four times: at most one of all copies passes', {
    timeout: FAILOVERS_MS,
  }, async () => {
    const deployment = await deploySentinel(atEnd);
    let { master, replica } = deployment;
    const proofs = new Proofs(await twoGateways('sentinel', deployment.nodes));
    await proofs.recover();
    for (const state of ROUNDS) {
      // Behind: what is written from now on is lost with the master.
      if (state === 'is behind') sendSignal(replica.pid, 'SIGSTOP');
      await proofs.use(1);
      const old = master;
      await proofs.during(() => old.kill());
      if (state === 'is behind') sendSignal(replica.pid, 'SIGCONT');
      do await proofs.again(20);
      while (!(await isMaster(replica)));
      await proofs.recover();
      proofs.judge();
      master = replica;
      replica = await replicaOf(master, old.port);
      await eventually('the sentinel knows it', () => isKnown(deployment.sentinel), 30);
    }
  });

  /** Starts the killed server again, in the other role. */
  async function replicaOf(one: RedisServer, port: number): Promise<RedisServer> {
    const args = ['--replicaof', '127.0.0.1', String(one.port), '--repl-diskless-sync-delay', '0'];
    const server = await startRedis({ port, args });
    atEnd(() => server.stop());
    await eventually('it replicates', async () => (await infoOf(server)).includes('master_link_status:up'), 30);
    return server;
  }

  async function isKnown(sentinel: RedisServer): Promise<boolean> {
    const replicas = String(await sentinel.call('SENTINEL', 'REPLICAS', 'proofs'));
    return replicas.includes('slave') && !/s_down|disconnected/.test(replicas);
  }
});

describe('a Redis Cluster', () => {
  it('proof.replayed: one master after the other is killed and its replica takes over: at most one of all copies passes', {
    timeout: FAILOVERS_MS,
  }, async () => {
    const { masters, replicas, nodes } = await deployCluster(atEnd);
    const proofs = new Proofs(await twoGateways('cluster', nodes));
    await proofs.recover();
    for (const [index, master] of masters.entries()) {
      const replica = replicas[index] as RedisServer;
      // Several, so that one of them is on the node that is killed, whatever its slot.
      await proofs.use(4);
      await proofs.during(() => master.kill());
      do await proofs.again(20);
      while (!(await isMaster(replica)));
      await proofs.recover();
      proofs.judge();
    }
  });
});
