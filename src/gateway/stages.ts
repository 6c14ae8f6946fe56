import { type Auditor, createAuditor } from '../audit/auditor.ts';
import { type Catalogue, loadCatalogue } from '../config/catalogue.ts';
import { getsCertificates } from '../config/certificate_rules.ts';
import type { GatewayConfig, RouteConfig } from '../config/schema.ts';
import { startEndedKeys } from '../ended_jobs/create.ts';
import type { EndedKey, EndedKeys } from '../ended_jobs/ended_keys.ts';
import { createForwarder, type Forwarder } from '../forward/forward.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Evidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { pass } from '../kernel/result.ts';
import { connectionOf } from '../net/http2_request.ts';
import { createPeerReader } from '../net/peer.ts';
import { createDecider } from '../policy/decide.ts';
import type { LoadedPolicy } from '../policy/load.ts';
import { createProofVerifier, type ProofVerifier } from '../proof/verifier.ts';
import { startRateLimits } from '../rate/create.ts';
import type { RateLimits } from '../rate/rate_limits.ts';
import { createAnswers } from '../request/answer.ts';
import { createBodyReader } from '../request/body.ts';
import { createFieldRules } from '../request/field_rules.ts';
import { createOperationIndex } from '../request/operation_index.ts';
import { createRequestReader } from '../request/read_request.ts';
import { createRouteTable } from '../request/route_table.ts';
import type { Log } from '../telemetry/log.ts';
import type { Traces } from '../telemetry/traces.ts';
import { createTokenVerifier, type TokenVerifier } from '../token/verify_token.ts';
import { TimedChecks } from './checks.ts';
import type { RecentDecisions } from './decisions.ts';
import { createDoctor } from './doctor.ts';
import { type FindElsewhere, serveExplanations } from './explain.ts';
import { buildFrontProxies } from './front_proxies.ts';
import type { Stages } from './handler.ts';
import { createNonces, issuersWithNonce } from './nonces.ts';
import type { PolicyHolder } from './policy_holder.ts';
import { recordUploads } from './record_uploads.ts';
import { RefusalPace } from './refusal_pace.ts';
import { closeReplayStores, type ReplayStores, startReplayStores } from './replay.ts';
import { serveResourceMetadata } from './resource_metadata.ts';
import { buildRoutes } from './routes.ts';
import type { Shadow } from './shadow.ts';
import { Standing } from './standing.ts';

/** What the services are made from. */
export interface ServiceParts {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly log: Log;
  /** The secret of nonces that the primary process gave to all its workers. */
  readonly nonceSecret?: Uint8Array | undefined;
  /** The keys of ended jobs that the primary process knows; absent: this process has no primary. */
  readonly endedKeys?: readonly EndedKey[] | undefined;
  /** The policy in force, whose rules decide what of a record is uploaded; null before there is one. */
  readonly livePolicy?: () => LoadedPolicy | null;
}

/** What the stages are made from. */
export interface StageParts extends ServiceParts {
  /** The operations of each route, in the order of the routes; null where there are none. */
  readonly catalogues: readonly (Catalogue | null)[];
  readonly policy: PolicyHolder;
  /** The candidate beside it; null where none is configured. */
  readonly shadow: Shadow | null;
  /** The last decisions of this process. */
  readonly decisions: RecentDecisions;
  /** Finds those of other processes of the same gateway; null: there are none. */
  readonly findElsewhere: FindElsewhere | null;
}

/** The parts with a life of their own: connections, caches, files. Started before the port is opened, closed after the last request. */
export interface Services {
  readonly tokens: TokenVerifier;
  readonly stores: ReplayStores;
  readonly proofs: ProofVerifier;
  /** Null where jobs do not end before their tokens. */
  readonly endedKeys: EndedKeys | null;
  readonly rates: RateLimits;
  readonly forwarder: Forwarder;
  readonly auditor: Auditor;
  readonly refusals: RefusalPace;
}

/** Starts the services. @throws Error that says what cannot work and what to do; then none of them is left */
export async function startServices(parts: ServiceParts): Promise<Services> {
  const { config, clock, log } = parts;
  const { issuers, routes, limits, audit, policy, dpop } = config;
  const started: { -readonly [Name in keyof Services]?: Services[Name] } = {};
  try {
    // What reads files comes first, since what is wrong with them is known at once.
    const nonces = createNonces(config, parts);
    started.tokens = createTokenVerifier({ issuers, routes, cacheSize: limits.tokens, clock, log });
    const upstreams = new Map(routes.map((route) => [route.name, route.upstream]));
    started.forwarder = createForwarder({ routes: upstreams, bodyBytes: limits.body_bytes, clock, log });
    const labels = { app: 'sallyport' };
    started.auditor = createAuditor({
      config: audit,
      labels,
      clock,
      log,
      entrypoint: policy.entrypoint,
      uploads: recordUploads(config, clock, parts.livePolicy ?? (() => null)),
    });
    const stores = await startReplayStores(config, clock);
    started.stores = stores;
    const endedKeys = await startEndedKeys(config, clock, parts.endedKeys);
    started.endedKeys = endedKeys;
    const rates = await startRateLimits(config);
    started.rates = rates;
    const nonceIssuers = issuersWithNonce(config);
    started.proofs = createProofVerifier({ dpop, stores, nonces, nonceIssuers, cacheSize: limits.tokens, clock });
    const { tokens, forwarder, auditor, proofs } = started;
    const refusals = new RefusalPace(limits.refusals_per_second);
    return { tokens, forwarder, auditor, stores, endedKeys, rates, proofs, refusals };
  } catch (error) {
    await closeServices(started);
    throw error;
  }
}

