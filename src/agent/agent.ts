import type { Server } from 'node:http';
import { join } from 'node:path';
import type { AgentApiConfig, AgentConfig } from '../config/agent_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { listen } from '../net/listen.ts';
import { openConnections } from '../net/open_connections.ts';
import { generateSigningKey, type SigningKey } from '../oauth/signing_key.ts';
import { Access } from './access.ts';
import { type Api, makeApi } from './api.ts';
import { AuthorizationServerSource } from './authorization_server_source.ts';
import { BrokerSource } from './broker_source.ts';
import { addedBundle, fullBundle } from './ca_bundle.ts';
import { type ApiPlace, type Exported, exportedVariables, type ProxyPlace } from './environment.ts';
import type { CallContext } from './exchange.ts';
import { GatewayLink } from './gateway_link.ts';
import { HeldToken } from './held_token.ts';
import type { Variables } from './identity.ts';
import { JobFolder, type MachineUser } from './job_folder.ts';
import { kubeconfigFor } from './kubeconfig.ts';
import { type Admission, EVERYBODY } from './local_server.ts';
import type { Notices } from './notices.ts';
import { findPeerUsers } from './peer_user.ts';
import { createReverseServer, localBase } from './reverse.ts';
import { askedFor, type TokenSource } from './token_source.ts';

/** How an agent is started. */
export interface AgentOptions {
  readonly config: AgentConfig;
  /** The environment that the agent was started in. */
  readonly variables: Variables;
  readonly notices: Notices;
  readonly clock: Clock;
  /** Who the command runs as; null: the user of the agent. */
  readonly user: MachineUser | null;
}

/** An agent that serves the tools of one job. */
export interface RunningAgent {
  /** What the command gets. */
  readonly exported: Exported;
  /** The job's folder. */
  readonly folder: string;
  /** Where the agent is told to end. */
  readonly control: string;
  /** Thumbprint of the job's key. */
  readonly thumbprint: string;
  /** Settles when the job has ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** Ends the job: its tokens are taken back, nothing is served any more, the key is gone. Never rejects; once is enough. */
  end(): Promise<void>;
}

