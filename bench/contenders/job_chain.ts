import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../../src/memory/heap.ts';
import { generatePrivateJwk, publicPartOf } from '../../src/oauth/signing_key.ts';
import { freePort, type Place } from '../place.ts';
import { RESOURCE } from '../requests.ts';

/** A job's tools, its agent and the gateway, as they are run: each a process of its own. */
export interface JobChain {
  /** Local base URL of the API. */
  readonly url: string;
  readonly agentPid: number;
  readonly gatewayPid: number;
}

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'src/main.ts');
const UPSTREAM = fileURLToPath(new URL('../programs/counted_upstream.ts', import.meta.url));
const SCOPES = ['projects:read', 'builds:write'];
const DETAILS = [{ type: 'cloud_api', actions: ['projects.get', 'builds.create'], identifier: 'projects/p1' }];
const COMMAND_STARTED_MS = 20_000;

/** Starts authorization server, upstream, gateway and agent; the place ends them. Bodies of so many bytes may pass, for so long. */
export async function startJobChain(place: Place, bounds: { bytes: number; limitMs: number }): Promise<JobChain> {
  const write = (name: string, value: unknown) => {
    const file = join(place.folder, name);
    writeFileSync(file, JSON.stringify(value), { mode: 0o600 });
    return file;
  };
  const start = (name: string, args: readonly string[], port: number) =>
    place.start({ name, command: process.execPath, args: [...NODE_FLAGS, ...args], port });
  const ports: Ports = {
    issuer: await freePort(),
    upstream: await freePort(),
    gateway: await freePort(),
    agent: await freePort(),
  };
  const clientJwk = await generatePrivateJwk();
  const keyFile = write('client.jwk.json', clientJwk);
  const authserver = write('authserver.yaml', authserverConfig(ports, publicPartOf(clientJwk)));
  await start('authserver', [MAIN, 'authserver', '--config', authserver], ports.issuer);
  await start('upstream', [UPSTREAM, String(ports.upstream), String(bounds.bytes)], ports.upstream);
  const config = write('gateway.yaml', { ...gatewayConfig(ports, place.folder), limits: limitsOf(bounds) });
  const gateway = await start('gateway', [MAIN, 'gateway', '--config', config], ports.gateway);
  const told = join(place.folder, 'url');
  // The command of the job tells where the agent is, and then waits for the end.
  const script = `echo "$SALLYPORT_CLOUD_URL" > '${told}.new' && mv '${told}.new' '${told}'; exec sleep 3600`;
  const file = write('agent.yaml', agentConfig(ports, keyFile));
  const agent = await start('agent', [MAIN, 'agent', 'exec', '--config', file, '--', 'sh', '-c', script], ports.agent);
  for (const until = performance.now() + COMMAND_STARTED_MS; !existsSync(told); await sleep(20)) {
    if (performance.now() > until) throw new Error('the command of the job did not start');
  }
  return { url: readFileSync(told, 'utf8').trim(), agentPid: agent.pid, gatewayPid: gateway.pid };
}

type Ports = Readonly<Record<'issuer' | 'upstream' | 'gateway' | 'agent', number>>;

const origin = (port: number) => `http://127.0.0.1:${port}`;

function limitsOf({ bytes, limitMs }: { bytes: number; limitMs: number }) {
  return { body_bytes: bytes, request_timeout_ms: limitMs };
}

function authserverConfig({ issuer }: Ports, jwk: object) {
  const ceiling = { resources: [RESOURCE], scopes: SCOPES, authorization_details: DETAILS };
  const clients = [{ client_id: 'ci', jwks: { keys: [jwk] }, ...ceiling }];
  return { version: 1, listen: { port: issuer }, signing_keys_file: 'keys.json', clients };
}

function gatewayConfig({ issuer, upstream, gateway }: Ports, folder: string) {
  const route = {
    name: 'projects',
    path_prefix: '/v1',
    upstream: { url: origin(upstream) },
    resource: RESOURCE,
    operations: join(ROOT, 'catalogs/demo_cloud.yaml'),
  };
  return {
    version: 1,
    listen: { port: gateway },
    admin: { port: 0 },
    issuers: [{ issuer: origin(issuer) }],
    policy: { path: join(ROOT, 'policies'), watch: false },
    routes: [route],
    audit: { sinks: [{ type: 'file', path: join(folder, 'records.jsonl') }] },
  };
}

function agentConfig({ issuer, gateway, agent }: Ports, keyFile: string) {
  const asked = { resource: RESOURCE, scopes: SCOPES, authorization_details: DETAILS };
  return {
    version: 1,
    authorization_server: { issuer: origin(issuer), client_id: 'ci', private_key_file: keyFile },
    apis: [{ name: 'cloud', url: `${origin(gateway)}/v1`, ...asked, port: agent }],
  };
}
