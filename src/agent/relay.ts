import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import { framingOf } from './body.ts';
import { answerFields, relayedFields } from './fields.ts';
import { refuse, refuseOnSocket } from './refusal.ts';

/** Milliseconds. */
interface Timeouts {
  readonly connect: number;
  readonly idle: number;
}

/** A connection to another host that is none of the agent's business. */
export interface TunnelRequest {
  readonly host: string;
  readonly port: number;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly timeouts: Timeouts;
}

/** Passes a connection through byte for byte. Nothing of the job's is added to it. */
export function tunnel({ host, port, socket, head, timeouts }: TunnelRequest): void {
  const other = connect({ host, port });
  let connected = false;
  const late = setTimeout(() => other.destroy(), timeouts.connect);
  other.setTimeout(timeouts.idle, () => other.destroy());
  socket.once('close', () => other.destroy());
  other.on('error', () => undefined);
  other.once('close', () => {
    clearTimeout(late);
    if (!connected) refuseOnSocket(socket, 'tunnel_failed');
  });
  other.once('connect', () => {
    connected = true;
    clearTimeout(late);
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    if (head.length > 0) other.write(head);
    // Two pipelines listen for the end of each socket many times over.
    for (const end of [socket, other]) end.setMaxListeners(30);
    pipeline(socket, other, () => other.destroy());
    pipeline(other, socket, () => socket.destroy());
  });
}

/** A plain request to another host. */
export interface RelayRequest {
  readonly origin: URL;
  readonly target: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly timeouts: Timeouts;
  readonly awaitsContinue: boolean;
}

/** Passes a plain request through, as any proxy does (RFC 9110 §7.6.1). Nothing of the job's is added to it. */
export function relay({ origin, target, request, response, timeouts, awaitsContinue }: RelayRequest): void {
  const framing = framingOf(request.rawHeaders);
  if (framing === null) {
    refuse(request, response, 'request_malformed');
    return;
  }
  const length = framing.kind === 'length' ? framing.length : null;
  const body =
    framing.kind === 'none'
      ? { kind: 'kept' as const, bytes: null, length }
      : { kind: 'streamed' as const, source: request, length };
  const outgoing = http.request({
    host: origin.hostname.replace(/^\[|\]$/g, ''),
    port: origin.port === '' ? 80 : Number(origin.port),
    method: String(request.method),
    path: target,
    headers: relayedFields(request.rawHeaders, origin.host, body) as never,
    setHost: false,
    agent: false,
    timeout: timeouts.idle,
  });
  outgoing.on('timeout', () => outgoing.destroy());
  outgoing.on('error', () => refuse(request, response, 'tunnel_failed'));
  response.once('close', () => outgoing.destroy());
  outgoing.once('response', (answer) => {
    answer.on('error', () => undefined);
    if (response.destroyed) return void outgoing.destroy();
    try {
      response.sendDate = false;
      response.writeHead(
        answer.statusCode ?? 0,
        answer.statusMessage ?? '',
        answerFields(answer.rawHeaders, answer.statusCode ?? 0, null),
      );
    } catch {
      outgoing.destroy();
      return refuse(request, response, 'tunnel_failed');
    }
    pipeline(answer, response, (error) => {
      if (error) request.socket.destroy();
    });
  });
  if (awaitsContinue) response.writeContinue();
  if (body.kind === 'kept') outgoing.end();
  else request.pipe(outgoing);
}
