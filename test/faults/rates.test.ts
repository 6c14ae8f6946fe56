import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { GatewayProcess } from '../support/process.ts';
import { connectRaw, type RawConnection } from '../support/raw_connection.ts';
import { OK, type RecordingUpstream } from '../support/recording_upstream.ts';
import { deployCluster, deploySentinel, infoOf } from '../support/redis_deployments.ts';
import { type RedisServer, startRedis } from '../support/redis_server.ts';
import { sendSignal } from '../support/signal.ts';
import { Scene, type Seen } from './scene.ts';

/** Rates and places that two worker processes count together, while processes and Redis go away and come back. */

const LEASE_SECONDS = 3;
/** Every answer comes within a second and the configured time. */
const BOUND_MS = 1500;
const POLICY = `package sallyport

decision := {"allow": true, "obligations": obligations}

default obligations := []

obligations := [{"type": "rate_class", "name": "few", "key": input.request.path}] if startswith(input.request.path, "/v1/few/")
obligations := [{"type": "rate_class", "name": "one"}] if startswith(input.request.path, "/v1/one/")
obligations := [{"type": "rate_class", "name": "few"}] if startswith(input.request.path, "/v1/job/")
`;
const CLASSES = {
  few: { requests: 3, per_seconds: 3600 },
  one: { requests: 100_000, per_seconds: 3600, concurrent: 1, lease_seconds: LEASE_SECONDS },
};

let scene: Scene;
let upstream: RecordingUpstream;
beforeAll(async () => {
  scene = await Scene.create();
  mkdirSync(join(scene.folder, 'rego'));
  writeFileSync(join(scene.folder, 'rego/decision.rego'), POLICY);
  upstream = await scene.upstream(async (connection) => {
    for (let n = 1; ; n++) {
      const { target } = await connection.request(n);
      if (target.includes('/never')) return;
      connection.send(OK);
    }
  });
});
afterAll(() => scene.close());

/** Proofs are claimed nowhere, so that rates are the only thing that asks Redis. */
function start(name: string, nodes: Record<string, unknown>, changes: Record<string, unknown> = {}) {
  const route = { replay: 'window_only', upstream: { url: upstream.origin, timeout_ms: 60_000 } };
  const config = scene.config(
    upstream.origin,
    {
      processes: 2,
      policy: { path: 'rego', watch: false },
      replay: { store: 'memory', redis: nodes },
      rate_classes: CLASSES,
      limits: { stop_grace_ms: 500 },
      ...changes,
    },
    route,
  );
  return scene.start(config, `${name}.yaml`);
}

async function redis(args: readonly string[] = [], port?: number): Promise<RedisServer> {
  const server = await startRedis({ args, ...(port !== undefined && { port }) });
  scene.atEnd(() => server.stop());
  return server;
}

const statusOf = async (gateway: GatewayProcess, path: string) => (await scene.call(gateway, undefined, path)).status;

/** Makes calls one after the other, each on a connection of its own, so that both processes get some. */
async function callEach(gateway: GatewayProcess, path: string, count: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let n = 0; n < count; n++) {
    const caller = await connectRaw(gateway.port);
    caller.send(await scene.bytes(gateway, path));
    await caller.until(({ answers }) => answers.length === 1);
    statuses.push(caller.answers[0]?.status ?? 0);
    caller.socket.destroy();
  }
  return statuses;
}

/** Sends a request that takes the one place and is never answered. */
async function hang(gateway: GatewayProcess, path: string): Promise<RawConnection> {
  const caller = await connectRaw(gateway.port);
  const before = upstream.requests.length;
  caller.send(await scene.bytes(gateway, path));
  await eventually('the upstream has it', () => upstream.requests.slice(before).some(({ target }) => target === path));
  return caller;
}

