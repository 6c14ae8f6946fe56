import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RunningAuthServer, startAuthServer } from '../authserver/authserver.ts';
import { parseGatewayConfig } from '../config/load.ts';
import { parseAuthServerConfig } from '../config/load_authserver.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { startGateway } from '../gateway/gateway.ts';
import { listen } from '../net/listen.ts';
import { generatePrivateJwk, importSigningKey } from '../oauth/signing_key.ts';
import type { Log } from '../telemetry/log.ts';
import { type RunningDemoCloud, startDemoCloud } from './cloud.ts';
import { RecordReader } from './records.ts';
import { prepareFolder, type Session, saveAgentConfig, saveSession, writeSecret } from './session.ts';

/** Everything the demo starts, and the session of its one job. */
export interface Scene {
  /** Names the gateway and the issuer, too. */
  readonly session: Session;
  readonly admin: string | null;
  /** Origin of the cloud. */
  readonly cloud: string;
  readonly records: RecordReader;
  readonly recordsFile: string;
  /** Configuration for `sallyport agent`. */
  readonly agentFile: string;
  readonly policies: string;
  close(): Promise<void>;
}

/** Ports that are taken when they are free; otherwise any free one. */
export interface DemoPorts {
  readonly gateway: number;
  readonly admin: number;
  readonly cloud: number;
  readonly authserver: number;
}

/** How the scene is set. */
export interface SceneOptions {
  readonly directory: string;
  readonly ports: DemoPorts;
  /** Folder of Rego; absent: the one that the project brings. */
  readonly policies?: string;
  readonly log: Log;
  readonly gatewayLog: Log;
}

const ROOT = new URL('../../', import.meta.url);
const ADDRESS = '127.0.0.1';
const CLIENT_ID = 'acme-infra-deploy';

/** What the workflow may have at most. The job asks for less. */
const CEILING = {
  scopes: ['projects:read', 'builds:read', 'builds:write', 'deployments:read', 'deployments:write'],
  authorization_details: [
    {
      type: 'cloud_api',
      actions: ['projects.get', 'builds.list', 'builds.get', 'builds.create', 'deployments.get', 'deployments.create'],
      identifier: 'projects/p1',
    },
  ],
};
const REQUEST = {
  scopes: ['projects:read', 'builds:read', 'builds:write'],
  authorizationDetails: [
    {
      type: 'cloud_api',
      actions: ['projects.get', 'builds.list', 'builds.get', 'builds.create'],
      identifier: 'projects/p1',
    },
  ],
};
/** The workflow's own claims, which the authorization server puts into every token; and those that the engine states for each job. */
const WORKFLOW = { provider: 'github', repository: 'acme/infra', repository_id: '456789', workflow: 'deploy.yml' };
const JOB = { ref: 'refs/heads/main', ref_protected: true, environment: 'production', event: 'push', run_id: '1001' };

