import { availableParallelism } from 'node:os';
import type { GatewayConfig } from '../config/schema.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { startGateway } from './gateway.ts';
import { startPrimary } from './primary.ts';

/** What can be stopped and told to look at its files again: one gateway, or a primary process with its workers. */
export interface Running {
  /** What callers sign in htu. */
  readonly origin: string;
  /** Where it listens, such as `127.0.0.1:8080`: behind a load balancer, and with port 0, that is not in the origin. */
  readonly listening: string;
  readonly adminOrigin: string | null;
  /** Rebuilds the policy and opens record files anew (SIGHUP). */
  reload(): Promise<void>;
  /** Finishes what is under way within the grace time. @returns false when something had to be cut */
  close(): Promise<boolean>;
}

/**
 * Runs the gateway until SIGTERM or SIGINT: in this process, or in as many workers as the configuration says.
 * @returns the exit code: 0 when everything ended in order
 */
export async function runGateway(config: GatewayConfig): Promise<number> {
  const log = createLog({ level: config.log.level });
  warn(config, log);
  const count = config.processes === 'auto' ? availableParallelism() : config.processes;
  const running = count === 1 ? await startGateway(config, { log }) : await startPrimary(config, count, log);
  log.info(
    { origin: running.origin, listening: running.listening, admin: running.adminOrigin, processes: count },
    `ready: ${running.origin} (listens on ${running.listening}, admin ${running.adminOrigin})`,
  );
  return untilStopped(running, log);
}

/** Waits for a signal to stop; SIGHUP reloads. A second signal to stop ends at once. */
function untilStopped(running: Running, log: Log): Promise<number> {
  return new Promise((resolve) => {
    const reload = () => {
      running.reload().catch((error: unknown) => log.error({ err: error }, 'the reload failed'));
    };
    const stop = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', stop).off('SIGINT', stop);
      log.info({ signal }, 'stopping');
      running.close().then(
        (whole) => {
          process.off('SIGHUP', reload);
          log.info({ whole }, 'stopped');
          resolve(whole ? 0 : 1);
        },
        (error: unknown) => {
          log.error({ err: error }, 'stopping failed');
          resolve(1);
        },
      );
    };
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
  });
}

/** Settings that are possible, and that somebody should know of. */
function warn(config: GatewayConfig, log: Log): void {
  for (const route of config.routes) {
    if (route.bindings.includes('bearer')) {
      log.warn({ route: route.name }, 'the route takes bearer tokens: whoever holds one can use it');
    }
    if (route.operations === undefined) {
      log.warn({ route: route.name }, 'the route has no operation catalogue: every operation is unknown to the policy');
    }
  }
  if (config.replay.redis?.allow_eviction === true) {
    log.warn('replay.redis.allow_eviction: a Redis that evicts keys lets replays pass');
  }
}
