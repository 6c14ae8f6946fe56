import type { Server } from 'node:http';
import { type AdminView, type RunningAdmin, startAdmin } from '../admin/admin.ts';
import { within } from '../audit/within.ts';
import type { GatewayConfig } from '../config/schema.ts';
import type { EndedKey } from '../ended_jobs/ended_keys.ts';
import type { FileWatch } from '../files/watch.ts';
import type { Clock } from '../kernel/clock.ts';
import { createHttpServer } from '../net/http_server.ts';
import { authorityOf, listen } from '../net/listen.ts';
import { stopServer } from '../net/stop.ts';
import { readServerTls, type ServerTlsOptions } from '../net/tls.ts';
import { watchTls } from '../net/tls_watch.ts';
import type { PolicyArtifact } from '../policy/artifact.ts';
import type { Log } from '../telemetry/log.ts';
import { createMetrics, type Metrics, type MetricsSnapshot } from '../telemetry/metrics.ts';
import { createTraces } from '../telemetry/traces.ts';
import { RecentDecisions, type RememberedDecision } from './decisions.ts';
import { originOf } from './describe.ts';
import { endedJobsApi, endedJobsPort } from './ended_jobs_api.ts';
import { decisionsApi, type FindElsewhere } from './explain.ts';
import { createHandlers, type GatewayHandlers, type Stages } from './handler.ts';
import { type PolicySource, startPolicy, takePolicy } from './policy_source.ts';
import type { Running } from './processes.ts';
import { type Readiness, readinessOf } from './readiness.ts';
import { type ShadowSource, startShadow, takeShadow } from './shadow_source.ts';
import { metricSourcesOf } from './sources.ts';
import { closeServices, loadCatalogues, type Services, type StageParts, startServices, wireStages } from './stages.ts';
import { packageVersion } from './version.ts';

/** How a gateway is started, beside its configuration. */
export interface GatewayOptions {
  readonly log: Log;
  /** Absent: the system's. */
  readonly clock?: Clock;
  /** A policy that is compiled already; absent: it is compiled here, and again whenever it changes. */
  readonly artifact?: PolicyArtifact;
  /** Whether another process compiles the candidate policy and sends it. Absent: it is compiled here, where one is configured. */
  readonly takesShadow?: boolean;
  /** Whether this process serves the admin port. Absent: yes. */
  readonly admin?: boolean;
  /** The secret of nonces that several processes share. Absent: one of this process, where the configuration names no files. */
  readonly nonceSecret?: Uint8Array;
  /** The keys of ended jobs that the primary process knows, which keeps them; absent: this process has no primary. */
  readonly endedKeys?: readonly EndedKey[];
  /** Finds decisions of other processes of the same gateway. Absent: there are none. */
  readonly findElsewhere?: FindElsewhere;
}

/** A gateway that answers. */
export interface RunningGateway extends Running {
  /** Puts a compiled policy in place of the live one, if it can be used. @returns whether it is live now */
  replacePolicy(artifact: PolicyArtifact): Promise<boolean>;
  /** Lets a compiled candidate judge beside the live policy, if it can. @returns whether it does now */
  replaceShadow(artifact: PolicyArtifact): Promise<boolean>;
  /** Refuses the tokens of these keys from now on. @returns whether that is certain */
  endKeys(keys: readonly EndedKey[]): Promise<boolean>;
  /** Opens record files anew, and uses another certificate if there is one. */
  reopenFiles(): void;
  /** What this process remembers of a decision, or null. */
  decision(id: string): RememberedDecision | null;
  readiness(): Readiness;
  metricsSnapshot(): Promise<MetricsSnapshot>;
}

/** Milliseconds that a start waits for the keys of the issuers. */
const KEYS_WAIT_MS = 1000;
/** Milliseconds in which a caller that holds an idle connection may send a last request on it when the gateway stops. */
const QUIET_MS = 250;
/** Milliseconds that requests whose connections were cut may take to end in their records. */
const RECORDS_MS = 1500;

/**
 * Starts the gateway in this process. Everything that a request needs is built and tried before the port is opened.
 * @throws Error that says what cannot work and what to do
 */
export async function startGateway(config: GatewayConfig, options: GatewayOptions): Promise<RunningGateway> {
  const { log, clock = Date.now, artifact, nonceSecret, endedKeys, findElsewhere } = options;
  const tls = config.listen.tls === undefined ? null : readServerTls(config.listen.tls);
  const catalogues = loadCatalogues(config.routes);
  let policy: PolicySource | undefined;
  const livePolicy = () => policy?.holder.live() ?? null;
  const services = await startServices({ config, clock, log, nonceSecret, endedKeys, livePolicy });
  let shadow: ShadowSource | null = null;
  let gateway: Gateway | undefined;
  try {
    // Last, since it takes longest.
    policy = await (artifact === undefined
      ? startPolicy(config, { clock, log })
      : takePolicy(artifact, { clock, log }));
    shadow = (options.takesShadow ? takeShadow : startShadow)({ config, clock, log });
    const recent = { decisions: new RecentDecisions(config.explain.decisions), findElsewhere: findElsewhere ?? null };
    const parts = { config, catalogues, clock, log, policy: policy.holder, shadow: shadow?.shadow ?? null, ...recent };
    gateway = new Gateway(parts, { services, policy, shadow, tls });
    // The first requests need not wait for keys that can be had; an issuer that is down does not keep the gateway from starting.
    await within(KEYS_WAIT_MS, services.tokens.settled());
    await gateway.open(options);
    return gateway;
  } catch (error) {
    await policy?.close();
    await shadow?.close();
    await (gateway?.close() ?? closeServices(services));
    throw error;
  }
}

