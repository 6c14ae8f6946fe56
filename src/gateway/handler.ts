import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Forwarder } from '../forward/forward.ts';
import { type Checks, check } from '../kernel/check.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest, Evidence, Peer } from '../kernel/context.ts';
import { type Denial, statusOf } from '../kernel/denial.ts';
import type { Checked, MaybePromise } from '../kernel/result.ts';
import type { CallerRequest, CallerResponse, ServerHandlers } from '../net/http_server.ts';
import { Http2Request } from '../net/http2_request.ts';
import type { Answer } from '../request/answer.ts';
import type { BodyReader } from '../request/body.ts';
import type { RequestReader } from '../request/read_request.ts';
import type { Log } from '../telemetry/log.ts';
import type { Span, Traces } from '../telemetry/traces.ts';
import type { PendingBody } from './checks.ts';
import { Connections, type Exchange } from './connections.ts';
import { beginEvidence } from './evidence.ts';
import type { Line, RefusalPace } from './refusal_pace.ts';
import { discard, refuse, refuseOnSocket } from './refuse.ts';
import type { Standing } from './standing.ts';
import type { UnderWay } from './under_way.ts';
import { answerLate, answerUnreadable } from './unreadable.ts';

/** The six stages, wired; made by gateway.ts. */
export interface Stages {
  readonly reader: RequestReader;
  readonly bodies: BodyReader;
  /** The checks for one exchange, in which the body is read when the policy asks for it. */
  checksFor(body: PendingBody): Checks;
  readonly forwarder: Forwarder;
  /** Whether an authorized request may still be sent, or go on: since it was checked, its body may have taken a while. */
  readonly standing: Standing;
  /** The answer to a refusal. */
  answer(denial: Denial, evidence: Evidence): Answer;
  /** Whether a record of one more request can be kept. */
  canRecord(): boolean;
  /** Asks the candidate policy, once the request was answered; null where it is not asked. Never rejects. */
  judgeShadow(evidence: Evidence): Promise<void> | null;
  /** Keeps the one record of a request, and counts it. */
  record(evidence: Evidence): void;
  readonly refusals: RefusalPace;
  /** Answers what is the gateway's own, such as protected resource metadata; false: it is for the upstream. */
  serveOwn(request: CallerRequest, response: CallerResponse): MaybePromise<Checked<boolean>>;
  /** Switches protocols where the gateway itself is asked to; false: it is for the upstream. */
  serveOwnUpgrade(request: IncomingMessage, socket: Duplex): boolean;
  /** The other end of the connection of a request. */
  peerOf(request: CallerRequest): Peer;
  readonly traces: Traces;
  readonly clock: Clock;
  readonly log: Log;
}

/** The handlers of a gateway's server, and what they have in hand. */
export interface GatewayHandlers extends ServerHandlers {
  readonly underWay: UnderWay;
}

/**
 * What the server does with what arrives: every request is read, checked, forwarded or refused, and recorded exactly once, by the stages
 * that are live when it arrives.
 */
export function createHandlers(live: () => Stages): GatewayHandlers {
  const connections = new Connections();
  return {
    underWay: connections.underWay,
    request: (request, response, awaitsContinue) =>
      serve(live(), connections, { request, response, body: new HeldBody(request, response, awaitsContinue) }),
    late: (request) => answerLate(live(), connections, request),
    upgrade: (request, socket, head) => void serveUpgrade(live(), connections, { request, socket, head }),
    malformed: (error, socket) => answerUnreadable(live(), connections, { error, socket }),
    overloaded: (socket) => {
      const { clock, answer } = live();
      const evidence = beginEvidence(clock(), { peerAddress: socket.remoteAddress });
      refuseOnSocket(socket, answer({ reason: 'gateway.overloaded' }, evidence), clock());
      // Nothing that this connection may have sent must be read as a request.
      socket.destroy();
    },
  };
}

interface Arrival {
  readonly request: CallerRequest;
  readonly response: CallerResponse;
  readonly body: HeldBody;
}

async function serve(stages: Stages, connections: Connections, { request, response, body }: Arrival): Promise<void> {
  const evidence = evidenceOf(stages, request);
  const exchange: Exchange = { request, response, evidence, broken: null, answered: false, place: -1 };
  const turn = connections.begin(exchange);
  if (turn !== null && !(await turn)) return;
  const span = beginWork(stages, connections, exchange);
  try {
    await settle(stages, evidence, async () => {
      if (exchange.broken !== null) return exchange.broken;
      const answered = stages.serveOwn(request, response);
      const own = answered instanceof Promise ? await answered : answered;
      if (!own.ok) return own.denial;
      if (own.value) {
        evidence.status = response.statusCode;
        return null;
      }
      const authorized = await authorize(stages, evidence, body);
      if ('reason' in authorized) return authorized;
      if (exchange.broken !== null) return exchange.broken;
      if (stages.standing.hasEnded(authorized)) return { reason: 'token.job_ended' };
      body.askFor();
      const { bodyPauseMs } = authorized.context.route;
      if (bodyPauseMs !== null && request instanceof Http2Request) request.allowPauses(bodyPauseMs);
      return letThrough(stages, evidence, () => stages.forwarder.forward(authorized, { request, response }, evidence));
    });
    if (evidence.denial !== undefined && !response.headersSent && request.socket.writable) {
      await turnToRefuse(stages, evidence, request.socket);
    }
    if (exchange.broken !== null) evidence.denial = exchange.broken;
    // What was under way when it was answered saw no more than the end of the connection.
    if (exchange.broken !== null && exchange.answered) evidence.status = statusOf(exchange.broken.reason);
    if (evidence.denial === undefined || response.headersSent || !request.socket.writable) return;
    const answer = stages.answer(evidence.denial, evidence);
    evidence.status = answer.status;
    refuse({ request, response, answer, bodyWithheld: body.heldBack || exchange.broken !== null });
  } catch (error) {
    stages.log.error({ err: error, decision_id: evidence.id }, 'a refusal could not be sent');
    request.socket.destroy();
  } finally {
    body.over();
    endWork(stages, connections, { exchange, span });
  }
}

