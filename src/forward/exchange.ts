import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { AuthorizedRequest, Evidence, UpstreamEvidence } from '../kernel/context.ts';
import type { Denial } from '../kernel/denial.ts';
import { statusOf } from '../kernel/denial.ts';
import type { Enrolled, Roster } from '../kernel/roster.ts';
import { drain, RequestBody } from './body.ts';
import { type CallerResponse, type CallerSocket, cutAnswer, type HttpExchange } from './caller.ts';
import { ABANDONED, denialOf, type Phase } from './failure.ts';
import { responseHeaders } from './response_headers.ts';
import { allowedTrailers, takesTrailers } from './trailers.ts';
import type { Upstream } from './upstream.ts';
import { countPassed } from './young_buffers.ts';

/** Interim answers that an upstream may send before its answer; each restarts its timeout. */
const MAXIMUM_INTERIM = 16;

/** Bytes of an answer's body up to which header section and body are written as one string, which costs less than two buffers. */
const ONE_WRITE_BYTES = 16_384;

/** Bytes that may wait for the caller before the upstream has to; pausing after every part of a fast answer costs a third of its speed. */
const UNSENT_BYTES = 262_144;

/** What one exchange with an upstream consists of. */
export interface ExchangeParts {
  readonly authorized: AuthorizedRequest;
  readonly http: HttpExchange;
  readonly evidence: Evidence;
  readonly upstream: Upstream;
  readonly pseudonym: string;
  /** What is sent; the body, when it is streamed, is given here too. */
  readonly outgoing: Dispatcher.DispatchOptions;
  /** Where it stands as long as it is under way. */
  readonly running: Roster<Exchange>;
}

/**
 * One request on its way to the upstream and the answer on its way back; the handler that undici calls. Settles once: with null when the
 * answer was passed on to its end, else with a denial. When the caller saw a part of the answer already, its connection is destroyed, so
 * that what was cut never looks complete.
 */
export class Exchange implements Dispatcher.DispatchHandler, Enrolled {
  place = -1;
  readonly #parts: ExchangeParts;
  readonly #response: CallerResponse;
  readonly #seen: UpstreamEvidence = { status: 0, requestBytes: 0, responseBytes: 0, complete: false };
  #controller: Dispatcher.DispatchController | null = null;
  #interim = 0;
  /** Content-Length of the answer; NaN without one. */
  #length = Number.NaN;
  /** Whether what follows the body may follow here. */
  readonly #trailers: boolean;
  #settled = false;
  #ended = false;
  #settle!: (denial: Denial | null) => void;
  #fail!: (error: unknown) => void;
  /** Bounds the wait for a connection, later the caller's pauses. */
  #patience: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #pipelinedOn: CallerSocket | null = null;
  readonly #onClose = (): void => this.#callerClosed();

  constructor(parts: ExchangeParts) {
    this.#parts = parts;
    this.#response = parts.http.response;
    this.#trailers = takesTrailers(parts.authorized);
  }

  /** Sends the request; settles when the exchange is over. */
  run(): Promise<Denial | null> {
    return new Promise((resolve, reject) => {
      this.#settle = resolve;
      this.#fail = reject;
      const { upstream, authorized, http, outgoing, running } = this.#parts;
      running.add(this);
      if (http.request.socket.destroyed) {
        this.#callerClosed();
        return;
      }
      this.#response.once('close', this.#onClose);
      // A pipelined response has no connection yet, and before Node.js 24 does not hear of its end.
      if (this.#response.socket === null) {
        this.#pipelinedOn = http.request.socket;
        this.#pipelinedOn.once('close', this.#onClose);
      }
      const deadline = authorized.decision.obligations.deadlineMs;
      if (deadline !== null) this.#deadline = setTimeout(() => this.#timedOut('deadline'), deadline);
      upstream.pool.dispatch(outgoing, this);
      if (this.#controller === null && !this.#settled) {
        this.#patience = setTimeout(() => this.#timedOut('no connection'), upstream.connectTimeoutMs);
      }
    });
  }

  get authorized(): AuthorizedRequest {
    return this.#parts.authorized;
  }