/** What a gateway takes over: it closes them. */
interface Holdings {
  readonly services: Services;
  readonly policy: PolicySource;
  readonly shadow: ShadowSource | null;
  readonly tls: ServerTlsOptions | null;
}

class Gateway implements RunningGateway {
  origin = '';
  listening = '';
  adminOrigin: string | null = null;
  readonly #parts: StageParts;
  readonly #services: Services;
  readonly #policy: PolicySource;
  readonly #shadow: ShadowSource | null;
  readonly #handlers: GatewayHandlers;
  readonly #server: Server;
  /** Of the certificate's files; null without TLS. */
  readonly #tlsVersion: string | null;
  readonly #version = packageVersion();
  readonly #metrics: Metrics;
  #stages: Stages | null = null;
  #admin: RunningAdmin | null = null;
  #tlsWatch: FileWatch | null = null;
  #closed: Promise<boolean> | null = null;

  constructor(parts: StageParts, { services, policy, shadow, tls }: Holdings) {
    this.#parts = parts;
    this.#services = services;
    this.#policy = policy;
    this.#shadow = shadow;
    this.#handlers = createHandlers(() => this.#stages as Stages);
    this.#server = createHttpServer(this.#handlers, parts.config.limits, tls);
    this.#tlsVersion = tls?.version ?? null;
    const sources = metricSourcesOf(services, { source: policy, shadow: parts.shadow }, this.#server);
    this.#metrics = createMetrics({ version: this.#version, sources });
  }

  /** Opens the ports. @throws Error that says which one cannot be had */
  async open({ admin }: GatewayOptions): Promise<void> {
    const { config, clock, log } = this.#parts;
    const { address, port: wanted, tls } = config.listen;
    const port = await listen(this.#server, address, wanted);
    this.origin = originOf(config, port);
    this.listening = authorityOf(address, port);
    // No connection was taken yet: that happens in a later turn of the event loop.
    this.#stages = wireStages(this.#parts, this.#services, {
      origin: this.origin,
      traces: createTraces(this.#version),
      observe: (evidence) => this.#metrics.observe(evidence, clock()),
    });
    if (admin !== false) this.#admin = await startAdmin(config.admin, this.#view(), log);
    this.adminOrigin = this.#admin?.origin ?? null;
    if (tls !== undefined && this.#tlsVersion !== null) {
      this.#tlsWatch = watchTls({ server: this.#server, files: tls, version: this.#tlsVersion }, log);
    }
  }

  replacePolicy(artifact: PolicyArtifact): Promise<boolean> {
    return this.#parts.policy.replace(() => Promise.resolve(artifact));
  }

  async replaceShadow(artifact: PolicyArtifact): Promise<boolean> {
    return (await this.#shadow?.shadow.replace(() => Promise.resolve(artifact))) ?? false;
  }

  async endKeys(keys: readonly EndedKey[]): Promise<boolean> {
    try {
      await this.#services.endedKeys?.end(keys);
      return this.#services.endedKeys !== null;
    } catch (error) {
      this.#parts.log.error({ err: error }, 'keys of ended jobs are not refused everywhere yet');
      return false;
    }
  }

  reopenFiles(): void {
    this.#services.auditor.reopen();
    this.#tlsWatch?.look();
  }

  async reload(): Promise<void> {
    this.reopenFiles();
    await Promise.all([this.#policy.rebuild(), this.#shadow?.rebuild()]);
  }

  decision(id: string): RememberedDecision | null {
    return this.#parts.decisions.find(id);
  }

  readiness(): Readiness {
    return readinessOf(this.#services, { ...this.#parts, stopping: this.#closed !== null });
  }

  metricsSnapshot(): Promise<MetricsSnapshot> {
    return this.#metrics.snapshot();
  }

  close(): Promise<boolean> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  /** Upgrades first, since they may last; then the requests; then, when nothing needs them any more, the services. */
  async #end(): Promise<boolean> {
    await this.#policy.close();
    this.#tlsWatch?.close();
    const { underWay } = this.#handlers;
    underWay.stop();
    this.#services.refusals.stop();
    this.#services.forwarder.endUpgrades();
    const { stop_grace_ms: graceMs } = this.#parts.config.limits;
    const whole = await stopServer(this.#server, {
      graceMs,
      quietMs: QUIET_MS,
      busy: () => underWay.size > 0,
      hurry: () => {
        this.#parts.log.warn({ requests: underWay.size }, 'the grace time is over; requests under way are ended');
        void this.#services.forwarder.close();
      },
    });
    await underWay.none(RECORDS_MS);
    this.#stages?.standing.close();
    await this.#shadow?.close();
    const lost = await closeServices(this.#services);
    await this.#admin?.close();
    return whole && lost === 0;
  }

  #view(): AdminView {
    const { endedKeys } = this.#services;
    return {
      live: () => true,
      ready: () => ({ ...this.readiness(), origin: this.origin, listening: this.listening }),
      metrics: () => this.#metrics.render(),
      api: {
        ...(endedKeys !== null && endedJobsApi(endedJobsPort(endedKeys, this.#parts.clock))),
        ...decisionsApi((id) => this.decision(id)),
        ...this.#policy.api,
      },
    };
  }
}
