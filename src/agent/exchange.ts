import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import type { Api } from './api.ts';
import { framingOf, type OutgoingBody, takeBody } from './body.ts';
import { answerFields, requestFields } from './fields.ts';
import { LinkTimeout } from './gateway_link.ts';
import type { Notices } from './notices.ts';
import { problemIn } from './problem.ts';
import { type AgentRefusal, refuse } from './refusal.ts';

/** One request of a tool for an API. */
export interface Call {
  readonly api: Api;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Path and query at the gateway; sent and signed byte for byte. */
  readonly target: string;
  /** The tool waits for 100 before it sends the body. */
  readonly awaitsContinue: boolean;
  /** Makes local URLs of those of the API in an answer; null where the tool uses the API's own. */
  readonly rewrite: ((url: string) => string) | null;
}

/** What calls are made with. */
export interface CallContext {
  readonly key: SigningKey;
  readonly notices: Notices;
}

/** Milliseconds that a gateway has to say that it wants a streamed body; one that does not know `Expect` gets it then. */
const CONTINUE_MS = 1500;
/** Milliseconds and times for what is still coming when the answer is through. */
const DRAIN_MS = 2000;
/** RFC 9110 §9.2.2: may be sent again when a connection that was kept broke before an answer. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** An answer of the gateway, or the end of an attempt without one. */
type Outcome =
  | {
      readonly kind: 'answer';
      readonly answer: IncomingMessage;
      readonly outgoing: ClientRequest;
      readonly bodyBegun: boolean;
    }
  | { readonly kind: 'failed'; readonly error: Error; readonly stale: boolean };

/** Passes one request on to the gateway with a token and a proof, and the answer back. Settles when the answer has begun; never rejects. */
export async function passOn(call: Call, context: CallContext): Promise<void> {
  try {
    await exchange(call, context);
  } catch (error) {
    // What nobody expected ends this request, and not the agent of the whole job.
    context.notices.say(`${call.api.name}: a request failed unexpectedly: ${(error as Error).message}`);
    call.request.socket.destroy();
  }
}

async function exchange(call: Call, context: CallContext): Promise<void> {
  const { api, request, response, awaitsContinue } = call;
  const framing = framingOf(request.rawHeaders);
  if (framing === null) return refuse(request, response, 'request_malformed');
  const token = await api.token.current().catch((error: Error) => {
    context.notices.say(`no token for ${api.name}: ${error.message}`);
    return null;
  });
  if (token === null) return refuse(request, response, 'token_unavailable');
  const small = framing.kind === 'length' && framing.length > 0;
  if (awaitsContinue && small) response.writeContinue();
  const body = await takeBody(request, framing).catch(() => null);
  if (body === null || response.destroyed) return void request.socket.destroy();
  const outcome = await send(call, context, { token, body });
  if (outcome.kind === 'failed') return fail(call, context, outcome.error);
  answer(call, context, { ...outcome, token });
}

interface Attempt {
  readonly token: IssuedToken;
  readonly body: OutgoingBody;
}

/** Sends, and once more with a new proof when the gateway asks for another nonce or its clock is now known; never what was consumed already. */
async function send(call: Call, context: CallContext, attempt: Attempt): Promise<Outcome> {
  const { gateway } = call.api;
  const offsetBefore = gateway.memory.offsetMs;
  const first = await attemptOnce(call, context, attempt);
  if (first.kind === 'failed') {
    const again = first.stale && attempt.body.kind === 'kept' && IDEMPOTENT.has(call.request.method ?? '');
    return again ? attemptOnce(call, context, attempt) : first;
  }
  const { answer: refusal, bodyBegun, outgoing } = first;
  if (bodyBegun && attempt.body.kind === 'streamed') return first;
  if (!gateway.wantsAnotherProof(refusal, offsetBefore)) return first;
  // Its connection can be used again only when nothing of a body is owed to it.
  if (attempt.body.kind === 'streamed') outgoing.destroy();
  else refusal.resume();
  return attemptOnce(call, context, attempt);
}

