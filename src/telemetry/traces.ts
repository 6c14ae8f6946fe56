import { type Link, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import type { Evidence } from '../kernel/context.ts';
import { singleLine } from './single_line.ts';

export type { Span } from '@opentelemetry/api';

/** Begins and ends the span of each request, if the program that embeds the gateway has registered a tracer provider. */
export interface Traces {
  /**
   * Begins the span and notes the ids of both traces in the evidence. Returns null when nobody records, which costs next to nothing.
   * @param traceparent the caller's header of that name, as received
   */
  begin(evidence: Evidence, traceparent: string | undefined): Span | null;
  /** Ends the span with what became of the request: names, numbers and the reason; never a header or a query. */
  end(span: Span | null, evidence: Evidence): void;
}

/** W3C Trace Context §3.2: version 00; higher versions may carry more after the flags. */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(?:-.*)?$/;
const ZEROS = /^0+$/;

/**
 * Traces through the OpenTelemetry API alone. The caller is on the other side of a trust boundary: its trace is linked, never the parent,
 * since otherwise callers would choose the ids of our spans and whether they are sampled (W3C Trace Context §5 and §6).
 */
export function createTraces(version: string): Traces {
  const tracer = trace.getTracer('sallyport', version);
  return {
    begin(evidence, traceparent) {
      const caller = traceparent === undefined ? null : readTraceparent(traceparent);
      if (caller !== null) evidence.callerTraceId = caller.context.traceId;
      const options = caller === null ? { kind: SpanKind.SERVER } : { kind: SpanKind.SERVER, links: [caller] };
      const span = tracer.startSpan('request', options, ROOT_CONTEXT);
      if (!span.isRecording()) return null;
      evidence.traceId = span.spanContext().traceId;
      return span;
    },
    end(span, evidence) {
      if (span === null) return;
      describe(span, evidence);
      span.end();
    },
  };
}

function describe(span: Span, evidence: Evidence): void {
  const { context, denial, upstream } = evidence;
  span.setAttribute('sallyport.decision_id', evidence.id);
  span.setAttribute('http.request.method', singleLine(evidence.method, 32));
  span.setAttribute('http.response.status_code', evidence.status);
  const route = context?.route ?? evidence.route;
  if (route !== undefined) span.setAttribute('http.route', route.pathPrefix);
  if (context !== undefined) span.setAttribute('url.path', singleLine(context.target.path));
  if (context?.operation) span.setAttribute('sallyport.operation', context.operation.name);
  if (denial !== undefined) span.setAttribute('sallyport.reason', denial.reason);
  if (upstream !== undefined) span.setAttribute('sallyport.upstream.status_code', upstream.status);
  if (evidence.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
}

function readTraceparent(text: string): Link | null {
  const parts = TRACEPARENT.exec(text);
  const [, traceId = '', spanId = '', flags = ''] = parts ?? [];
  if (parts === null || ZEROS.test(traceId) || ZEROS.test(spanId)) return null;
  if (text.startsWith('00') && text.length !== 55) return null;
  return { context: { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true } };
}
