import { mkdirSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { type RunningAdmin, startAdmin } from '../admin/admin.ts';
import type { BrokerConfig } from '../config/broker_schema.ts';
import type { FileWatch } from '../files/watch.ts';
import type { Clock } from '../kernel/clock.ts';
import { BearerTokenFile } from '../net/bearer_token_file.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { type Answer, createPlainServer } from '../net/plain_server.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls } from '../net/tls.ts';
import { watchTls } from '../net/tls_watch.ts';
import { WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { ClientStates } from './client_state.ts';
import { WorkflowClients } from './clients.ts';
import { Endings } from './endings.ts';
import { makeEndpoints } from './endpoints.ts';
import { JobEnd } from './job_end.ts';
import { Jobs } from './jobs.ts';
import { Records } from './records.ts';
import { AuthorizationServer } from './server.ts';
import { TokenEndpoint } from './token_endpoint.ts';
import { TokenIssuer } from './token_issuer.ts';
import { type BrokerParts, viewOf } from './view.ts';
import { Workflows } from './workflows.ts';

/** What a broker is started with. */
export interface BrokerOptions {
  readonly config: BrokerConfig;
  readonly log: Log;
  readonly clock?: Clock;
  /** Of the program, for the metrics. */
  readonly version?: string;
}

/** A broker that answers. */
export interface RunningBroker {
  /** What jobs use. */
  readonly origin: string;
  /** Where it listens. */
  readonly listening: string;
  readonly adminOrigin: string;
  /** Looks at its files again, and opens the record file anew (SIGHUP). */
  reload(): Promise<void>;
  /** Finishes what is under way within the grace time. @returns false when something had to be cut */
  close(): Promise<boolean>;
}

/** Milliseconds that a start waits for the authorization server and the first clients. */
const START_WAIT_MS = 3000;

/**
 * Starts the broker. What is wrong with its files ends it before anything listens; an authorization server that is down does not.
 * @throws ConfigError or Error that says what to do
 */
export async function startBroker(options: BrokerOptions): Promise<RunningBroker> {
  const { config, log, clock = Date.now, version = '0' } = options;
  if (config.ended_jobs === undefined) {
    log.warn('ended_jobs is not configured: tokens of jobs that have ended are good until they expire');
  }
  const { tls, address } = config.listen;
  const tlsFiles = tls === undefined ? undefined : ({ ...tls, client_certificates: 'none' } as const);
  const tlsOptions = tlsFiles === undefined ? null : readServerTls(tlsFiles);
  const { api_token_file: tokenFile } = config.admin;
  const engine =
    tokenFile === undefined
      ? null
      : new BearerTokenFile(tokenFile, (problem) =>
          log.error({ problem }, 'admin.api_token_file is unusable; no token is good now'),
        );
  const parts = await startParts(config, { log, clock, version });
  let answer: Answer = (_request, response) => response.writeHead(503).end();
  const server = createPlainServer(
    (request, response) => answer(request, response),
    tlsOptions,
    config.limits.connections,
  );
  let watch: FileWatch | null = null;
  let admin: RunningAdmin | null = null;
  let stopping: Promise<boolean> | null = null;
  const close = async () => {
    watch?.close();
    const whole = await stopServer(server, { graceMs: config.limits.stop_grace_ms, busy: () => parts.tokens.size > 0 });
    await closeParts(parts);
    await admin?.close();
    return whole;
  };
  try {
    const { origin, listening } = await open(server, config);
    answer = makeEndpoints({ origin, engine, log, ...parts });
    if (tlsFiles !== undefined) watch = watchTls({ server, files: tlsFiles, version: tlsOptions?.version ?? '' }, log);
    admin = await startAdmin(
      config.admin,
      viewOf(parts, { origin, listening, stopping: () => stopping !== null }),
      log,
    );
    log.debug({ address }, 'listening');
    return {
      origin,
      listening,
      adminOrigin: admin.origin,
      reload: async () => {
        parts.workflows.look();
        watch?.look();
        await parts.records.reopen();
      },
      close: () => {
        stopping ??= close();
        return stopping;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(server: Server, { listen: at, public_origin: given }: BrokerConfig) {
  const port = await listen(server, at.address, at.port);
  const listening = authorityOf(at.address, port);
  return { listening, origin: given ?? `${at.tls === undefined ? 'http' : 'https'}://${listening}` };
}

/** Starts everything that lives beside the requests. */
async function startParts(
  config: BrokerConfig,
  { log, clock, version }: { readonly log: Log; readonly clock: Clock; readonly version: string },
): Promise<BrokerParts> {
  const folder = stateFolder(config.state_folder);
  const jobs = new Jobs(join(folder, 'jobs.json'), config.jobs, clock);
  const states = new ClientStates(join(folder, 'clients.json'));
  await Promise.all([jobs.save(), states.save()]); // That they can be written is known now.
  const records = new Records(config.records_file ?? null, clock);
  await records.start();
  const endings = await Endings.start(config.ended_jobs, { clock, log, known: () => jobs.endedKeys() });
  let workflows: Workflows;
  try {
    workflows = new Workflows(config.workflows_file, log);
  } catch (error) {
    await endings.close();
    throw error;
  }
  const server = new AuthorizationServer(config.authorization_server, log);
  const issuers = new WorkloadIssuers(config.workload_issuers, { clock });
  const clients = new WorkflowClients({ config, workflows, server, states, clock, log });
  const issuer = new TokenIssuer({ config, server, clients, clock, log });
  const { requests_per_job: requestsPerJob } = config.limits;
  const tokens = new TokenEndpoint({
    issuers,
    workflows,
    server,
    issuer,
    jobs,
    endings,
    records,
    requestsPerJob,
    clock,
    log,
  });
  const ends = new JobEnd({ jobs, endings, workflows, issuer, records, clock, log });
  await ends.endOverdue();
  // The first jobs need not wait for what can be had; what is down is found later.
  const found = server.start().then(() => clients.reconcile());
  await Promise.race([
    Promise.all([found, issuers.settled()]),
    new Promise((resolve) => setTimeout(resolve, START_WAIT_MS).unref()),
  ]);
  return { version, server, workflows, clients, issuers, issuer, tokens, jobs, ends, endings, records };
}

async function closeParts({
  workflows,
  server,
  issuers,
  clients,
  issuer,
  ends,
  endings,
  records,
  jobs,
}: BrokerParts): Promise<void> {
  workflows.close();
  server.close();
  issuers.close();
  issuer.queue.close();
  ends.close();
  await clients.close();
  await endings.close();
  await jobs.save().catch(() => undefined);
  await records.close().catch(() => undefined);
}

/** @throws Error when others may look into it */
function stateFolder(folder: string): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if ((statSync(folder).mode & 0o077) !== 0)
    throw new Error(`state_folder: others may read ${folder}, which holds private keys; chmod 700 ${folder}`);
  return folder;
}
