import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Forwarder } from '../forward/forward.ts';
import type { Checks } from '../kernel/check.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Evidence, Peer } from '../kernel/context.ts';
import { type Denial, statusOf } from '../kernel/denial.ts';
import type { Checked, MaybePromise } from '../kernel/result.ts';
import type { CallerRequest, CallerResponse, ServerHandlers } from '../net/http_server.ts';
import { Http2Request } from '../net/http2_request.ts';
import type { Answer } from '../request/answer.ts';
import type { BodyReader } from '../request/body.ts';
import type { RequestReader } from '../request/read_request.ts';
import type { Log } from '../telemetry/log.ts';
import type { Traces } from '../telemetry/traces.ts';
import type { PendingBody } from './checks.ts';
import { Connections, type Exchange } from './connections.ts';
import { beginEvidence } from './evidence.ts';
import type { RefusalPace } from './refusal_pace.ts';
import { refuse, refuseOnSocket } from './refuse.ts';
import type { Standing } from './standing.ts';
import type { UnderWay } from './under_way.ts';
import { answerLate, answerUnreadable } from './unreadable.ts';
import { serveUpgrade } from './upgrade.ts';
import { authorize, beginWork, endWork, evidenceOf, letThrough, settle, turnToRefuse } from './work.ts';

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
