import { type ClientRequest, type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import type { Clock } from '../kernel/clock.ts';
import type { AuthorizedRequest, UpstreamEvidence } from '../kernel/context.ts';
import { type Denial, statusOf } from '../kernel/denial.ts';
import { denialOf } from './failure.ts';
import { fieldMap } from './field_map.ts';
import { responseHeaders } from './response_headers.ts';
import type { UpgradeParts } from './upgrade.ts';

/** Milliseconds that the caller has to take the last bytes and close, once the upstream has closed. */
const LINGER_MS = 2000;
/** Milliseconds between two looks at the clock at most, so that a clock that was set is noticed. */
const REARM_MS = 60_000;

/** Writes the switching answer to the caller and pipes both ways. */
export type PipeBoth = (answer: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** A request to switch that is on its way to the upstream, without listeners. */
export interface Opened {
  readonly outgoing: ClientRequest;
  readonly pipe: PipeBoth;
}

/** What a tunnel needs to know of the gateway. */
export interface TunnelOptions {
  readonly clock: Clock;
  readonly pseudonym: string;
}

/**
 * One request to switch protocols, and the connection that it becomes. Ends when either side ends, when the token expires, at the deadline
 * that the policy gave, or when it is told to; with one side the other ends. Settles once.
 */
export class Tunnel {
  readonly #parts: UpgradeParts;
  readonly #options: TunnelOptions;
  readonly #seen: UpstreamEvidence = { status: 0, requestBytes: 0, responseBytes: 0, complete: false };
  #outgoing: ClientRequest | null = null;
  #upstream: Duplex | null = null;
  #connected = false;
  #answered = false;
  #settled = false;
  #settle!: (denial: Denial | null) => void;
  #timer: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  readonly #onCallerClose = (): void => this.#callerClosed();

  constructor(parts: UpgradeParts, options: TunnelOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  get authorized(): AuthorizedRequest {
    return this.#parts.authorized;
  }

  /** Opens the connection; settles when it has ended or could not be had. */
  run(open: () => Opened): Promise<Denial | null> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      const { socket } = this.#parts.exchange;
      socket.on('error', () => undefined);
      if (socket.destroyed) return this.#callerClosed();
      socket.once('close', this.#onCallerClose);
      socket.once('end', this.#onCallerClose);
      const { deadlineMs } = this.authorized.decision.obligations;
      if (deadlineMs !== null) {
        const late = () => this.end({ reason: 'forward.upstream_timeout', note: 'deadline' });
        this.#deadline = setTimeout(late, deadlineMs);
      }
      const { outgoing, pipe } = open();
      this.#outgoing = outgoing;
      this.#watchConnecting(outgoing);
      outgoing.on('error', (error) => this.#failed(error));
      outgoing.on('response', (answer) => this.#refused(answer));
      outgoing.on('upgrade', (answer, upstream, head) => {
        if (!this.#switched(answer, upstream)) return;
        pipe(answer, upstream, head);
        this.#count(upstream);
      });
    });
  }

  /** Ends the connection in whatever phase; before an answer was sent the denial is the gateway's to answer. */
  end(denial: Denial): void {
    if (this.#settled) return;
    this.#outgoing?.destroy();
    this.#upstream?.destroy();
    if (this.#answered) this.#parts.exchange.socket.destroy();
    this.#over(denial);
  }

  /** Connecting and answering are bounded each, as for other requests. */
  #watchConnecting(outgoing: ClientRequest): void {
    const { upstream, evidence } = this.#parts;
    const timedOut = () => this.end({ reason: 'forward.upstream_timeout', note: 'upgrade' });
    this.#timer = setTimeout(timedOut, upstream.connectTimeoutMs);
    outgoing.once('socket', (socket) => {
      socket.once(upstream.origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        if (this.#settled) return;
        this.#connected = true;
        evidence.upstream = this.#seen;
        clearTimeout(this.#timer);
        this.#timer = setTimeout(timedOut, upstream.timeoutMs);
      });
    });
  }

  #failed(error: unknown): void {
    if (this.#settled || this.#upstream !== null) return;
    this.end(
      denialOf(error, this.#connected ? 'sent' : 'connecting') ?? {
        reason: 'gateway.unexpected',
        note: String((error as Error).name),
      },
    );
  }

  /** The upstream switched: true when its answer may be passed on. */
  #switched(answer: IncomingMessage, upstream: Duplex): boolean {
    upstream.on('error', () => this.#broken());
    this.#seen.status = answer.statusCode ?? 0;
    const headers = this.#headersOf(answer, 101);
    // RFC 9110 §7.8: a server switches to what was asked for, which is WebSocket.
    if (this.#settled || headers === null || answer.headers.upgrade?.toLowerCase() !== 'websocket') {
      upstream.destroy();
      this.end({ reason: 'forward.upstream_invalid', note: 'switched to another protocol' });
      return false;
    }
    answer.headers = fieldMap([...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket']);
    this.#upstream = upstream;
    this.#answered = true;
    this.#parts.evidence.status = 101;
    this.#parts.exchange.socket.off('end', this.#onCallerClose);
    upstream.once('close', () => this.#upstreamClosed());
    this.#expire();
    return !this.#settled;
  }

  /** After the pipes: a listener that came before them would take the first bytes away. */
  #count(upstream: Duplex): void {
    this.#parts.exchange.socket.on('data', (chunk: Buffer) => {
      this.#seen.requestBytes += chunk.length;
    });
    upstream.on('data', (chunk: Buffer) => {
      this.#seen.responseBytes += chunk.length;
    });
  }

  /** The upstream did not switch: its answer is passed on, and the connection ends. */
  #refused(answer: IncomingMessage): void {
    const { exchange, evidence, upstream } = this.#parts;
    const status = answer.statusCode ?? 0;
    this.#seen.status = status;
    clearTimeout(this.#timer);
    const headers = this.#headersOf(answer, status);
    const response = new ServerResponse(exchange.request);
    response.shouldKeepAlive = false;
    try {
      if (headers === null || status < 200 || status > 599) throw new RangeError('not an answer');
      response.writeHead(status, headers);
    } catch {
      this.end({ reason: 'forward.upstream_invalid', note: `status ${status}` });
      return;
    }
    this.#answered = true;
    evidence.status = status;
    answer.on('data', (chunk: Buffer) => {
      this.#seen.responseBytes += chunk.length;
    });
    // Before pipeline, which would destroy the caller's connection first.
    answer.once('error', () => this.end({ reason: 'forward.upstream_broken', note: 'refusal' }));
    answer.setTimeout(upstream.timeoutMs, () => this.end({ reason: 'forward.upstream_timeout', note: 'refusal' }));
    response.assignSocket(exchange.socket as Socket);
    pipeline(answer, response, (error) => {
      if (error) return this.#callerClosed();
      response.detachSocket(exchange.socket as Socket);
      this.#seen.complete = true;
      this.#closeCaller();
    });
  }

  #headersOf(answer: IncomingMessage, status: number): string[] | null {
    const { context, decision, proof } = this.#parts.authorized;
    const remove = decision.obligations.removeResponseHeaders;
    const { nonce } = proof;
    const { httpVersion, rawHeaders } = answer;
    return responseHeaders(rawHeaders, {
      ...this.#options,
      decisionId: context.id,
      httpVersion,
      remove,
      status,
      nonce,
    });
  }

  /** The token was judged once, when the connection was opened; past its time the connection ends. */
  #expire(): void {
    clearTimeout(this.#timer);
    const left = this.authorized.token.expiresAt * 1000 - this.#options.clock();
    if (left <= 0) this.end({ reason: 'forward.upgrade_expired' });
    else this.#timer = setTimeout(() => this.#expire(), Math.min(left, REARM_MS));
  }

  #broken(): void {
    this.end({ reason: 'forward.upstream_broken' });
  }

  #upstreamClosed(): void {
    if (this.#settled) return;
    this.#seen.complete = true;
    this.#closeCaller();
  }

  /** What was written still reaches the caller; then its connection ends, whether it takes part or not. */
  #closeCaller(): void {
    const { socket } = this.#parts.exchange;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.end();
    socket.resume();
  }

  #callerClosed(): void {
    if (this.#settled) return;
    const { evidence, exchange } = this.#parts;
    const orderly = this.#answered && (this.#seen.complete || exchange.socket.readableEnded);
    this.#outgoing?.destroy();
    this.#upstream?.destroy();
    if (!this.#answered) {
      evidence.status = statusOf('forward.client_closed');
      exchange.socket.destroy();
    }
    this.#seen.complete = orderly;
    this.#over(orderly ? null : { reason: 'forward.client_closed' });
  }

  #over(denial: Denial | null): void {
    this.#settled = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#deadline);
    const { socket } = this.#parts.exchange;
    socket.off('close', this.#onCallerClose);
    socket.off('end', this.#onCallerClose);
    this.#settle(denial);
  }
}