/** Refusals wait for their turn, but not those that ask the holder of the key for a nonce: its next request will be a good one. */
function turnToRefuse(
  { refusals }: Stages,
  { denial, proof, peerAddress }: Evidence,
  line: Line,
): Promise<void> | null {
  if (denial?.nonce !== undefined || statusOf((denial as Denial).reason) >= 500) return null;
  return refusals.turn(proof?.thumbprint ?? peerAddress, line);
}

interface UpgradeArrival {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** WebSocket where the route allows it; CONNECT comes here too, and stage 1 refuses it. */
async function serveUpgrade(
  stages: Stages,
  connections: Connections,
  { request, socket, head }: UpgradeArrival,
): Promise<void> {
  const evidence = evidenceOf(stages, request);
  socket.on('error', () => socket.destroy());
  const exchange: Exchange = { request, response: null, evidence, broken: null, answered: false, place: -1 };
  const turn = connections.begin(exchange);
  if (turn !== null && !(await turn)) return;
  let release = (): void => undefined;
  const onOver = (given: () => void): void => {
    release = given;
  };
  const span = beginWork(stages, connections, exchange);
  try {
    await settle(stages, evidence, async () => {
      if (stages.serveOwnUpgrade(request, socket)) {
        evidence.status = 101;
        return null;
      }
      const authorized = await authorize(stages, evidence, {
        request,
        heldBack: false,
        askFor: () => undefined,
        onOver,
      });
      if ('reason' in authorized) return authorized;
      // Node.js took it for an upgrade and stage 1 did not: the connection is not one for ordinary requests any more.
      if (!authorized.context.upgrade) return { reason: 'request.upgrade_not_allowed' };
      if (!stages.standing.runs(authorized)) return { reason: 'token.job_ended' };
      return letThrough(stages, evidence, () =>
        stages.forwarder.upgrade(authorized, { request, socket, head }, evidence),
      );
    });
    if (evidence.denial !== undefined && evidence.status === 0) {
      await refuseUpgrade(stages, { denial: evidence.denial, evidence, socket });
    }
  } finally {
    release();
    endWork(stages, connections, { exchange, span });
  }
}

interface RefusedUpgrade {
  readonly denial: Denial;
  readonly evidence: Evidence;
  readonly socket: Duplex;
}

/** In its turn, as any refusal; who is gone by then has none. What comes meanwhile is not read as anything. */
async function refuseUpgrade(stages: Stages, { denial, evidence, socket }: RefusedUpgrade): Promise<void> {
  const turn = socket.writable ? turnToRefuse(stages, evidence, socket) : null;
  if (turn !== null) {
    discard(socket);
    await turn;
  }
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const answer = stages.answer(denial, evidence);
  evidence.status = answer.status;
  refuseOnSocket(socket, answer, stages.clock());
}

function beginWork(stages: Stages, connections: Connections, exchange: Exchange): Span | null {
  const { evidence, request } = exchange;
  connections.underWay.begin(exchange);
  return stages.traces.begin(evidence, request.headers['traceparent'] as string | undefined);
}

/** Whatever happened to a request, this comes last: its record. */
function endWork(
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
async function settle(stages: Stages, evidence: Evidence, work: () => Promise<Denial | null>): Promise<void> {
  try {
    const denial: Denial | null = stages.canRecord() ? await work() : { reason: 'gateway.record_unavailable' };
    if (denial !== null) evidence.denial = denial;
  } catch (error) {
    stages.log.error({ err: error, decision_id: evidence.id }, 'a request failed unexpectedly');
    evidence.denial = { reason: 'gateway.unexpected' };
  }
}

/** Stages 1 to 4. */
async function authorize(stages: Stages, evidence: Evidence, body: PendingBody): Promise<AuthorizedRequest | Denial> {
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
async function letThrough(
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

function evidenceOf(stages: Stages, request: CallerRequest): Evidence {
  const { method, url: target, httpVersion, socket } = request;
  return beginEvidence(stages.clock(), { method, target, httpVersion, peerAddress: socket.remoteAddress });
}

/** `Expect: 100-continue` of one request: 100 is sent at most once, and not before the body is wanted (RFC 9110 §10.1.1). */
class HeldBody implements PendingBody {
  readonly request: CallerRequest;
  readonly #response: CallerResponse;
  heldBack: boolean;
  #release: (() => void) | null = null;

  constructor(request: CallerRequest, response: CallerResponse, awaitsContinue: boolean) {
    this.request = request;
    this.#response = response;
    this.heldBack = awaitsContinue;
  }

  onOver(release: () => void): void {
    this.#release = release;
  }

  /** The request is over: what it was admitted with is given back. */
  over(): void {
    this.#release?.();
  }

  askFor(): void {
    if (!this.heldBack) return;
    this.heldBack = false;
    this.#response.writeContinue();
  }
}