describe('two worker processes and one Redis', () => {
  let server: RedisServer;
  let gateway: GatewayProcess;
  beforeAll(async () => {
    server = await redis();
    gateway = await start('workers', { url: server.url });
    expect(gateway.workers).toHaveLength(2);
  });

  it('rate.exceeded: they count together', async () => {
    expect(await callEach(gateway, '/v1/few/together', 8)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
  });

  it('nothing that a caller sends makes it another job: fields, query, another proof, another spelling of the target', async () => {
    const headers = {
      'sallyport-job': 'x',
      'sallyport-subject': 'x',
      'x-forwarded-for': '192.0.2.1',
      forwarded: 'for=192.0.2.1',
      'x-real-ip': '192.0.2.1',
      'user-agent': 'x',
      cookie: 'job=x',
    };
    const seen: Seen[] = [];
    for (const [n, [name, value]] of Object.entries(headers).entries()) {
      const path = `/v1/job/${n}`;
      seen.push(
        await scene.call(gateway, { ...(await scene.headers(gateway, path)), [name]: value }, `${path}?job=${n}`),
      );
    }
    expect(seen.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429, 429, 429]);
    expect(seen.at(-1)?.reason).toBe('rate.exceeded');
  });

  it('kill -9 of the process that holds a place: it is renewed while the process lives, and free again after its lease', {
    timeout: 60_000,
  }, async () => {
    const caller = await hang(gateway, '/v1/one/never');
    expect(await scene.call(gateway, undefined, '/v1/one/other')).toMatchObject({
      status: 429,
      reason: 'rate.too_many_at_once',
    });
    // Renewed: it outlives its lease for as long as its request does.
    await new Promise((resolve) => setTimeout(resolve, LEASE_SECONDS * 1500));
    expect(await scene.call(gateway, undefined, '/v1/one/other')).toMatchObject({
      status: 429,
      reason: 'rate.too_many_at_once',
    });
    // Nobody says which of them has it.
    for (const pid of gateway.workers) {
      if (caller.socket.closed) break;
      sendSignal(pid, 'SIGKILL');
      await gateway.logs(({ msg, worker }) => worker === pid && /^a worker ended/.test(String(msg)));
      await eventually('there are two again', () => gateway.workers.length === 2);
    }
    await caller.closed();
    await eventually('the place is free', async () => (await statusOf(gateway, '/v1/one/other')) === 200, 30);
    expect(await statusOf(gateway, '/v1/one/other')).toBe(200);
  });

  it('a caller that hangs up gives its place back at once', async () => {
    const caller = await hang(gateway, '/v1/one/never/left');
    expect(await statusOf(gateway, '/v1/one/x')).toBe(429);
    caller.socket.destroy();
    await eventually('the place is free', async () => (await statusOf(gateway, '/v1/one/x')) === 200);
  });

  it('rate.store_unavailable: Redis lost, silent, full: refused within the bound, nothing sent, and it recovers', {
    timeout: 60_000,
  }, async () => {
    const refusedOnce = async () => {
      const before = upstream.requests.length;
      const seen = await scene.call(gateway, undefined, '/v1/one/lost');
      expect(seen).toMatchObject({ status: 503, reason: 'rate.store_unavailable' });
      expect(seen.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(seen.milliseconds).toBeLessThan(BOUND_MS);
      expect(upstream.requests).toHaveLength(before);
      // Where no rate is asked for, nothing is missed.
      expect(await statusOf(gateway, '/v1/free')).toBe(200);
    };
    await server.call('CONFIG', 'SET', 'maxmemory', 1);
    await refusedOnce();
    await server.call('CONFIG', 'SET', 'maxmemory', 0);
    expect(await statusOf(gateway, '/v1/one/full')).toBe(200);

    sendSignal(server.pid, 'SIGSTOP');
    await refusedOnce();
    sendSignal(server.pid, 'SIGCONT');
    await eventually('it passes again', async () => (await statusOf(gateway, '/v1/one/silent')) === 200);

    await server.kill();
    await eventually('it is lost', async () => (await statusOf(gateway, '/v1/one/lost')) === 503);
    await refusedOnce();
    server = await redis([], server.port);
    await eventually('it passes again', async () => (await statusOf(gateway, '/v1/one/back')) === 200, 30);
    // A Redis that kept nothing begins anew: the rate once more, and not the rate for each process.
    expect(await callEach(gateway, '/v1/few/together', 8)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
  });
});

describe('SIGTERM', () => {
  it('the places of requests that were cut are free at once, not after their lease', { timeout: 60_000 }, async () => {
    const server = await redis();
    const classes = { one: { ...CLASSES.one, lease_seconds: 600 } };
    const gateway = await start('stopped', { url: server.url }, { rate_classes: classes });
    await hang(gateway, '/v1/one/never/stopped');
    expect(await gateway.stop()).toBe(1);
    const next = await start('next', { url: server.url }, { rate_classes: classes });
    expect(await statusOf(next, '/v1/one/next')).toBe(200);
  });
});

describe('a Redis that would forget counts', () => {
  it.each([
    ['may evict', ['--maxmemory-policy', 'allkeys-lru'], /maxmemory-policy is allkeys-lru, expected noeviction/],
    ['is a replica', ['--replicaof', '127.0.0.1', '1'], /its role is slave, expected master/],
  ])('%s: the gateway does not start, says why', { timeout: 60_000 }, async (name, args, says) => {
    const server = await redis(args);
    const config = scene.config(upstream.origin, {
      replay: { store: 'memory', redis: { url: server.url } },
      rate_classes: CLASSES,
    });
    const { code, errors } = await scene.failing(config, `${name.replace(' ', '_')}.yaml`);
    expect(code).toBe(1);
    expect(errors).toMatch(/rate_classes: Redis at 127\.0\.0\.1:\d+: /);
    expect(errors).toMatch(says);
  });
});

describe.each(['sentinel', 'cluster'] as const)('fail-over, %s', (kind) => {
  it('rate.store_unavailable meanwhile; then the counts that were replicated go on', { timeout: 120_000 }, async () => {
    const atEnd = scene.atEnd.bind(scene);
    const deployment = kind === 'sentinel' ? await deploySentinel(atEnd) : await deployCluster(atEnd);
    const [masters, replicas] =
      'masters' in deployment ? [deployment.masters, deployment.replicas] : [[deployment.master], [deployment.replica]];
    const gateway = await start(kind, deployment.nodes);
    const paths = Array.from({ length: 6 }, (_, n) => `/v1/few/${n}`);
    for (const path of paths) expect(await callEach(gateway, path, 2)).toEqual([200, 200]);
    for (const master of masters) await master.call('WAIT', 1, 5000);
    await masters[0]?.kill();
    let refused = 0;
    while (!(await infoOf(replicas[0] as RedisServer)).includes('role:master')) {
      const seen = await scene.call(gateway, undefined, '/v1/one/meanwhile');
      if (seen.status !== 503) continue;
      refused++;
      expect(seen.reason).toBe('rate.store_unavailable');
      expect(seen.milliseconds).toBeLessThan(BOUND_MS);
    }
    if (kind === 'sentinel') expect(refused).toBeGreaterThan(0);
    await eventually(
      'all pass again',
      async () => {
        const statuses = await Promise.all(paths.map((path) => statusOf(gateway, `/v1/one/again${path.slice(-2)}`)));
        return !statuses.includes(503);
      },
      60,
    );
    for (const path of paths) expect(await callEach(gateway, path, 3)).toEqual([200, 429, 429]);
  });
});
