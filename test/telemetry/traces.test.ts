import { trace } from '@opentelemetry/api';
import { afterEach, describe, expect, it } from 'vitest';
import { createTraces } from '../../src/telemetry/traces.ts';
import { allowed, contextOf, unjudged } from '../audit/evidence.ts';
import { OURS, recordSpans } from '../support/recording_tracer.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = `00-${TRACE}-b7ad6b7169203331-01`;

afterEach(() => trace.disable());

describe('createTraces without a provider', () => {
  it('records nothing, and notes the trace that the caller named', () => {
    const traces = createTraces('1.2.3');
    const evidence = unjudged();
    const span = traces.begin(evidence, PARENT);
    traces.end(span, evidence);
    expect(span).toBeNull();
    expect(evidence.traceId).toBeUndefined();
    expect(evidence.callerTraceId).toBe(TRACE);
  });

  it.each([
    ['absent', undefined],
    ['empty', ''],
    ['version ff', PARENT.replace(/^00/, 'ff')],
    ['upper case', PARENT.toUpperCase()],
    ['no trace', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`],
    ['no span', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['more than version 00 allows', `${PARENT}-more`],
    ['a line that is forged', `${PARENT}\n{"forged":true}`],
    ['joined twice', `${PARENT}, ${PARENT}`],
  ])('W3C Trace Context §3.2: takes no trace from a traceparent that is %s', (_what, header) => {
    const evidence = unjudged();
    createTraces('1.2.3').begin(evidence, header);
    expect(evidence.callerTraceId).toBeUndefined();
  });

  it('W3C Trace Context §3.2.1: reads what it knows of a higher version', () => {
    const evidence = unjudged();
    createTraces('1.2.3').begin(evidence, `${PARENT.replace(/^00/, '01')}-more`);
    expect(evidence.callerTraceId).toBe(TRACE);
  });
});

describe('createTraces with a provider', () => {
  it('links the caller, never makes it the parent, and notes our trace for the record', () => {
    const spans = recordSpans();
    const evidence = allowed();
    const traces = createTraces('1.2.3');
    traces.end(traces.begin(evidence, PARENT), evidence);
    expect(evidence).toMatchObject({ traceId: OURS, callerTraceId: TRACE });
    expect(spans[0]?.options.links?.[0]?.context).toMatchObject({ traceId: TRACE, isRemote: true });
    expect(spans[0]?.ended).toBe(true);
    expect(spans[0]?.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.response.status_code': 201,
      'sallyport.operation': 'builds.create',
    });
  });

  it('carries no token, query or credential', () => {
    const spans = recordSpans();
    const jws = 'eyJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';
    const evidence = allowed({ context: contextOf(`/v1/projects/${jws}`, 'access_token=query-4711') });
    const traces = createTraces('1.2.3');
    traces.end(traces.begin(evidence, undefined), evidence);
    expect(JSON.stringify(spans)).not.toMatch(/c2lnbmF0dXJl|query-4711/);
  });

  it('marks what failed, not what was refused', () => {
    const spans = recordSpans();
    const traces = createTraces('1.2.3');
    const failed = unjudged({ denial: { reason: 'forward.upstream_timeout' }, status: 504 });
    const refused = unjudged({ denial: { reason: 'policy.denied' }, status: 403 });
    for (const evidence of [failed, refused]) traces.end(traces.begin(evidence, undefined), evidence);
    expect(spans.map((span) => span.status === undefined)).toEqual([false, true]);
    expect(spans[1]?.attributes['sallyport.reason']).toBe('policy.denied');
  });
});