/** Closes the services, once no request is under way. @returns how many records are lost */
export async function closeServices(services: Partial<Services>): Promise<number> {
  const { forwarder, tokens, stores, endedKeys, rates, auditor } = services;
  await forwarder?.close();
  tokens?.close();
  await endedKeys?.close();
  await rates?.close();
  if (stores !== undefined) await closeReplayStores(stores);
  return (await auditor?.close()) ?? 0;
}

/** Reads the operation catalogues of the routes. @throws ConfigError that names file and line */
export function loadCatalogues(routes: readonly RouteConfig[]): StageParts['catalogues'] {
  return routes.map(({ operations }) => (operations === undefined ? null : loadCatalogue(operations)));
}

/** What the stages belong to. */
export interface Surroundings {
  readonly origin: string;
  readonly traces: Traces;
  /** Counts a finished request. */
  observe(evidence: Evidence): void;
}

/** Wires the stages. */
export function wireStages(parts: StageParts, services: Services, { origin, traces, observe }: Surroundings): Stages {
  const { config, catalogues, clock, log, policy, shadow, decisions } = parts;
  const routes = buildRoutes(config, origin);
  const entries = routes.map((route, index) => {
    const catalogue = catalogues[index] ?? null;
    const lists = [config.routes[index]?.request_headers, catalogue?.requestHeaders];
    const fields = createFieldRules(lists.filter((list) => list !== undefined));
    return { route, operations: catalogue === null ? null : createOperationIndex(catalogue), fields };
  });
  const bodies = createBodyReader({
    timeoutMs: config.limits.request_timeout_ms,
    maximumBytes: config.limits.body_bytes,
  });
  const answers = createAnswers({
    algorithms: config.dpop.algorithms,
    certificates: getsCertificates(config),
    routes,
    authorizationDetails: config.challenges.authorization_details,
  });
  const peerOf = createPeerReader({
    mustChain: config.listen.tls?.client_ca_file !== undefined,
    frontProxies: buildFrontProxies(config.listen.front_proxies),
  });
  const decide = createDecider({ policy: policy.live });
  const judges = { ...services, bodies, decide };
  const { forwarder, endedKeys } = services;
  const standing = new Standing({ forwarder, clock, policy, decide, endedKeys });
  const reader = createRequestReader({ routes: createRouteTable(entries), limits: config.limits });
  const doctor = createDoctor({
    config,
    origin,
    routes,
    clock,
    reader,
    peerOf: (request) => peerOf(connectionOf(request)),
  });
  return {
    reader,
    bodies,
    checksFor: (body) => new TimedChecks(judges, body),
    forwarder,
    standing,
    answer: (denial: Denial, evidence: Evidence) =>
      answers({
        denial,
        route: evidence.route ?? null,
        scheme: evidence.context?.credentials.scheme ?? null,
        decisionId: evidence.id,
        method: evidence.method,
        nonce: denial.nonce ?? evidence.proof?.nonce ?? undefined,
      }),
    canRecord: () => services.auditor.available(),
    refusals: services.refusals,
    judgeShadow: (evidence) => shadow?.judge(evidence) ?? null,
    record: (evidence) => {
      services.auditor.record(evidence);
      decisions.keep(evidence);
      observe(evidence);
    },
    serveOwn: serveOwn([
      doctor.serve,
      serveResourceMetadata({ config, routes, catalogues, reader }),
      serveExplanations({
        origin,
        reader,
        proofs: services.proofs,
        find: (id) => decisions.find(id),
        elsewhere: parts.findElsewhere,
        peerOf: (request) => peerOf(connectionOf(request)),
      }),
    ]),
    serveOwnUpgrade: doctor.serveUpgrade,
    peerOf: (request) => peerOf(connectionOf(request)),
    traces,
    clock,
    log,
  };
}

const NOT_OURS = pass(false);

/** The first that answers; nothing of it is asked for other requests than those below /.well-known/. */
function serveOwn(servers: readonly Stages['serveOwn'][]): Stages['serveOwn'] {
  return (request, response) => {
    if (request.url?.startsWith('/.well-known/') !== true) return NOT_OURS;
    for (const serve of servers) {
      const served = serve(request, response);
      if (served instanceof Promise || !served.ok || served.value) return served;
    }
    return NOT_OURS;
  };
}
