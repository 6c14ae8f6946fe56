import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Forwarder } from '../forward/forward.ts';
import { type Checks, check } from '../kernel/check.ts';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest, ClientCertificate, Evidence } from '../kernel/context.ts';
import type { Denial, Reason } from '../kernel/denial.ts';
import type { ServerHandlers } from '../net/http_server.ts';
import type { Answer } from '../request/answer.ts';
import type { RequestReader } from '../request/read_request.ts';
import type { Log } from '../telemetry/log.ts';
import { Connections, type Exchange } from './connections.ts';
import { refuse, refuseOnSocket } from './refuse.ts';

/** The six stages, wired; made by gateway.ts. */
export interface Stages {
  readonly reader: RequestReader;
  /** The checks for one exchange, in which the body can be read when the policy asks for it. */
  checksFor(exchange: PendingBody): Checks;
  readonly forwarder: Forwarder;
  /** The answer to a refusal. */
  answer(denial: Denial, evidence: Evidence): Answer;
  /** Whether a record of one more request can be kept. */
  canRecord(): boolean;
  /** Keeps the one record of a request, and counts it. */
  record(evidence: Evidence): void;
  /** Answers what is the gateway's own, such as protected resource metadata; false: it is for the upstream. */
  serveOwn(request: IncomingMessage, response: ServerResponse): boolean;
  certificateOf(request: IncomingMessage): ClientCertificate | null;
  readonly clock: Clock;
  readonly log: Log;
}

/** A request whose body has not been read, and the way to ask for it when the caller holds it back. */
export interface PendingBody {
  readonly request: IncomingMessage;
  /** Sends `100 Continue` once, when the caller waits for it. */
  askForBody(): void;
}

/** What the server does with what arrives: every request is read, checked, forwarded or refused, and recorded exactly once. */
export function createHandlers(stages: Stages): ServerHandlers {
  const connections = new Connections();
  return {
    request: (request, response, awaitsContinue) =>
      void serve(stages, connections, { request, response, awaitsContinue }),
    upgrade: (request, socket, head) => void serveUpgrade(stages, { request, socket, head }),
    malformed: (error, socket) => answerMalformed(stages, connections, { error, socket }),
    overloaded: (socket) => {
      refuseOnSocket(
        socket,
        stages.answer({ reason: 'gateway.overloaded' }, begin(stages, null)),
        new Date(stages.clock()),
      );
      socket.destroy();
    },
  };
}

interface Arrival {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly awaitsContinue: boolean;
}

async function serve(stages: Stages, connections: Connections, arrival: Arrival): Promise<void> {
  const { request, response } = arrival;
  const evidence = begin(stages, request);
  const exchange: Exchange = { request, response, broken: null };
  const body = new HeldBody(arrival);
  connections.begin(exchange);
  try {
    await answered(stages, evidence, async () => {
      if (stages.serveOwn(request, response)) {
        evidence.status = response.statusCode;
        return null;
      }
      const authorized = await authorize(stages, evidence, body);
      if ('reason' in authorized) return authorized;
      body.askForBody();
      return stages.forwarder.forward(authorized, { request, response }, evidence);
    });
    if (exchange.broken !== null) evidence.denial = exchange.broken;
    if (evidence.denial === undefined || response.headersSent || response.destroyed) return;
    const answer = stages.answer(evidence.denial, evidence);
    refuse(request, response, answer, { bodyHeldBack: body.heldBack });
    evidence.status = answer.status;
  } catch (error) {
    stages.log.error({ err: error, decision_id: evidence.id }, 'a refusal could not be sent');
    response.destroy();
  } finally {
    connections.end(exchange);
    stages.record(evidence);
  }
}

