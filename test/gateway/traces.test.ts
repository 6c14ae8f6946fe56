import { trace } from '@opentelemetry/api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { OURS, type RecordedSpan, recordSpans } from '../support/recording_tracer.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/recording_upstream.ts';

const CALLERS = '0af7651916cd43dd8448eb211c80319c';
const PATH = '/v1/projects/p1';

let spans: RecordedSpan[];
let upstream: RecordingUpstream;
let gateway: TestGateway;

beforeAll(async () => {
  spans = recordSpans();
  upstream = await startRecordingUpstream();
  gateway = await startTestGateway({ upstream: upstream.origin });
});

afterAll(async () => {
  await gateway.close();
  await upstream.close();
  trace.disable();
});

it('each request has a span of its own trace, ended with what became of it, and named in its record', async () => {
  const headers = await gateway.headers('GET', PATH);
  const traceparent = `00-${CALLERS}-b7ad6b7169203331-01`;
  for (const status of [200, 401]) {
    const response = await fetch(gateway.origin + PATH, { headers: { ...headers, traceparent } });
    await response.arrayBuffer();
    expect(response.status).toBe(status);
  }
  const records = await gateway.records(2);
  for (const record of records) {
    expect(record).toMatchObject({ trace_id: OURS, custom: { sallyport: { caller_trace_id: CALLERS } } });
  }
  expect(spans.map(({ ended }) => ended)).toEqual([true, true]);
  expect(spans.map(({ attributes }) => attributes['sallyport.decision_id'])).toEqual(
    records.map((record) => record['decision_id']),
  );
  expect(spans[0]?.attributes).toMatchObject({ 'http.response.status_code': 200, 'url.path': PATH });
  expect(spans[1]?.attributes).toMatchObject({ 'sallyport.reason': 'proof.replayed' });
});
