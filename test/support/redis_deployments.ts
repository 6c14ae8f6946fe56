import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { type RedisServer, startRedis } from './redis_server.ts';

/** A master with a replica, and a sentinel that promotes the replica when the master is gone. */
export interface SentinelDeployment {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinel: RedisServer;
  /** What a configuration says of it. */
  readonly nodes: Readonly<Record<string, unknown>>;
}

/** Three masters, each with a replica in the same place of the list. */
export interface ClusterDeployment {
  readonly masters: readonly RedisServer[];
  readonly replicas: readonly RedisServer[];
  readonly nodes: Readonly<Record<string, unknown>>;
}

/** Takes what is to be ended when the test is over. */
type AtEnd = (close: () => Promise<unknown>) => void;

/** A full synchronisation begins at once. */
const EAGER = ['--repl-diskless-sync-delay', '0'];
const CLUSTER = [
  ...EAGER,
  '--cluster-enabled',
  'yes',
  '--cluster-node-timeout',
  '1000',
  '--cluster-replica-validity-factor',
  '0',
];
const SLOTS = [0, 5461, 10_923, 16_384];

/** What a server says of itself; nothing while it cannot be reached. */
export const infoOf = (server: RedisServer): Promise<string> => server.call('INFO').then(String, () => '');

/** Starts real servers behind a real sentinel, and waits until a fail-over could begin. */
export async function deploySentinel(atEnd: AtEnd): Promise<SentinelDeployment> {
  const start = starter(atEnd);
  const master = await start({ args: EAGER });
  const replica = await start({ args: ['--replicaof', '127.0.0.1', String(master.port), ...EAGER] });
  await eventually('it replicates', async () => (await infoOf(replica)).includes('master_link_status:up'), 30);
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-sentinel-'));
  atEnd(async () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'sentinel.conf');
  // Longer than a busy machine keeps a server waiting.
  const lines = ['down-after-milliseconds proofs 3000', 'failover-timeout proofs 3000'];
  const monitor = `sentinel monitor proofs 127.0.0.1 ${master.port} 1`;
  writeFileSync(file, [monitor, ...lines.map((line) => `sentinel ${line}`), ''].join('\n'));
  const sentinel = await start({ sentinelConfig: file });
  await eventually('the master knows its replica', async () =>
    (await infoOf(master)).includes(`port=${replica.port},state=online`),
  );
  await eventually(
    'the sentinel knows the replica',
    async () => String(await sentinel.call('SENTINEL', 'REPLICAS', 'proofs')).includes(String(replica.port)),
    30,
  );
  const nodes = { sentinels: [{ host: sentinel.host, port: sentinel.port }], name: 'proofs', command_timeout_ms: 500 };
  return { master, replica, sentinel, nodes };
}

/** Starts a real cluster of six, and waits until every replica could take over. */
export async function deployCluster(atEnd: AtEnd): Promise<ClusterDeployment> {
  const start = starter(atEnd);
  // Three masters, so that the others are a majority when one is gone.
  const masters = await Promise.all([0, 1, 2].map(() => start({ args: CLUSTER })));
  const first = masters[0] as RedisServer;
  for (const [index, one] of masters.entries()) {
    await one.call('CLUSTER', 'ADDSLOTSRANGE', SLOTS[index] as number, (SLOTS[index + 1] as number) - 1);
    if (one !== first) await one.call('CLUSTER', 'MEET', '127.0.0.1', first.port);
  }
  const replicas = await Promise.all(masters.map(() => start({ args: CLUSTER })));
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
    await eventually('it replicates', async () => (await infoOf(one)).includes('master_link_status:up'), 30);
  }
  for (const one of [...masters, ...replicas]) {
    await eventually('it is one cluster', async () =>
      String(await one.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
    );
  }
  const nodes = { cluster: masters.map(({ host, port }) => ({ host, port })), command_timeout_ms: 500 };
  return { masters, replicas, nodes };
}

function starter(atEnd: AtEnd): typeof startRedis {
  return async (options) => {
    const server = await startRedis(options);
    atEnd(() => server.stop());
    return server;
  };
}
