import type { BrokerConfig } from '../config/broker_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { WorkloadIssuers } from '../oauth/workload_identity.ts';
import type { Log } from '../telemetry/log.ts';
import { ClientStates } from './client_state.ts';
import { WorkflowClients } from './clients.ts';
import { Endings } from './endings.ts';
import { JobEnd } from './job_end.ts';
import { Jobs } from './jobs.ts';
import { Records } from './records.ts';
import { AuthorizationServer } from './server.ts';
import { openStateFolder } from './state_folder.ts';
import { TokenEndpoint } from './token_endpoint.ts';
import { TokenIssuer } from './token_issuer.ts';
import { Workflows } from './workflows.ts';

/** Everything of a broker that lives beside its requests. */
export interface BrokerParts {
  readonly version: string;
  readonly server: AuthorizationServer;
  readonly workflows: Workflows;
  readonly clients: WorkflowClients;
  readonly issuers: WorkloadIssuers;
  readonly issuer: TokenIssuer;
  readonly tokens: TokenEndpoint;
  readonly jobs: Jobs;
  readonly ends: JobEnd;
  readonly endings: Endings;
  readonly records: Records;
  /** Keeps what is to be kept and lets go of everything. */
  close(): Promise<void>;
}

/** What the parts are started with. */
export interface PartsOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Of the program, for the metrics. */
  readonly version: string;
}

/** Milliseconds that a start waits for the authorization server and the first clients. */
const START_WAIT_MS = 3000;

/** Starts the parts; what was started is ended again when one cannot be. @throws Error that says what to do */
export async function startParts(config: BrokerConfig, options: PartsOptions): Promise<BrokerParts> {
  const ends: (() => unknown)[] = [];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    return { ...(await start(config, options, ends)), version: options.version, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** `closing`: what ends each part, in the order in which they were started. */
async function start(
  config: BrokerConfig,
  { log, clock }: PartsOptions,
  closing: (() => unknown)[],
): Promise<Omit<BrokerParts, 'version' | 'close'>> {
  const folder = openStateFolder(config.state_folder);
  closing.push(() => folder.release());
  const jobs = new Jobs(folder.jobs, config.jobs, clock);
  const states = new ClientStates(folder.clients);
  await Promise.all([jobs.save(), states.save()]); // That they can be written is known now.
  closing.push(() => jobs.save().catch(() => undefined));
  const records = new Records(config.records_file ?? null, clock);
  await records.start();
  closing.push(() => records.close().catch(() => undefined));
  const workflows = new Workflows(config, log);
  closing.push(() => workflows.close());
  const endings = await Endings.start(config.ended_jobs, { clock, log, known: () => jobs.endedKeys() });
  closing.push(() => endings.close());
  const server = new AuthorizationServer(config.authorization_server, log);
  const issuers = new WorkloadIssuers(config.workload_issuers, { clock });
  const clients = new WorkflowClients({ config, workflows, server, states, clock, log });
  const issuer = new TokenIssuer({ config, server, clients, clock, log });
  const { requests_per_job: requestsPerJob } = config.limits;
  const shared = { workflows, issuer, jobs, endings, records, clock, log };
  const tokens = new TokenEndpoint({ ...shared, issuers, server, requestsPerJob });
  closing.push(() => clients.close());
  closing.push(() => tokens.settled());
  closing.push(() => [issuer, issuers, server].forEach((part) => void part.close()));
  const ends = new JobEnd(shared);
  closing.push(() => ends.close());
  await ends.endOverdue();
  // The first jobs need not wait for what can be had; what is down is found later.
  const found = server.start().then(() => clients.reconcile());
  await Promise.race([
    Promise.all([found, issuers.settled()]),
    new Promise((resolve) => setTimeout(resolve, START_WAIT_MS).unref()),
  ]);
  return { server, workflows, clients, issuers, issuer, tokens, jobs, ends, endings, records };
}
