import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Setting } from '../contenders/contender.ts';
import { type GatewayRun, startGateway } from '../contenders/gateway.ts';
import { type Caller, makeCaller, makeCallers } from '../requests.ts';
import { startDelay } from './delay.ts';
import type { Dimension, Sized } from './dimension.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Connections that are opened at a time. */
const IDLE_WAVE = 200;

/** All that is measured, in the order of the page. */
export const DIMENSIONS: readonly Dimension[] = [
  {
    name: 'operations',
    title: 'Operations in the catalogue',
    unit: 'operations',
    sizes: [10, 100, 1000, 10_000],
    atMost: 1.2,
    start: (size, setting, redisCpus) =>
      sized({ name: 'operations', size, setting, redisCpus }, (config, folder) => {
        const catalogue = parse(readFileSync(join(ROOT, 'catalogs/demo_cloud.yaml'), 'utf8'));
        for (let index = 0; catalogue.operations.length < size; index++) {
          const resource = `projects/{project}/kind${index}/{item}`;
          catalogue.operations.push({
            name: `kind${index}.get`,
            request: `GET /v1/${resource}`,
            resource,
            access: 'read',
          });
        }
        const file = join(folder, `catalogue_${size}.yaml`);
        writeFileSync(file, JSON.stringify(catalogue));
        return { ...config, routes: config.routes.map((route) => ({ ...route, operations: file })) };
      }),
  },
  {
    name: 'routes',
    title: 'Routes',
    unit: 'routes',
    sizes: [1, 10, 100, 1000],
    atMost: 1.2,
    start: (size, setting, redisCpus) =>
      sized({ name: 'routes', size, setting, redisCpus }, (config) => {
        const others = Array.from({ length: size - 1 }, (_, index) => ({
          ...config.routes[0],
          name: `other${index}`,
          path_prefix: `/v1/other${index}`,
          operations: undefined,
        }));
        return { ...config, routes: [...config.routes, ...others] };
      }),
  },
  {
    name: 'issuers',
    title: 'Issuers',
    unit: 'issuers',
    sizes: [1, 10, 100],
    atMost: 1.2,
    start: (size, setting, redisCpus) =>
      sized({ name: 'issuers', size, setting, redisCpus }, (config) => {
        const [own] = config.issuers;
        const others = Array.from({ length: size - 1 }, (_, index) => ({
          ...own,
          issuer: `https://as${index}.example.com`,
        }));
        return { ...config, issuers: [...config.issuers, ...others] };
      }),
  },
  {
    name: 'keys',
    title: 'Keys in the key set of the issuer',
    unit: 'keys',
    sizes: [1, 8, 64],
    atMost: 1.2,
    start: (size, setting, redisCpus) =>
      sized({ name: 'keys', size, setting, redisCpus }, (config, folder) => {
        const others = Array.from({ length: size - 1 }, (_, index) => ({
          ...makeCaller(1).issuerJwk,
          kid: `other-${index}`,
        }));
        const file = join(folder, `key_set_${size}.json`);
        writeFileSync(file, JSON.stringify({ keys: [...others, setting.caller.issuerJwk] }));
        return { ...config, issuers: config.issuers.map((issuer) => ({ ...issuer, jwks_file: file })) };
      }),
  },
  {
    name: 'jobs',
    title: 'Repositories in the table of jobs (policy data)',
    unit: 'repositories',
    sizes: [10, 1000, 100_000],
    atMost: 1.2,
    start: (size, setting, redisCpus) =>
      sized({ name: 'jobs', size, setting, redisCpus }, (config, folder) => {
        const policies = join(folder, `policies_${size}`);
        cpSync(join(ROOT, 'policies'), policies, { recursive: true });
        const file = join(policies, 'starter/data.json');
        const data = JSON.parse(readFileSync(file, 'utf8'));
        for (let index = 0; index < size; index++) {
          data.jobs.github[`acme/repository-${index}`] = { repository_id: String(index), rules: ['look'] };
        }
        writeFileSync(file, JSON.stringify(data));
        return { ...config, policy: { ...config.policy, path: policies } };
      }),
  },
  {
    name: 'tokens',
    title: 'Tokens and keys in use, in turn',
    unit: 'tokens',
    sizes: [1, 100, 5000],
    atMost: null,
    start: (size, setting, redisCpus) => {
      const callers = makeCallers(portOf(setting.caller), size);
      return sized({ name: 'tokens', size, setting: { ...setting, caller: callers[0] as Caller }, redisCpus, callers });
    },
  },
  {
    name: 'authorization_details',
    title: 'Items of authorization_details in the token',
    unit: 'items',
    sizes: [1, 10, 50],
    atMost: null,
    start: (size, setting, redisCpus) => {
      const caller = makeCaller(portOf(setting.caller), { otherDetails: size - 1 });
      return sized({ name: 'details', size, setting: { ...setting, caller }, redisCpus, callers: [caller] });
    },
  },
  {
    name: 'idle_connections',
    title: 'Idle connections of other callers',
    unit: 'connections',
    sizes: [0, 1000, 10_000],
    atMost: 1.2,
    start: async (size, setting, redisCpus) => {
      const started = await sized({ name: 'idle', size, setting, redisCpus }, (config) => ({
        ...config,
        limits: { connections: 20_000, headers_timeout_ms: 3_600_000, keep_alive_timeout_ms: 3_600_000 },
      }));
      const sockets = await openIdle(started.contender.program.port, size);
      return { ...started, ended: () => sockets.forEach((socket) => void socket.destroy()) };
    },
  },
  {
    name: 'redis_latency',
    title: 'Round trip to Redis',
    unit: 'ms',
    sizes: [0, 0.5, 1, 5],
    atMost: null,
    start: async (size, setting, redisCpus) => {
      if (size === 0) return sized({ name: 'redis', size, setting, redisCpus });
      let close = () => {};
      const redisPort = async (own: number) => {
        const delay = await startDelay(own, size);
        close = () => delay.close();
        return delay.port;
      };
      return { ...(await sized({ name: 'redis', size, setting, redisCpus, redisPort })), ended: () => close() };
    },
  },
];

interface SizedParts {
  readonly name: string;
  readonly size: number;
  readonly setting: Setting;
  readonly redisCpus: string | undefined;
  readonly callers?: readonly Caller[];
  readonly redisPort?: GatewayRun['redisPort'];
}

async function sized(parts: SizedParts, change?: GatewayRun['change']): Promise<Sized> {
  const { name, size, setting, redisCpus, redisPort, callers = [setting.caller] } = parts;
  const run = {
    processes: 1,
    redisCpus,
    name: `${name}-${size}`,
    change,
    ...(redisPort ? { redisPort } : {}),
  } as const;
  return { size, callers, contender: await startGateway(setting, run) };
}

function portOf({ authority }: Caller): number {
  return Number(authority.slice(authority.lastIndexOf(':') + 1));
}

/** Opens connections that never send anything, some at a time. */
async function openIdle(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const wave = Array.from(
      { length: Math.min(IDLE_WAVE, count - sockets.length) },
      () =>
        new Promise<Socket>((done, failed) => {
          const socket = connect(port, '127.0.0.1', () => done(socket));
          socket.once('error', failed);
        }),
    );
    sockets.push(...(await Promise.all(wave)));
  }
  return sockets;
}