  /** Ends it early; what was answered to its end stays answered. */
  end(denial: Denial): void {
    if (!this.#ended) this.#refuse(denial);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Thrown, undici leaves the request unsent and keeps the connection.
    if (this.#settled) throw ABANDONED;
    this.#controller = controller;
    clearTimeout(this.#patience);
    this.#parts.evidence.upstream = this.#seen;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, parsed: IncomingHttpHeaders): void {
    if (this.#settled) return;
    if (status >= 200) {
      this.#length = Number(parsed['content-length'] ?? Number.NaN);
      this.#answer(controller.rawHeaders as (Buffer | string)[], status);
      return;
    }
    // RFC 9110 §15.2: interim answers are for the gateway; 101 answers a question that was not asked (§7.8).
    this.#interim++;
    if (status < 100 || status === 101 || this.#interim > MAXIMUM_INTERIM) this.#invalid(`status ${status}`);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    this.#seen.responseBytes += chunk.length;
    countPassed(chunk.length);
    if (chunk.length === this.#length && chunk.length <= ONE_WRITE_BYTES && !this.#trailers)
      this.#end(chunk.toString('latin1'));
    else if (!this.#response.write(chunk) && (this.#response.socket?.writableLength ?? 0) >= UNSENT_BYTES)
      this.#pause(controller);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#settled || this.#ended) return;
    if (this.#trailers && !this.#addTrailers(controller)) return;
    this.#end('');
  }

  /** False: they cannot be sent, and the exchange is over. */
  #addTrailers({ rawTrailers }: Dispatcher.DispatchController): boolean {
    const { trailers } = this.#parts.authorized.context.route;
    const list = allowedTrailers((rawTrailers ?? []) as (Buffer | string)[], trailers.response);
    try {
      this.#response.addTrailers(pairsOf(list));
      return true;
    } catch (error) {
      this.#invalid((error as NodeJS.ErrnoException).code ?? 'trailer');
      return false;
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: unknown): void {
    if (this.#settled || this.#ended) return;
    const denial = denialOf(error, this.#phase);
    if (denial === null) {
      cutAnswer(this.#parts.http);
      this.#over();
      this.#fail(error);
      return;
    }
    this.#refuse(denial);
  }

  /** The answer is there to its end; `body` is what of it was not written yet. */
  #end(body: string): void {
    this.#ended = true;
    const { http, outgoing } = this.#parts;
    // An early answer: the upstream wants no more of the body, and undici drops the connection to it.
    const early = outgoing.body instanceof RequestBody && !http.request.readableEnded;
    if (early) this.#stopBody();
    this.#response.end(body, 'latin1');
    if (early) drain(http.request);
    if (this.#response.socket?.writableLength !== 0) this.#awaitCaller();
  }

  /** Passes status and header fields on. */
  #answer(rawHeaders: readonly (Buffer | string)[], status: number): void {
    const { evidence, authorized, pseudonym, upstream } = this.#parts;
    this.#seen.status = status;
    const headers = responseHeaders(rawHeaders, {
      pseudonym,
      decisionId: authorized.context.id,
      httpVersion: upstream.httpVersion,
      remove: authorized.decision.obligations.removeResponseHeaders,
      status,
      nonce: authorized.proof.nonce,
    });
    // RFC 9110 §15: codes above 599 are not valid.
    if (headers === null || status > 599) {
      this.#invalid(headers === null ? 'transfer coding' : `status ${status}`);
      return;
    }
    try {
      if (this.#trailers) this.#response.announceTrailers?.();
      this.#response.writeHead(status, headers);
      evidence.status = status;
      // What lasts is announced at once: an event stream may have nothing to say for long.
      if (Number.isNaN(this.#length)) setImmediate(() => this.#flush());
    } catch (error) {
      // Characters that no field may carry (RFC 9110 §5.5).
      this.#invalid((error as NodeJS.ErrnoException).code ?? 'header');
    }
  }

  #flush(): void {
    if (!this.#settled && !this.#ended) this.#response.flushHeaders();
  }

  /** The upstream sends no faster than the caller reads. */
  #pause(controller: Dispatcher.DispatchController): void {
    controller.pause();
    this.#awaitCaller();
    this.#response.once('drain', () => {
      clearTimeout(this.#patience);
      controller.resume();
    });
  }

  get #phase(): Phase {
    if (this.#controller === null) return 'connecting';
    return this.#seen.status === 0 ? 'sent' : 'answered';
  }

  #invalid(note: string): void {
    this.#refuse({ reason: 'forward.upstream_invalid', note });
  }

  #timedOut(note: string): void {
    this.#refuse({ reason: 'forward.upstream_timeout', note });
  }

  /** A caller that does not read holds a connection to the upstream: it gets as long as the upstream would. */
  #awaitCaller(): void {
    clearTimeout(this.#patience);
    const stalled = () => this.#refuse({ reason: 'forward.client_closed', note: 'the caller stopped reading' });
    this.#patience = setTimeout(stalled, this.#parts.upstream.timeoutMs);
  }

  /** The response is through, or the caller hung up, in whatever phase. */
  #callerClosed(): void {
    if (this.#settled) return;
    if (this.#ended && this.#response.writableFinished) {
      this.#seen.complete = true;
      this.#over();
      this.#settle(null);
      return;
    }
    const { evidence } = this.#parts;
    if (!this.#response.headersSent) evidence.status = statusOf('forward.client_closed');
    this.#refuse({ reason: 'forward.client_closed' });
  }

  #refuse(denial: Denial): void {
    if (this.#settled) return;
    cutAnswer(this.#parts.http);
    this.#over();
    this.#controller?.abort(ABANDONED);
    this.#settle(denial);
  }

  #over(): void {
    this.#settled = true;
    this.#parts.running.delete(this);
    clearTimeout(this.#patience);
    clearTimeout(this.#deadline);
    this.#response.off('close', this.#onClose);
    this.#pipelinedOn?.off('close', this.#onClose);
    this.#stopBody();
  }

  #stopBody(): void {
    const { body } = this.#parts.outgoing;
    if (body instanceof RequestBody) {
      this.#seen.requestBytes = body.bytes;
      body.destroy();
    } else if (body instanceof Uint8Array) {
      this.#seen.requestBytes = body.length;
    }
  }
}

function pairsOf(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let index = 0; index + 1 < list.length; index += 2)
    pairs.push([list[index] as string, list[index + 1] as string]);
  return pairs;
}