async function attemptOnce(call: Call, { key }: CallContext, { token, body }: Attempt): Promise<Outcome> {
  const { api, request, response, target, awaitsContinue } = call;
  const { gateway } = api;
  const method = String(request.method);
  const { accessToken } = token;
  const proof = await gateway.memory.prove({ key, method, url: gateway.origin + target, accessToken });
  const headers = requestFields(request.rawHeaders, api.host, body, { accessToken, proof });
  if (response.destroyed) return { kind: 'failed', error: new Error('the tool hung up'), stale: false };
  return new Promise((resolve) => {
    const sentAt = gateway.clock();
    let begun = false;
    const outgoing = gateway.open({ method, target, headers });
    const hungUp = () => outgoing.destroy();
    response.once('close', hungUp);
    const begin = () => {
      clearTimeout(patience);
      if (begun || body.kind !== 'streamed' || outgoing.destroyed) return;
      begun = true;
      if (awaitsContinue && !response.headersSent) response.writeContinue();
      // Not by pipeline, which would destroy the tool's connection when the gateway's breaks, before it is told.
      body.source.pipe(outgoing);
    };
    const patience = body.kind === 'streamed' ? setTimeout(begin, CONTINUE_MS) : undefined;
    outgoing.on('continue', begin);
    outgoing.on('error', (error) => {
      clearTimeout(patience);
      response.off('close', hungUp);
      resolve({ kind: 'failed', error, stale: outgoing.reusedSocket && !(error instanceof LinkTimeout) });
    });
    outgoing.once('response', (answer) => {
      clearTimeout(patience);
      gateway.learn(answer.headers, sentAt);
      resolve({ kind: 'answer', answer, outgoing, bodyBegun: begun });
    });
    outgoing.once('upgrade', (_answer, socket) => {
      socket.destroy();
      outgoing.destroy(new Error('the gateway switched protocols unasked'));
    });
    if (body.kind === 'kept') outgoing.end(body.bytes ?? undefined);
  });
}

/** The answer streams back as fast as the tool takes it; one that breaks off in the middle does not end as if it were whole. */
function answer(
  { api, request, response, target, rewrite }: Call,
  { notices }: CallContext,
  { answer: incoming, outgoing, token }: Extract<Outcome, { kind: 'answer' }> & { token: IssuedToken },
): void {
  incoming.on('error', () => undefined);
  // The tool hung up, or sent what is no HTTP behind its request, while the gateway answered.
  if (response.destroyed) return void outgoing.destroy();
  const status = incoming.statusCode ?? 0;
  if (refusesToken(incoming)) api.token.spoil(token);
  const method = String(request.method);
  problemIn(incoming, (problem) => notices.refusal({ api: api.name, method, target, problem, token }));
  // Something of the tool's body is not read yet: what follows it is no request of its own.
  const unread = !request.complete;
  try {
    response.sendDate = false;
    const fields = answerFields(incoming.rawHeaders, status, rewrite);
    if (unread) fields.push('Connection', 'close');
    response.writeHead(status, incoming.statusMessage ?? '', fields);
  } catch {
    outgoing.destroy();
    refuse(request, response, 'gateway_unreachable');
    return;
  }
  pipeline(incoming, response, (error) => {
    if (error) {
      outgoing.destroy();
      cut(request);
    } else if (unread) drain(request, outgoing);
  });
}

/** Whether the gateway says that the token is no good any more (RFC 6750 §3.1). */
export function refusesToken({ statusCode, headers }: IncomingMessage): boolean {
  return statusCode === 401 && /\binvalid_token\b/.test(String(headers['www-authenticate']));
}

/** A reset is no end: to a tool that speaks HTTP/1.0 the end of the connection would be the end of the answer. */
function cut(request: IncomingMessage): void {
  if (request.httpVersionMinor === 0 && !('encrypted' in request.socket)) request.socket.resetAndDestroy();
  else request.socket.destroy();
}

/** The gateway answered without taking the whole body: the tool gets a moment to notice. */
function drain(request: IncomingMessage, outgoing: ClientRequest): void {
  const end = setTimeout(() => {
    outgoing.destroy();
    request.socket.destroy();
  }, DRAIN_MS);
  request.socket.once('close', () => clearTimeout(end));
  if (outgoing.destroyed || !outgoing.writable) request.resume();
}

function fail({ api, request, response }: Call, { notices }: CallContext, error: Error): void {
  if (response.destroyed) return; // The tool hung up.
  const late = error instanceof LinkTimeout;
  const why = late ? error.message : ((error as NodeJS.ErrnoException).code ?? error.message);
  notices.say(
    `${api.name}: the gateway ${api.gateway.origin} ${late ? 'was waited for in vain' : 'cannot be reached'}: ${why}`,
  );
  const reason: AgentRefusal = late ? 'gateway_timeout' : 'gateway_unreachable';
  refuse(request, response, reason);
}
