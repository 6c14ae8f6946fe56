import { check } from '../kernel/check.ts';
import type { AuthorizedRequest, Evidence } from '../kernel/context.ts';
import { type Denial, statusOf } from '../kernel/denial.ts';
import type { CallerRequest } from '../net/http_server.ts';
import type { Span } from '../telemetry/traces.ts';
import type { PendingBody } from './checks.ts';
import type { Connections, Exchange } from './connections.ts';
import { beginEvidence } from './evidence.ts';
import type { Stages } from './handler.ts';
import type { Line } from './refusal_pace.ts';

/** The work on a request begins: its turn on its connection has come. */
export function beginWork(stages: Stages, connections: Connections, exchange: Exchange): Span | null {
  const { evidence, request } = exchange;
  connections.underWay.begin(exchange);
  return stages.traces.begin(evidence, request.headers['traceparent'] as string | undefined);
}

/** Whatever happened to a request, this comes last: its record. */
export function endWork(
  stages: Stages,
  connections: Connections,
  { exchange, span }: { readonly exchange: Exchange; readonly span: Span | null },
): void {
  connections.end(exchange);
  stages.traces.end(span, exchange.evidence);
  const finish = () => {
    stages.record(exchange.evidence);
    connections.underWay.end(exchange);
  };
  const judged = stages.judgeShadow(exchange.evidence);
  if (judged === null) finish();
  else void judged.then(finish);
}

/** Runs the work on one request. The one place that catches what nobody expected: it becomes `gateway.unexpected`. */
export async function settle(stages: Stages, evidence: Evidence, work: () => Promise<Denial | null>): Promise<void> {
  try {
    const denial: Denial | null = stages.canRecord() ? await work() : { reason: 'gateway.record_unavailable' };
    if (denial !== null) evidence.denial = denial;
  } catch (error) {
    stages.log.error({ err: error, decision_id: evidence.id }, 'a request failed unexpectedly');
    evidence.denial = { reason: 'gateway.unexpected' };
  }
}

/** Stages 1 to 4. */
export async function authorize(
  stages: Stages,
  evidence: Evidence,
  body: PendingBody,
): Promise<AuthorizedRequest | Denial> {
  const { request } = body;
  const started = performance.now();
  const read = stages.reader.read(request, evidence, stages.peerOf(request));
  evidence.timings.request = performance.now() - started;
  if (!read.ok) return (await stages.bodies.explainRefusal(read, request, body.heldBack)).denial;
  evidence.context = read.value;
  const checked = await check(read.value, stages.checksFor(body), evidence);
  return checked.ok ? checked.value : checked.denial;
}

/** Stage 5; while it lasts, refusals of others make room. */
export async function letThrough(
  { refusals }: Stages,
  evidence: Evidence,
  forward: () => Promise<Denial | null>,
): Promise<Denial | null> {
  const started = performance.now();
  refusals.begin();
  try {
    return await forward();
  } finally {
    const now = performance.now();
    evidence.timings.forward = now - started;
    refusals.end(now);
  }
}

/** The evidence of a request that has just arrived. */
export function evidenceOf(stages: Stages, request: CallerRequest): Evidence {
  const { method, url: target, httpVersion, socket } = request;
  return beginEvidence(stages.clock(), { method, target, httpVersion, peerAddress: socket.remoteAddress });
}

/** Refusals wait for their turn, but not those that ask the holder of the key for a nonce: its next request will be a good one. */
export function turnToRefuse(
  { refusals }: Stages,
  { denial, proof, peerAddress }: Evidence,
  line: Line,
): Promise<void> | null {
  if (denial?.nonce !== undefined || statusOf((denial as Denial).reason) >= 500) return null;
  return refusals.turn(proof?.thumbprint ?? peerAddress, line);
}
