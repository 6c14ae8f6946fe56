import { type ClientRequest, type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import type { Api } from './api.ts';
import { type CallContext, refusesToken } from './exchange.ts';
import { answerFields, upgradeFields } from './fields.ts';
import { problemIn } from './problem.ts';
import { refuseOnSocket } from './refusal.ts';

/** One request of a tool to switch to WebSocket. */
export interface UpgradeCall {
  readonly api: Api;
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What came behind the header section. */
  readonly head: Buffer;
  readonly target: string;
}

type Outcome =
  | { readonly kind: 'switched'; readonly answer: IncomingMessage; readonly upstream: Socket; readonly head: Buffer }
  | { readonly kind: 'answer'; readonly answer: IncomingMessage; readonly outgoing: ClientRequest }
  | { readonly kind: 'failed'; readonly error: Error };

/** Milliseconds after which a silent peer is asked whether it is there. */
const KEEP_ALIVE_MS = 30_000;

/** Switches a connection to WebSocket through the gateway, with a token and a proof; the bytes then pass both ways. Never rejects. */
export async function passUpgrade(call: UpgradeCall, context: CallContext): Promise<void> {
  try {
    await exchange(call, context);
  } catch (error) {
    // What nobody expected ends this connection, and not the agent of the whole job.
    context.notices.say(`${call.api.name}: an upgrade failed unexpectedly: ${(error as Error).message}`);
    call.socket.destroy();
  }
}

async function exchange(call: UpgradeCall, context: CallContext): Promise<void> {
  const { api, socket } = call;
  socket.on('error', () => socket.destroy());
  const token = await api.token.current().catch((error: Error) => {
    context.notices.say(`no token for ${api.name}: ${error.message}`);
    return null;
  });
  if (token === null) return refuseOnSocket(socket, 'token_unavailable');
  const offsetBefore = api.gateway.memory.offsetMs;
  let outcome = await open(call, context, token);
  if (outcome.kind === 'answer' && api.gateway.wantsAnotherProof(outcome.answer, offsetBefore)) {
    outcome.outgoing.destroy();
    outcome = await open(call, context, token);
  }
  if (socket.destroyed) return abandon(outcome);
  if (outcome.kind === 'failed') {
    context.notices.say(`${api.name}: the gateway ${api.gateway.origin} cannot be reached: ${outcome.error.message}`);
    return refuseOnSocket(socket, 'gateway_unreachable');
  }
  if (outcome.kind === 'answer') return passRefusal(call, context, { ...outcome, token });
  join(call, outcome);
}

async function open(
  { api, request, socket, target }: UpgradeCall,
  { key }: CallContext,
  token: IssuedToken,
): Promise<Outcome> {
  const { gateway } = api;
  const { accessToken } = token;
  const proof = await gateway.memory.prove({ key, method: 'GET', url: gateway.origin + target, accessToken });
  const headers = upgradeFields(request.rawHeaders, api.host, { accessToken, proof });
  return new Promise((resolve) => {
    const sentAt = gateway.clock();
    const outgoing = gateway.open({ method: 'GET', target, headers, upgrade: true });
    socket.once('close', () => outgoing.destroy());
    outgoing.on('error', (error) => resolve({ kind: 'failed', error }));
    outgoing.once('response', (answer) => {
      gateway.learn(answer.headers, sentAt);
      resolve({ kind: 'answer', answer, outgoing });
    });
    outgoing.once('upgrade', (answer, upstream, head) => {
      gateway.learn(answer.headers, sentAt);
      outgoing.setTimeout(0);
      resolve({ kind: 'switched', answer, upstream, head });
    });
    outgoing.end();
  });
}

function abandon(outcome: Outcome): void {
  if (outcome.kind === 'switched') outcome.upstream.destroy();
  if (outcome.kind === 'answer') outcome.outgoing.destroy();
}

function join(
  { socket, head }: UpgradeCall,
  { answer, upstream, head: first }: Extract<Outcome, { kind: 'switched' }>,
): void {
  const fields = [...answerFields(answer.rawHeaders, 101, null), 'Connection', 'Upgrade', 'Upgrade', 'websocket'];
  const lines = ['HTTP/1.1 101 Switching Protocols'];
  for (let i = 0; i + 1 < fields.length; i += 2) lines.push(`${fields[i]}: ${fields[i + 1]}`);
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (first.length > 0) socket.write(first);
  if (head.length > 0) upstream.write(head);
  for (const end of [socket, upstream] as Socket[]) {
    end.setTimeout?.(0);
    end.setKeepAlive?.(true, KEEP_ALIVE_MS);
    // Two pipelines listen for the end of each socket many times over.
    end.setMaxListeners(30);
  }
  // With one side the other ends.
  pipeline(socket, upstream, () => upstream.destroy());
  pipeline(upstream, socket, () => socket.destroy());
}

/** The gateway did not switch: its answer goes to the tool, and the connection ends. */
function passRefusal(
  { api, request, socket, target }: UpgradeCall,
  { notices }: CallContext,
  { answer, outgoing, token }: Extract<Outcome, { kind: 'answer' }> & { token: IssuedToken },
): void {
  if (refusesToken(answer)) api.token.spoil(token);
  problemIn(answer, (problem) => notices.refusal({ api: api.name, method: 'GET', target, problem, token }));
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.sendDate = false;
  try {
    const fields = answerFields(answer.rawHeaders, answer.statusCode ?? 0, null);
    response.writeHead(answer.statusCode ?? 0, answer.statusMessage ?? '', fields);
  } catch {
    outgoing.destroy();
    refuseOnSocket(socket, 'gateway_unreachable');
    return;
  }
  response.assignSocket(socket as Socket);
  answer.on('error', () => undefined);
  pipeline(answer, response, (error) => {
    outgoing.destroy();
    if (error) return void socket.destroy();
    response.detachSocket(socket as Socket);
    socket.end(() => socket.destroy());
  });
}
