import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Evidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import type { PendingBody } from './checks.ts';
import type { Connections, Exchange } from './connections.ts';
import type { Stages } from './handler.ts';
import { discard, refuseOnSocket } from './refuse.ts';
import { authorize, beginWork, endWork, evidenceOf, letThrough, settle, turnToRefuse } from './work.ts';

/** What node:http hands on of a request to switch protocols. */
export interface UpgradeArrival {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** Bytes that came after the request's header section. */
  head: Buffer;
}

const NOTHING = Buffer.alloc(0);

/** WebSocket where the route allows it; CONNECT comes here too, and stage 1 refuses it. */
export async function serveUpgrade(stages: Stages, connections: Connections, arrival: UpgradeArrival): Promise<void> {
  const { request, socket } = arrival;
  const evidence = evidenceOf(stages, request);
  socket.on('error', () => socket.destroy());
  const exchange: Exchange = { request, response: null, evidence, broken: null, answered: false, place: -1 };
  const turn = connections.begin(exchange);
  if (turn !== null && !(await turn)) return;
  let release = (): void => undefined;
  const onOver = (given: () => void): void => {
    release = given;
  };
  const body: PendingBody = { request, heldBack: false, askFor: () => undefined, onOver };
  const span = beginWork(stages, connections, exchange);
  try {
    await settle(stages, evidence, () => pass(stages, evidence, { arrival, body }));
    if (evidence.denial !== undefined && evidence.status === 0) {
      // Nothing of it is kept while its refusal waits.
      arrival.head = NOTHING;
      await refuseInTurn(stages, evidence, { denial: evidence.denial, socket });
    }
  } finally {
    release();
    endWork(stages, connections, { exchange, span });
  }
}

interface Passing {
  readonly arrival: UpgradeArrival;
  readonly body: PendingBody;
}

async function pass(stages: Stages, evidence: Evidence, { arrival, body }: Passing): Promise<Denial | null> {
  const { request, socket } = arrival;
  if (stages.serveOwnUpgrade(request, socket)) {
    evidence.status = 101;
    return null;
  }
  const authorized = await authorize(stages, evidence, body);
  if ('reason' in authorized) return authorized;
  // Node.js took it for an upgrade and stage 1 did not: the connection is not one for ordinary requests any more.
  if (!authorized.context.upgrade) return { reason: 'request.upgrade_not_allowed' };
  if (!stages.standing.runs(authorized)) return { reason: 'token.job_ended' };
  return letThrough(stages, evidence, () => stages.forwarder.upgrade(authorized, arrival, evidence));
}

interface Refused {
  readonly denial: Denial;
  readonly socket: Duplex;
}

/** As any refusal; who is gone by then is told nothing. What is sent meanwhile is not read as anything. */
async function refuseInTurn(stages: Stages, evidence: Evidence, { denial, socket }: Refused): Promise<void> {
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
