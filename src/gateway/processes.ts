import { availableParallelism } from 'node:os';
import type { GatewayConfig } from '../config/schema.ts';
import { isLoopback } from '../config/values.ts';
import { collectAll, tuneV8 } from '../memory/heap.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { startGateway } from './gateway.ts';
import { demandsNonces } from './nonces.ts';
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
 * Runs the gateway until it is told to stop: in this process, or in as many workers as the configuration says. SIGHUP reloads.
 * @param told resolves with the signal to stop; before the gateway runs, it stops as soon as it does
 * @returns the exit code: 0 when everything ended in order
 */
export async function runGateway(config: GatewayConfig, told: Promise<NodeJS.Signals>): Promise<number> {
  tuneV8();
  const log = createLog({ level: config.log.level });
  warn(config, log);
  let running: Running | null = null;
  const reload = () => {
    running?.reload().catch((error: unknown) => log.error({ err: error }, 'the reload failed'));
  };
  process.on('SIGHUP', reload);
  try {
    running = await start(config, log);
    log.info({ signal: await told }, 'stopping');
    const whole = await running.close();
    log.info({ whole }, 'stopped');
    return whole ? 0 : 1;
  } finally {
    process.off('SIGHUP', reload);
  }
}

async function start(config: GatewayConfig, log: Log): Promise<Running> {
  const count = config.processes === 'auto' ? availableParallelism() : config.processes;
  const running = count === 1 ? await startGateway(config, { log }) : await startPrimary(config, count, log);
  // What reading and compiling took is not needed again: 20 MB.
  collectAll();
  log.info(
    { origin: running.origin, listening: running.listening, admin: running.adminOrigin, processes: count },
    `ready: ${running.origin} (listens on ${running.listening}, admin ${running.adminOrigin})`,
  );
  return running;
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
  if (config.public_origin?.startsWith('http://') === true && !isLoopback(new URL(config.public_origin).hostname)) {
    log.warn(
      { origin: config.public_origin },
      'public_origin is plain http: callers send tokens in the clear (RFC 6750 §5.2)',
    );
  }
  for (const { name, replay } of config.routes) {
    if (replay === 'window_only') {
      log.warn({ route: name }, 'replay: window_only: whoever sees a request can repeat it until its proof is too old');
    }
  }
  if (demandsNonces(config) && config.dpop.nonce_secret_files === undefined && config.replay.store === 'redis') {
    log.warn('dpop.nonce_secret_files is not set: other gateways will ask for new nonces in place of those given here');
  }
  if (config.replay.redis?.allow_eviction === true) {
    log.warn('replay.redis.allow_eviction: a Redis that evicts keys lets replays pass');
  }
}