interface UpgradeArrival {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

async function serveUpgrade(stages: Stages, { request, socket, head }: UpgradeArrival): Promise<void> {
  const evidence = begin(stages, request);
  const drop = () => socket.destroy();
  socket.on('error', drop);
  try {
    await answered(stages, evidence, async () => {
      const authorized = await authorize(stages, evidence, { request, askForBody: () => undefined });
      if ('reason' in authorized) return authorized;
      return stages.forwarder.upgrade(authorized, { request, socket, head }, evidence);
    });
    if (evidence.denial === undefined || evidence.status !== 0) return;
    const answer = stages.answer(evidence.denial, evidence);
    evidence.status = answer.status;
    refuseOnSocket(socket, answer, new Date(stages.clock()));
  } finally {
    stages.record(evidence);
  }
}

/** Runs the work on one request; what nobody expected becomes `gateway.unexpected`, the only catch on the way. */
async function answered(stages: Stages, evidence: Evidence, work: () => Promise<Denial | null>): Promise<void> {
  try {
    const denial = stages.canRecord() ? await work() : ({ reason: 'gateway.record_unavailable' } as const);
    if (denial !== null) evidence.denial = denial;
  } catch (error) {
    stages.log.error({ err: error, decision_id: evidence.id }, 'a request failed unexpectedly');
    evidence.denial = { reason: 'gateway.unexpected', note: String((error as Error)?.name) };
  }
}

/** Stages 1 to 4. */
async function authorize(stages: Stages, evidence: Evidence, body: PendingBody): Promise<AuthorizedRequest | Denial> {
  const { request } = body;
  const started = performance.now();
  const read = stages.reader.read(request, evidence, stages.certificateOf(request));
  evidence.timings.request = performance.now() - started;
  if (!read.ok) return read.denial;
  evidence.context = read.value;
  const checked = await check(read.value, stages.checksFor(body), evidence);
  return checked.ok ? checked.value : checked.denial;
}

/** Bytes that are not HTTP still are a request: it is answered where that is possible, and recorded. */
function answerMalformed(
  stages: Stages,
  connections: Connections,
  { error, socket }: { error: NodeJS.ErrnoException; socket: Duplex },
): void {
  // The peer is gone, or the connection was idle: there is no request to answer.
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const denial: Denial = { reason: malformedReason(error), note: error.code ?? error.message };
  const date = () => new Date(stages.clock());
  const answerAlone = () => {
    const evidence = begin(stages, null, socket as Socket);
    evidence.denial = denial;
    const answer = stages.answer(denial, evidence);
    if (socket.writable) evidence.status = answer.status;
    refuseOnSocket(socket, answer, date());
    stages.record(evidence);
  };
  const place = connections.malformed(socket, answerAlone);
  if (place.kind === 'now') answerAlone();
  else if (place.kind === 'cut') socket.destroy();
  else if (place.kind === 'in_place') {
    place.exchange.broken = denial;
    refuseOnSocket(socket, stages.answer(denial, begin(stages, place.exchange.request)), date());
    socket.destroy();
  }
}

/** Error codes of Node.js and its parser, and what they mean here. */
function malformedReason(error: NodeJS.ErrnoException): Reason {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'request.headers_too_large';
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'request.timeout';
    case 'HPE_UNEXPECTED_CONTENT_LENGTH':
    case 'HPE_INVALID_CONTENT_LENGTH':
    case 'HPE_INVALID_TRANSFER_ENCODING':
    case 'HPE_INVALID_CHUNK_SIZE':
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 'request.framing';
    case 'HPE_INVALID_HEADER_TOKEN':
    case 'HPE_UNEXPECTED_SPACE':
      return 'request.header_malformed';
    default:
      return 'request.malformed';
  }
}

/** `Expect: 100-continue` of one request: 100 is sent at most once, and not before the body is wanted (RFC 9110 §10.1.1). */
class HeldBody implements PendingBody {
  readonly request: IncomingMessage;
  readonly #response: ServerResponse;
  heldBack: boolean;

  constructor({ request, response, awaitsContinue }: Arrival) {
    this.request = request;
    this.#response = response;
    this.heldBack = awaitsContinue;
  }

  askForBody(): void {
    if (!this.heldBack) return;
    this.heldBack = false;
    this.#response.writeContinue();
  }
}

function begin(stages: Stages, request: IncomingMessage | null, socket?: Socket): Evidence {
  return {
    id: randomUUID(),
    receivedAt: stages.clock(),
    peerAddress: (request?.socket ?? socket)?.remoteAddress ?? '',
    method: request?.method ?? '',
    rawTarget: request?.url ?? '',
    status: 0,
    timings: { request: 0, token: 0, proof: 0, policy: 0, forward: 0 },
  };
}
