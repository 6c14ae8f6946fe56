/**
 * The gateway with only some of its checks, to see what each costs. It exists for the benchmark alone: the product has no way to leave a
 * check out. Arguments: configuration file, compiled policy, port, and the last layer that is there.
 */
import { readFileSync } from 'node:fs';
import { deserialize } from 'node:v8';
import { loadGatewayConfig } from '../../src/config/load.ts';
import { TimedChecks } from '../../src/gateway/checks.ts';
import { RecentDecisions } from '../../src/gateway/decisions.ts';
import { createHandlers } from '../../src/gateway/handler.ts';
import { PolicyHolder } from '../../src/gateway/policy_holder.ts';
import { loadCatalogues, type Services, startServices, wireStages } from '../../src/gateway/stages.ts';
import type { Decision } from '../../src/kernel/context.ts';
import { pass } from '../../src/kernel/result.ts';
import { createHttpServer } from '../../src/net/http_server.ts';
import { createDecider } from '../../src/policy/decide.ts';
import type { ProofVerifier } from '../../src/proof/verifier.ts';
import { createBodyReader } from '../../src/request/body.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createTraces } from '../../src/telemetry/traces.ts';

/** In the order in which they are added. */
const LAYERS = ['token', 'dpop', 'replay', 'policy', 'record'] as const;

const [configFile, policyFile, port, last] = process.argv.slice(2) as [string, string, string, string];
const has = (layer: (typeof LAYERS)[number]) => LAYERS.indexOf(layer) <= LAYERS.indexOf(last as typeof layer);

const config = loadGatewayConfig(configFile);
const log = createLog({ level: 'error' });
const clock = Date.now;
const policy = await PolicyHolder.start(deserialize(readFileSync(policyFile)), { clock, log });
const parts = {
  config,
  catalogues: loadCatalogues(config.routes),
  clock,
  log,
  policy,
  shadow: null,
  decisions: new RecentDecisions(1000),
  findElsewhere: null,
};
const services = await startServices(parts);
const proofs = proofsOf(services);
const bodies = createBodyReader({ timeoutMs: 60_000, maximumBytes: config.limits.body_bytes });
const allowed = {
  obligations: {
    setHeaders: [],
    removeResponseHeaders: [],
    maximumBodyBytes: null,
    deadlineMs: null,
    userAuthentication: null,
    rateClasses: [],
  },
  revision: 'none',
  result: true,
  reasons: [],
} as unknown as Decision;
const decide = has('policy') ? createDecider({ policy: policy.live }) : () => pass(allowed);
const judges = { tokens: services.tokens, endedKeys: null, proofs, bodies, decide, rates: services.rates };
const origin = config.public_origin as string;
const stages = {
  ...wireStages(parts, services, { origin, traces: createTraces('bench'), observe: () => undefined }),
  checksFor: (body: ConstructorParameters<typeof TimedChecks>[1]) => new TimedChecks(judges, body),
};
if (!has('record')) stages.record = () => undefined;
createHttpServer(
  createHandlers(() => stages),
  config.limits,
  null,
).listen(Number(port), '127.0.0.1');

/** No proof at all, proofs that may be used again, or the real thing. */
function proofsOf({ stores, proofs: real }: Services): ProofVerifier {
  if (has('dpop')) {
    if (!has('replay')) for (const store of stores.values()) store.claim = () => 'first';
    return real;
  }
  const facts = { method: 'dpop', thumbprint: null, jti: null, issuedAt: null, nonce: null };
  return { verify: () => pass(facts), stats: real.stats } as unknown as ProofVerifier;
}