/** Starts authorization server, cloud and gateway on loopback, and makes the keys of one workflow and one job. */
export async function setScene(options: SceneOptions): Promise<Scene> {
  const running: { close(): Promise<unknown> }[] = [];
  const close = async () => {
    for (const one of running.splice(0).reverse()) await one.close();
  };
  try {
    return { ...(await startAll(options, (one) => running.push(one))), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startAll(
  options: SceneOptions,
  started: (one: { close(): Promise<unknown> }) => void,
): Promise<Omit<Scene, 'close'>> {
  const { directory, log, gatewayLog, policies = fileURLToPath(new URL('policies', ROOT)) } = options;
  await prepareFolder(directory);
  const ports = await freePorts(options.ports);
  const resource = `http://${ADDRESS}:${ports.gateway}/v1`;
  const keys = { clientKey: await generatePrivateJwk(), jobKey: await generatePrivateJwk() };
  const authserver = await startAuthorization(directory, { keys, resource, port: ports.authserver, log });
  started(authserver);
  const { cloud, credentialFile } = await startCloud(directory, ports.cloud);
  started(cloud);
  const recordsFile = join(directory, 'records.jsonl');
  const recorded = (await stat(recordsFile).catch(() => null))?.size ?? 0;
  const around = { issuer: authserver.issuer, cloud: cloud.origin, credentialFile, recordsFile, policies };
  const config = gatewayConfig(ports, around);
  const gateway = await startGateway(config, { log: gatewayLog });
  started(gateway);
  const where = { gateway: gateway.origin, issuer: authserver.issuer, clientId: CLIENT_ID, resource };
  const session: Session = { ...where, ...REQUEST, job: JOB, ...keys };
  await saveSession(directory, session);
  await saveAgentConfig(directory, session);
  return {
    session,
    admin: gateway.adminOrigin,
    cloud: cloud.origin,
    records: new RecordReader(recordsFile, recorded),
    recordsFile,
    agentFile: join(directory, 'agent.yaml'),
    policies: resolve(policies),
  };
}

interface Authorization {
  readonly keys: Pick<Session, 'clientKey'>;
  readonly resource: string;
  readonly port: number;
  readonly log: Log;
}

async function startAuthorization(
  directory: string,
  { keys, resource, port, log }: Authorization,
): Promise<RunningAuthServer> {
  const { publicJwk } = await importSigningKey(keys.clientKey);
  const client = {
    client_id: CLIENT_ID,
    jwks: { keys: [publicJwk] },
    resources: [resource],
    ...CEILING,
    job: { claims: WORKFLOW, from_assertion: Object.keys(JOB) },
  };
  const config = { version: 1, listen: { port }, signing_keys_file: 'authserver_keys.json', clients: [client] };
  return startAuthServer({ config: parseAuthServerConfig(config, directory), log });
}

/** The cloud takes calls from the gateway only: it asks for a credential that no job ever sees. */
async function startCloud(
  directory: string,
  port: number,
): Promise<{ cloud: RunningDemoCloud; credentialFile: string }> {
  const credential = `Bearer ${randomBytes(24).toString('base64url')}`;
  const credentialFile = await writeSecret(directory, 'cloud_credential', credential);
  return { cloud: await startDemoCloud({ port, credential }), credentialFile };
}

interface Surroundings {
  readonly issuer: string;
  readonly cloud: string;
  readonly credentialFile: string;
  readonly recordsFile: string;
  readonly policies: string;
}

function gatewayConfig(ports: DemoPorts, around: Surroundings): GatewayConfig {
  const origin = `http://${ADDRESS}:${ports.gateway}`;
  return parseGatewayConfig({
    version: 1,
    listen: { address: ADDRESS, port: ports.gateway },
    admin: { address: ADDRESS, port: ports.admin },
    public_origin: origin,
    issuers: [{ issuer: around.issuer }],
    policy: { path: around.policies },
    routes: [
      {
        name: 'projects',
        path_prefix: '/v1',
        upstream: { url: around.cloud, credential: { value_file: around.credentialFile } },
        resource: `${origin}/v1`,
        bindings: ['dpop'],
        operations: fileURLToPath(new URL('catalogs/demo_cloud.yaml', ROOT)),
      },
    ],
    audit: { sinks: [{ type: 'file', path: around.recordsFile }] },
    limits: { stop_grace_ms: 2000 },
  });
}

/** The ports that were asked for where nobody has them, else any free ones; all of them different. */
async function freePorts(preferred: DemoPorts): Promise<DemoPorts> {
  const probes: Server[] = [];
  const free = async (port: number) => {
    const probe = createServer();
    probes.push(probe);
    return listen(probe, ADDRESS, port).catch(() => listen(probe, ADDRESS, 0));
  };
  const ports = {
    gateway: await free(preferred.gateway),
    admin: await free(preferred.admin),
    cloud: await free(preferred.cloud),
    authserver: await free(preferred.authserver),
  };
  for (const probe of probes) await new Promise((resolve) => probe.close(resolve));
  return ports;
}