/**
 * Makes the job's key, gets its tokens, and opens the doors for its tools.
 * @throws TokenUnavailable when the job gets no token; Error when a port or a file cannot be had. Then nothing is left open.
 */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const { config, notices, variables } = options;
  const key = await generateSigningKey(config.key);
  const source = sourceOf(options, key);
  const apis = makeApis(options, source);
  const folder = new JobFolder(variables, options.user);
  const doors: Doors = { servers: [], closers: [] };
  const issued = () =>
    [...new Set(apis.map(({ token }) => token))].flatMap(({ latest }) => (latest === null ? [] : [latest]));
  const over = Promise.withResolvers<void>();
  let ending: Promise<void> | null = null;
  const endOnce = async () => {
    clearTimeout(lifetime);
    const problem = await source.end(issued()).catch((error: Error) => error.message);
    if (problem !== null) notices.say(`the job could not be ended cleanly: ${problem}`);
    close(doors);
    for (const { gateway } of apis) gateway.close();
    folder.remove();
    over.resolve();
  };
  const end = () => {
    ending ??= endOnce();
    return ending;
  };
  const lifetime = setTimeout(() => {
    notices.say(`the job has lasted ${config.lifetime_seconds} seconds (lifetime_seconds) and is ended`);
    void end();
  }, config.lifetime_seconds * 1000);
  lifetime.unref();
  try {
    // Before the command runs: a job without a token should say so at once.
    for (const token of new Set(apis.map((api) => api.token))) await token.current();
    const access = new Access();
    const context: CallContext = { key, notices };
    const admission = await admissionOf(options.user);
    const places = await openDoors({ options, apis, access, context, admission, folder, doors });
    return {
      exported: exportedVariables(config, places, variables),
      folder: folder.path,
      control: places.control,
      thumbprint: key.thumbprint,
      ended: over.promise,
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** What is open. */
interface Doors {
  readonly servers: Server[];
  readonly closers: (() => void)[];
}

interface Opening {
  readonly options: AgentOptions;
  readonly apis: readonly Api[];
  readonly access: Access;
  readonly context: CallContext;
  readonly admission: Admission;
  readonly folder: JobFolder;
  readonly doors: Doors;
}

function sourceOf({ config, variables, clock }: AgentOptions, key: SigningKey): TokenSource {
  const { broker, authorization_server: server, token_timeout_ms: timeoutMs, allow_plaintext: allowPlaintext } = config;
  const common = { key, timeoutMs, allowPlaintext, clock };
  if (broker !== undefined) return new BrokerSource({ ...common, config: broker, variables });
  if (server !== undefined) return new AuthorizationServerSource({ ...common, config: server });
  throw new TypeError('a valid configuration has one of both');
}

/** APIs behind one gateway share the way to it; those that ask for the same share a token. */
function makeApis({ config, clock, notices }: AgentOptions, source: TokenSource): Api[] {
  const links = new Map<string, GatewayLink>();
  const tokens = new Map<string, HeldToken>();
  return config.apis.map((api) => {
    const origin = new URL(api.gateway ?? api.url).origin;
    const link = links.get(origin) ?? makeLink(origin, { config, clock, notices });
    links.set(origin, link);
    const asked = askedFor(api);
    const name = JSON.stringify(asked);
    const token = tokens.get(name) ?? new HeldToken({ request: () => source.request(asked), clock });
    tokens.set(name, token);
    return makeApi(api, link, token);
  });
}

function makeLink(
  origin: string,
  { config, clock, notices }: Pick<AgentOptions, 'config' | 'clock' | 'notices'>,
): GatewayLink {
  const onSkew = (seconds: number) =>
    notices.say(
      `the clocks of this machine and of ${origin} are ${Math.abs(seconds)} seconds apart: set this one right`,
    );
  const { connect_timeout_ms: connectTimeoutMs, idle_timeout_ms: idleTimeoutMs } = config;
  return new GatewayLink({ origin, connectTimeoutMs, idleTimeoutMs, clock, onSkew });
}

async function admissionOf(user: MachineUser | null): Promise<Admission> {
  const peers = await findPeerUsers();
  const own = process.getuid?.();
  if (peers === null || own === undefined) return EVERYBODY;
  return { peers, users: new Set(user === null ? [own] : [own, user.uid]) };
}

async function openDoors(opening: Opening) {
  const { options, apis, access, folder } = opening;
  const places: ApiPlace[] = [];
  for (const api of apis) places.push(await openDoor(opening, api));
  const proxy = options.config.proxy === undefined ? null : await openProxy(opening);
  const clusters = places.filter((_place, index) => apis[index]?.config.kubeconfig === true);
  const kubeconfig =
    clusters.length === 0 ? null : folder.write('kubeconfig', kubeconfigFor(clusters, access.placeholder));
  const { secret, placeholder } = access;
  return { apis: places, proxy, kubeconfig, secret, placeholder, control: join(folder.path, 'agent.sock') };
}

async function openDoor({ access, context, admission, folder, doors }: Opening, api: Api): Promise<ApiPlace> {
  const { name, listen: kind, variables, port } = api.config satisfies AgentApiConfig;
  if (kind === 'none') return { name, variables, url: null, socket: null };
  if (kind === 'socket') {
    const server = createReverseServer({ api, context, access: null, admission: EVERYBODY });
    doors.servers.push(server);
    const socket = join(folder.path, `${name}.sock`);
    await listenOnSocket(server, socket);
    folder.hand(socket);
    return { name, variables, url: null, socket };
  }
  const server = createReverseServer({ api, context, access, admission });
  doors.servers.push(server);
  openConnections(server);
  return { name, variables, url: localBase(await listen(server, '127.0.0.1', port), access), socket: null };
}

async function openProxy({ options, apis, access, context, admission, folder, doors }: Opening): Promise<ProxyPlace> {
  const { config, clock, variables } = options;
  const { port, others } = config.proxy as NonNullable<AgentConfig['proxy']>;
  const hosts = [...new Set(apis.map(({ origin }) => new URL(origin).hostname.replace(/^\[|\]$/g, '')))];
  const { makeEphemeralCa } = await import('./ephemeral_ca.ts');
  const { ForwardProxy } = await import('./proxy.ts');
  const ca = await makeEphemeralCa(hosts, { clock, lifetimeMs: config.lifetime_seconds * 1000 });
  const timeouts = { connect: config.connect_timeout_ms, idle: config.idle_timeout_ms };
  const proxy = new ForwardProxy({ apis, context, access, admission, ca, others, timeouts });
  doors.servers.push(proxy.server);
  doors.closers.push(() => proxy.close());
  return {
    port: await listen(proxy.server, '127.0.0.1', port),
    bundle: folder.write('ca_bundle.pem', fullBundle(variables, ca.pem)),
    added: folder.write('ca.pem', addedBundle(variables, ca.pem)),
    hosts,
    plain: apis.some(({ origin }) => origin.startsWith('http:')),
  };
}

function listenOnSocket(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve());
  });
}

function close({ servers, closers }: Doors): void {
  for (const closer of closers) closer();
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
    for (const socket of openConnections(server).sockets) socket.destroy();
  }
}
