import type { IncomingMessage } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { type Auditor, createAuditor } from '../audit/auditor.ts';
import { loadCatalogue } from '../config/catalogue.ts';
import type { GatewayConfig } from '../config/schema.ts';
import { createForwarder, type Forwarder } from '../forward/forward.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ClientCertificate, Evidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { clientCertificateOf } from '../net/tls.ts';
import { createDecider } from '../policy/decide.ts';
import type { ReplayStore } from '../proof/replay_store.ts';
import { createProofVerifier, type ProofVerifier } from '../proof/verifier.ts';
import { createAnswers } from '../request/answer.ts';
import { createBodyReader } from '../request/body.ts';
import { createOperationIndex } from '../request/operation_index.ts';
import { createRequestReader } from '../request/read_request.ts';
import { createRouteTable } from '../request/route_table.ts';
import type { Log } from '../telemetry/log.ts';
import { createTokenVerifier, type TokenVerifier } from '../token/verify_token.ts';
import { TimedChecks } from './checks.ts';
import type { Stages } from './handler.ts';
import type { PolicyHolder } from './policy_holder.ts';
import { startReplayStore } from './replay.ts';
import { serveResourceMetadata } from './resource_metadata.ts';
import { buildRoutes } from './routes.ts';

/** Milliseconds that a start waits for the keys of the issuers. */
const KEYS_WAIT_MS = 1000;

/** What the stages are made from. */
export interface StageParts {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: PolicyHolder;
}

/** The parts with a life of their own: connections, caches, files. Started before the port is opened, closed after the last request. */
export interface Services {
  readonly tokens: TokenVerifier;
  readonly store: ReplayStore;
  readonly proofs: ProofVerifier;
  readonly forwarder: Forwarder;
  readonly auditor: Auditor;
}

/** Starts the services. @throws Error that says what cannot work and what to do */
export async function startServices({ config, clock, log }: StageParts): Promise<Services> {
  const { issuers, routes, limits } = config;
  // First, since a key that cannot be used is known at once, and nothing else is open then.
  const tokens = createTokenVerifier({ issuers, routes, cacheSize: limits.tokens, clock, log });
  const store = await startReplayStore(config, clock).catch((error: unknown) => {
    tokens.close();
    throw error;
  });
  const auditor = createAuditor({ config: config.audit, labels: { app: 'sallyport' }, clock, log });
  // The first requests need not wait for keys that can be had; an issuer that is down does not keep the gateway from starting.
  await Promise.race([tokens.settled(), setTimeout(KEYS_WAIT_MS)]);
  return {
    store,
    auditor,
    tokens,
    proofs: createProofVerifier({ dpop: config.dpop, store, clock }),
    forwarder: createForwarder({
      routes: new Map(config.routes.map((route) => [route.name, route.upstream])),
      bodyBytes: config.limits.body_bytes,
      clock,
      log,
    }),
  };
}

/** Closes the services: what is under way has `graceMs` milliseconds. */
export async function closeServices(services: Services, graceMs: number): Promise<void> {
  await services.forwarder.close(graceMs);
  services.tokens.close();
  await services.store.close();
  await services.auditor.close();
}

/** Wires the stages for an origin. `observe` counts a finished request. */
export function wireStages(
  parts: StageParts,
  services: Services,
  { origin, observe }: { origin: string; observe(evidence: Evidence): void },
): Stages {
  const { config, clock, log, policy } = parts;
  const routes = buildRoutes(config, origin);
  const catalogues = config.routes.map(({ operations }) =>
    operations === undefined ? null : loadCatalogue(operations),
  );
  const entries = routes.map((route, index) => {
    const catalogue = catalogues[index] ?? null;
    return { route, operations: catalogue === null ? null : createOperationIndex(catalogue) };
  });
  const bodies = createBodyReader({
    timeoutMs: config.limits.request_timeout_ms,
    maximumBytes: config.limits.body_bytes,
  });
  const answers = createAnswers({ algorithms: config.dpop.algorithms, routes });
  const decide = createDecider({ policy: policy.live });
  const judges = { ...services, bodies, decide };
  const reader = createRequestReader({ routes: createRouteTable(entries), limits: config.limits });
  return {
    reader,
    bodies,
    checksFor: (body) => new TimedChecks(judges, body),
    forwarder: services.forwarder,
    answer: (denial: Denial, evidence: Evidence) =>
      answers({
        denial,
        route: evidence.route ?? null,
        scheme: evidence.context?.credentials.scheme ?? null,
        decisionId: evidence.id,
        method: evidence.method,
      }),
    canRecord: () => services.auditor.available(),
    record: (evidence) => {
      services.auditor.record(evidence);
      observe(evidence);
    },
    serveOwn: serveResourceMetadata({ config, routes, catalogues, reader }),
    certificateOf: certificateReader(config),
    clock,
    log,
  };
}

function certificateReader(config: GatewayConfig): (request: IncomingMessage) => ClientCertificate | null {
  const { tls } = config.listen;
  if (tls === undefined || tls.client_certificates === 'none') return () => null;
  const mustChain = tls.client_ca_file !== undefined;
  const known = new WeakMap<TLSSocket, ClientCertificate | null>();
  return ({ socket }) => {
    const secure = socket as TLSSocket;
    let certificate = known.get(secure);
    if (certificate === undefined) {
      certificate = clientCertificateOf(secure, mustChain);
      known.set(secure, certificate);
    }
    return certificate;
  };
}
