import type { Server } from 'node:http';
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
import type { Log } from '../telemetry/log.ts';
import { makeEndpoints } from './endpoints.ts';
import { startParts } from './parts.ts';
import { viewOf } from './view.ts';

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
    await parts.close();
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
