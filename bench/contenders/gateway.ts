import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import { buildConfiguredPolicy } from '../../src/gateway/policy_build.ts';
import { NODE_FLAGS } from '../../src/memory/heap.ts';
import { allCores } from '../cores.ts';
import { freePort, type Place } from '../place.ts';
import { ISSUER, RESOURCE } from '../requests.ts';
import type { Contender, Setting } from './contender.ts';
import { startRedisFor } from './redis.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'src/main.ts');
const LAYERS = fileURLToPath(new URL('../programs/layers.ts', import.meta.url));
/** What the npm scripts set, beside NODE_FLAGS. */
const ENVIRONMENT = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/sallyport'), MALLOC_ARENA_MAX: '1' };
/** Proofs are made before they are sent, so they may be this old. */
const PROOF_AGE_SECONDS = 1800;
const ALL = { token: true, proof: true, replay: true };

/** How the whole gateway is run. */
export interface GatewayRun {
  readonly processes: 1 | 2;
  readonly redisCpus: string | undefined;
  /** Tells runs of the same number of processes apart. */
  readonly name?: string;
  /** What is configured otherwise; files that it needs go to the folder. */
  readonly change?: ((config: BenchConfig, folder: string) => object) | undefined;
  /** Where Redis is, if not in a server of this gateway's own: behind a proxy that takes its time. */
  readonly redisPort?: (own: number) => Promise<number>;
  /** For Node.js, such as those for the inspector; absent: none but those that the gateway ships with. */
  readonly nodeFlags?: readonly string[];
}

/** The whole gateway as it ships: DPoP, Redis, starter policy, record in a file, metrics. */
export async function startGateway(setting: Setting, run: GatewayRun): Promise<Contender> {
  const { processes, redisCpus, nodeFlags = [] } = run;
  const name = run.name ?? `gateway-${processes}`;
  const { place } = setting;
  const redis = await startRedisFor(name, place, redisCpus);
  const port = await freePort();
  const redisPort = (await run.redisPort?.(redis.port)) ?? redis.port;
  const file = writeConfig(name, setting, { port, processes, redisPort, change: run.change });
  const args = [...nodeFlags, ...NODE_FLAGS, MAIN, 'gateway', '--config', file];
  const cpus = processes === 1 ? setting.cpus : allCores();
  const program = await place.start({ name, command: process.execPath, args, port, cpus, env: ENVIRONMENT });
  return { name: `gateway, ${processes} process${processes === 1 ? '' : 'es'}`, program, redis, checks: ALL };
}

/** How much of the gateway is there; each layer stands on those before it. */
export type Layer = 'token' | 'dpop' | 'memory' | 'redis' | 'policy' | 'record';

const TITLES: Readonly<Record<Layer, string>> = {
  token: 'gateway: token only',
  dpop: '… + DPoP proof',
  memory: '… + replay in memory',
  redis: '… + replay in Redis',
  policy: '… + starter policy',
  record: '… + record',
};

/** Compiles the starter policy for the layers. @returns the file that holds it */
export async function compileStarterPolicy(place: Place): Promise<string> {
  const path = join(ROOT, 'policies');
  const artifact = await buildConfiguredPolicy({ path, entrypoint: 'sallyport/decision', data: [] });
  const file = join(place.folder, 'policy.bin');
  writeFileSync(file, serialize(artifact));
  return file;
}

/** The gateway with its checks up to one layer. */
export async function startLayer(
  layer: Layer,
  setting: Setting,
  extra: { policyFile: string; redisCpus: string | undefined },
): Promise<Contender> {
  const { place, cpus } = setting;
  const redis = ['token', 'dpop', 'memory'].includes(layer) ? null : await startRedisFor(layer, place, extra.redisCpus);
  const port = await freePort();
  const file = writeConfig(layer, setting, { port, processes: 1, redisPort: redis?.port ?? null });
  const last = layer === 'memory' || layer === 'redis' ? 'replay' : layer;
  const args = [LAYERS, file, extra.policyFile, String(port), last];
  const program = await place.start({ name: layer, command: process.execPath, args, port, cpus });
  const checks = { token: true, proof: layer !== 'token', replay: layer !== 'token' && layer !== 'dpop' };
  return { name: TITLES[layer], program, redis, checks };
}

/** The configuration of a measured gateway, as it stands in its file. */
export type BenchConfig = ReturnType<typeof makeConfig>;

interface ConfigParts {
  readonly port: number;
  readonly processes: number;
  readonly redisPort: number | null;
  readonly change?: GatewayRun['change'];
}

function writeConfig(name: string, setting: Setting, parts: ConfigParts): string {
  const { folder } = setting.place;
  const config = makeConfig(name, setting, parts);
  const file = join(folder, `${fileName(name)}.yaml`);
  writeFileSync(file, JSON.stringify(parts.change?.(config, folder) ?? config));
  return file;
}

function fileName(name: string): string {
  return name.replace(/[^a-z0-9]+/gi, '_');
}

function makeConfig(
  name: string,
  { place, caller, upstreamPort }: Setting,
  { port, processes, redisPort }: ConfigParts,
) {
  const jwks = join(place.folder, `${fileName(name)}.jwks.json`);
  writeFileSync(jwks, JSON.stringify({ keys: [caller.issuerJwk] }));
  const replay =
    redisPort === null
      ? { store: 'memory', memory_limit: 5_000_000 }
      : // A machine that stops this process for a moment is no outage of Redis, and would end the run with a 503.
        { store: 'redis', redis: { url: `redis://127.0.0.1:${redisPort}`, command_timeout_ms: 5000 } };
  return {
    version: 1,
    listen: { port },
    admin: { port: 0 },
    public_origin: `http://${caller.authority}`,
    issuers: [{ issuer: ISSUER, jwks_file: jwks }],
    dpop: { max_age_seconds: PROOF_AGE_SECONDS },
    replay,
    policy: { path: join(ROOT, 'policies'), watch: false },
    routes: [
      {
        name: 'projects',
        path_prefix: '/v1',
        upstream: { url: `http://127.0.0.1:${upstreamPort}` },
        resource: RESOURCE,
        operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
      },
    ],
    audit: { sinks: [{ type: 'file', path: join(place.folder, `${fileName(name)}.records.jsonl`) }] },
    processes,
    log: { level: 'error' },
  };
}
