import { readFileSync } from 'node:fs';
import { type AdminView, startAdmin } from '../admin/admin.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { Clock } from '../kernel/clock.ts';
import { createHttpServer } from '../net/http_server.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls } from '../net/tls.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics, type MetricsSnapshot } from '../telemetry/metrics.ts';
import { startCompiledPolicy } from './compiled_policy.ts';
import { originOf } from './describe.ts';
import { createHandlers, type Stages } from './handler.ts';
import { PolicyHolder } from './policy_holder.ts';
import type { Running } from './processes.ts';
import { type Readiness, readinessOf } from './readiness.ts';
import { metricSourcesOf } from './sources.ts';
import { closeServices, startServices, wireStages } from './stages.ts';
import { watchTls } from './tls_watch.ts';

/** How a gateway is started, beside its configuration. */
export interface GatewayOptions {
  readonly log: Log;
  /** Absent: the system's. */
  readonly clock?: Clock;
  /** A policy that is compiled already; absent: it is compiled here, and again whenever it changes. */
  readonly artifact?: PolicyArtifact;
  /** Whether this process serves the admin port. Absent: yes. */
  readonly admin?: boolean;
}

/** A gateway that answers. */
export interface RunningGateway extends Running {
  /** Puts a compiled policy in place of the live one, if it can be used. @returns whether it is live now */
  replacePolicy(artifact: PolicyArtifact): Promise<boolean>;
  reopenRecords(): void;
  readiness(): Readiness;
  metricsSnapshot(): Promise<MetricsSnapshot>;
}

/**
 * Starts the gateway in this process. Everything that a request needs is built and tried before the port is opened.
 * @throws Error that says what cannot work and what to do
 */
export async function startGateway(config: GatewayConfig, options: GatewayOptions): Promise<RunningGateway> {
  const { log, clock = Date.now } = options;
  const tls = config.listen.tls === undefined ? null : readServerTls(config.listen.tls);
  const compiled = options.artifact === undefined ? await startCompiledPolicy(config.policy, { clock, log }) : null;
  const policy = compiled?.holder ?? (await PolicyHolder.start(options.artifact as PolicyArtifact, { clock, log }));
  const parts = { config, clock, log, policy };
  const services = await startServices(parts);
  let stages: Stages | undefined;
  const server = createHttpServer(
    createHandlers(() => stages as Stages),
    config.limits,
    tls,
  );
  const metrics = createMetrics({ version: packageVersion(), sources: metricSourcesOf(services, policy, server) });
  try {
    const port = await listen(server, config.listen.address, config.listen.port);
    const origin = originOf(config, port);
    const listening = authorityOf(config.listen.address, port);
    // The port is open and no connection was taken yet: that happens in a later turn of the event loop.
    stages = wireStages(parts, services, { origin, observe: (evidence) => metrics.observe(evidence, clock()) });
    const readiness = () => readinessOf(services, policy);
    const view: AdminView = {
      live: () => true,
      ready: () => ({ ...readiness(), origin, listening }),
      metrics: () => metrics.render(),
    };
    const admin = options.admin === false ? null : await startAdmin(config.admin, view);
    const { tls: tlsFiles } = config.listen;
    const tlsWatch = tlsFiles === undefined ? null : watchTls(server, tlsFiles, log);
    return {
      origin,
      listening,
      adminOrigin: admin?.origin ?? null,
      replacePolicy: (next) => policy.replace(() => Promise.resolve(next)),
      reopenRecords: () => services.auditor.reopen(),
      readiness,
      metricsSnapshot: () => metrics.snapshot(),
      reload: async () => {
        services.auditor.reopen();
        await compiled?.rebuild();
      },
      close: async () => {
        compiled?.close();
        tlsWatch?.close();
        services.forwarder.withdrawUpgrades(() => true);
        const whole = await stopServer(server, config.limits.stop_grace_ms);
        await closeServices(services, 0);
        await admin?.close();
        return whole;
      },
    };
  } catch (error) {
    compiled?.close();
    await stopServer(server, 0);
    await closeServices(services, 0);
    throw error;
  }
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
