import { randomBytes } from 'node:crypto';
import { type RunningAdmin, startAdmin } from '../admin/admin.ts';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import { versionOf } from '../files/version.ts';
import type { Clock } from '../kernel/clock.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { type Answer, createPlainServer } from '../net/plain_server.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls, tlsFilesOf } from '../net/tls.ts';
import { watchTls } from '../net/tls_watch.ts';
import { WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { AuthServerCounts } from './authserver_metrics.ts';
import { ClientDirectory } from './client_directory.ts';
import { makeClients } from './clients.ts';
import { loadDetailTypes } from './detail_types.ts';
import { sendError } from './endpoints.ts';
import type { EvaluateIssuance } from './issuance_policy.ts';
import { KeyRing } from './key_ring.ts';
import { quietly } from './quiet_start.ts';
import { Registrars } from './registrars.ts';
import { SoftwareStatements } from './software_statement.ts';
import { databaseOf, openStore, type Store } from './store.ts';
import { viewOf } from './view.ts';

/** What an authorization server is started with. */
export interface AuthServerOptions {
  readonly config: AuthServerConfig;
  readonly log: Log;
  /** The policy that `issuance_policy` names, ready to be asked. */
  readonly issuancePolicy?: EvaluateIssuance | null;
  /** Version of the program, for the metrics. */
  readonly version?: string;
  /** For lifetimes that this project checks; oidc-provider itself reads the system's clock. */
  readonly clock?: Clock;
}

/** An authorization server that answers. */
export interface RunningAuthServer {
  /** Issuer identifier; the metadata is at its well-known path (RFC 8414 §3). */
  readonly issuer: string;
  /** Where it listens: scheme, address and port. */
  readonly address: string;
  /** Where the admin port is; null: there is none. */
  readonly adminOrigin: string | null;
  /** Finishes requests under way, for five seconds at most, and frees the port. */
  close(): Promise<void>;
}

const STOP_GRACE_MS = 5000;
/** Seconds; a secret that servers share has no end of its own. */
const FOREVER = 253_402_300_799;
const NONCE_SECRET_BYTES = 32; // What oidc-provider wants.

/**
 * Starts the authorization server: machine clients that authenticate with a key, tokens that are bound to a key, and nothing else.
 * @throws ConfigError or Error that says what to do, before anything listens
 */
export async function startAuthServer(options: AuthServerOptions): Promise<RunningAuthServer> {
  const { config, clock = Date.now } = options;
  if (config.issuance_policy !== undefined && (options.issuancePolicy ?? null) === null) {
    throw new Error('issuance_policy: the program that starts the server must bring the policy');
  }
  const opened: (() => void | Promise<void>)[] = [];
  try {
    return await start({ ...options, clock }, (close) => opened.push(close));
  } catch (error) {
    for (const close of opened.reverse()) await close();
    throw error;
  }
}

async function start(
  options: AuthServerOptions & { readonly clock: Clock },
  opened: (close: () => void | Promise<void>) => void,
): Promise<RunningAuthServer> {
  const { config, log, clock } = options;
  const parts = await openParts(options, opened);
  const { tls } = config.listen;
  // Before they are read, so that no change falls between.
  const version = tls === undefined ? '' : versionOf(...tlsFilesOf(tls));
  const tlsOptions = tls === undefined ? null : readServerTls(tls, clock);
  let answer: Answer = (_request, response) => sendError(response, 503, 'temporarily_unavailable');
  const server = createPlainServer((request, response) => answer(request, response), tlsOptions);
  const port = await listen(server, config.listen.address, config.listen.port);
  opened(async () => void (await stopServer(server, { graceMs: 0 })));
  const address = `${tls === undefined ? 'http' : 'https'}://${authorityOf(config.listen.address, port)}`;
  const issuer = config.issuer ?? address;
  // Loaded here and not before: who starts a gateway does not carry it.
  const { answerRequests } = await quietly(log, () => import('./answering.ts'));
  answer = await quietly(log, async () => answerRequests({ ...parts, issuer, options }));
  const tlsWatch = tls === undefined ? null : watchTls({ server, files: tls, version }, log);
  opened(() => tlsWatch?.close());
  let stopping = false;
  const admin = await openAdmin(options, { parts, issuer, address, stopping: () => stopping });
  const close = async () => {
    stopping = true;
    tlsWatch?.close();
    await stopServer(server, { graceMs: STOP_GRACE_MS });
    parts.keys.close();
    parts.workloads.close();
    parts.statements?.close();
    await admin?.close();
    await parts.store.close();
  };
  return { issuer, address, adminOrigin: admin?.origin ?? null, close };
}

interface Running {
  readonly parts: OpenParts;
  readonly issuer: string;
  readonly address: string;
  stopping(): boolean;
}

function openAdmin(
  { config, log, version = '' }: AuthServerOptions,
  { parts, issuer, address, stopping }: Running,
): Promise<RunningAdmin> | null {
  if (config.admin === undefined) return null;
  const { store, counts, workloads } = parts;
  return startAdmin(
    config.admin,
    viewOf({ version, issuer, listening: address, store, counts, workloads, stopping }),
    log,
  );
}

/** Everything that does not depend on where the server listens. */
export type OpenParts = Awaited<ReturnType<typeof openParts>>;

async function openParts(
  { config, log, clock }: AuthServerOptions & { readonly clock: Clock },
  opened: (close: () => void | Promise<void>) => void,
) {
  const counts = new AuthServerCounts();
  const types = loadDetailTypes(config.authorization_details_types);
  const configured = makeClients(config, types);
  const store = await openStore({
    config: config.storage,
    databaseFile: databaseOf(config),
    clock,
    onProblem: (problem) => log.warn({ problem }, 'the storage cannot be reached'),
    onLoss: () => {
      counts.storageLosses++;
      log.warn({}, 'the storage may have lost its last writes: what was issued before is refused until it has expired');
    },
  });
  opened(() => store.close());
  const keys = await KeyRing.start({
    file: config.signing_keys_file,
    store,
    rotation: config.signing_keys,
    clock,
    log,
  });
  opened(() => keys.close());
  const workloads = new WorkloadIssuers(config.workload_issuers, {
    clock,
    onKeys: (issuer, { state, problem }) =>
      problem === null
        ? log.info({ issuer, state }, 'keys of the workload issuer loaded')
        : log.warn({ issuer, state, problem }, 'keys of the workload issuer cannot be loaded'),
  });
  opened(() => workloads.close());
  const { registration } = config;
  const lifetime = { tokenLifetimeSeconds: config.token_lifetime_seconds };
  const registrars =
    registration === undefined ? null : new Registrars(registration, { types, issuers: workloads, ...lifetime, log });
  const clients = new ClientDirectory({
    configured,
    store,
    limit: (stored) => registrars?.limit(stored) ?? null,
    unusedSeconds: registration?.unused_seconds ?? FOREVER,
  });
  const issuers = registration?.software_statements?.issuers;
  const statements = issuers === undefined ? null : new SoftwareStatements(issuers, clock);
  opened(() => statements?.close());
  return {
    counts,
    types,
    store,
    keys,
    workloads,
    clients,
    registrars,
    statements,
    nonceSecret: await nonceSecret(store),
  };
}

/** One secret for all servers that share the store, so that each knows the nonces of the others, also after a restart. */
async function nonceSecret(store: Store): Promise<Buffer> {
  const value = randomBytes(NONCE_SECRET_BYTES).toString('base64url');
  const standing = await store.insert({ kind: 'secret', id: 'dpop_nonce', value, until: FOREVER });
  return Buffer.from(standing, 'base64url');
}
