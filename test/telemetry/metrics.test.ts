import { describe, expect, it } from 'vitest';
import type { Evidence } from '../../src/kernel/context.ts';
import { REASONS, type Reason } from '../../src/kernel/denial.ts';
import { aggregateMetrics, createMetrics, type MetricsOptions } from '../../src/telemetry/metrics.ts';
import { allowed, NOW, ROUTE, unjudged } from '../audit/evidence.ts';

const quiet = (options: Partial<MetricsOptions> = {}) =>
  createMetrics({ version: '1.2.3', process: false, ...options });

/** Reads the exposition format: every line is a comment or a sample, every sample belongs to a declared family. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type) {
      types.set(type[1] as string, type[2] as string);
      continue;
    }
    const sample = /^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)$/i.exec(line);
    expect(sample, line).not.toBeNull();
    const [, name = '', labels = '', value = ''] = sample ?? [];
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    expect(types.has(family), line).toBe(true);
    expect(samples.has(name + labels), `twice: ${line}`).toBe(false);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

const refused = (reason: Reason, members: Partial<Evidence> = {}) =>
  unjudged({ denial: { reason }, status: REASONS[reason].status, ...members });

describe('createMetrics', () => {
  it('counts requests by route, operation, reason and status class', async () => {
    const metrics = quiet();
    metrics.observe(allowed(), NOW + 2);
    metrics.observe(allowed(), NOW + 2);
    metrics.observe(allowed({ denial: { reason: 'policy.denied' }, status: 403 }), NOW + 1);
    metrics.observe(refused('request.malformed'), NOW);
    const samples = parse((await metrics.render()).body);
    const count = (labels: string) => samples.get(`sallyport_requests_total{${labels}}`);
    expect(count('route="projects",operation="builds.create",reason="none",status_class="2xx"')).toBe(2);
    expect(count('route="projects",operation="builds.create",reason="policy.denied",status_class="4xx"')).toBe(1);
    expect(count('route="none",operation="none",reason="request.malformed",status_class="4xx"')).toBe(1);
  });

  it('names the route of a request that was refused before its context was complete', async () => {
    const metrics = quiet();
    metrics.observe(refused('request.credentials_missing', { route: ROUTE }), NOW);
    expect((await metrics.render()).body).toContain(
      'route="projects",operation="none",reason="request.credentials_missing"',
    );
  });

  it('counts what was sent nowhere under no status class', async () => {
    const metrics = quiet();
    metrics.observe(unjudged({ denial: { reason: 'forward.client_closed' } }), NOW);
    expect((await metrics.render()).body).toContain('reason="forward.client_closed",status_class="none"} 1');
  });

  it('observes only the stages that a request reached, and the whole', async () => {
    const metrics = quiet();
    metrics.observe(allowed(), NOW + 4);
    metrics.observe(unjudged({ timings: { request: 0.02, token: 0, proof: 0, policy: 0, forward: 0 } }), NOW + 1);
    const samples = parse((await metrics.render()).body);
    expect(samples.get('sallyport_stage_seconds_count{stage="request"}')).toBe(2);
    expect(samples.get('sallyport_stage_seconds_count{stage="proof"}')).toBe(1);
    expect(samples.get('sallyport_stage_seconds_bucket{stage="proof",le="0.00005"}')).toBe(0);
    expect(samples.get('sallyport_stage_seconds_bucket{stage="proof",le="0.0001"}')).toBe(1);
    expect(samples.get('sallyport_request_seconds_count')).toBe(2);
    expect(samples.get('sallyport_request_seconds_sum')).toBeCloseTo(0.005);
    expect(samples.get('sallyport_request_seconds_bucket{le="+Inf"}')).toBe(2);
  });

  it('counts what was exchanged with the upstream', async () => {
    const metrics = quiet();
    metrics.observe(allowed(), NOW);
    metrics.observe(allowed({ upstream: { status: 0, requestBytes: 1, responseBytes: 0, complete: false } }), NOW);
    const samples = parse((await metrics.render()).body);
    expect(samples.get('sallyport_upstream_responses_total{route="projects",status_class="2xx"}')).toBe(1);
    expect(samples.get('sallyport_upstream_responses_total{route="projects",status_class="none"}')).toBe(1);
    expect(samples.get('sallyport_upstream_request_bytes_total{route="projects"}')).toBe(6);
    expect(samples.get('sallyport_upstream_response_bytes_total{route="projects"}')).toBe(7);
    expect(samples.get('sallyport_upstream_incomplete_total{route="projects"}')).toBe(1);
  });

  it('survives odd clocks and statuses', async () => {
    const metrics = quiet();
    metrics.observe(allowed({ status: 999 }), NOW - 1000);
    metrics.observe(allowed({ status: Number.NaN, receivedAt: Number.NaN }), NOW);
    const samples = parse((await metrics.render()).body);
    expect(samples.get('sallyport_request_seconds_sum')).toBe(0);
  });

  it('cardinality: who has no valid token can make no series by operation', async () => {
    const metrics = quiet();
    for (let i = 0; i < 5000; i++) {
      const context = { route: ROUTE, operation: { name: `operation.${i}` } } as unknown as NonNullable<
        Evidence['context']
      >;
      metrics.observe(refused('token.signature', { context }), NOW);
    }
    const names = [...parse((await metrics.render()).body).keys()].filter((name) =>
      name.startsWith('sallyport_requests_total'),
    );
    expect(names).toEqual([
      'sallyport_requests_total{route="projects",operation="none",reason="token.signature",status_class="4xx"}',
    ]);
  });

  it('cardinality: operations past the limit are counted together, none is lost', async () => {
    const metrics = quiet();
    for (let i = 0; i < 5000; i++) {
      const { context } = allowed();
      const operation = { ...context?.operation, name: `operation.${i}` };
      metrics.observe(allowed({ context: { ...context, operation } as NonNullable<Evidence['context']> }), NOW);
    }
    const samples = [...parse((await metrics.render()).body)].filter(([name]) =>
      name.startsWith('sallyport_requests_total'),
    );
    expect(samples.length).toBeLessThanOrEqual(2001);
    expect(samples.reduce((sum, [, value]) => sum + value, 0)).toBe(5000);
    expect(samples.some(([name]) => name.includes('operation="other"'))).toBe(true);
  });

  it('escapes label values', async () => {
    const metrics = quiet({ version: '1"2\\3\n4' });
    expect((await metrics.render()).body).toContain('version="1\\"2\\\\3\\n4"');
  });

  it('shows the state of the parts when asked, and measures the process', async () => {
    let hits = 0;
    const metrics = createMetrics({
      version: '1.2.3',
      sources: {
        caches: () => ({ tokens: { entries: 1, hits, misses: 3 } }),
        replay: () => [{ kind: 'redis', up: false, entries: null, first: 5, used: 2, unavailable: 1, losses: 0 }],
        policy: () => ({ revision: 'r1', activatedAt: NOW, activations: 2, failures: 1 }),
        records: () => ({
          available: true,
          summarized: 4,
          sinks: [{ name: 'file', up: true, queued: 1, written: 9, spooled: 2, failures: 3 }],
        }),
        connections: () => 7,
        refusals: () => 3,
      },
    });
    hits = 11;
    const { contentType, body } = await metrics.render();
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    const samples = parse(body);
    const expected: Record<string, number> = {
      'sallyport_cache_hits_total{cache="tokens"}': 11,
      'sallyport_replay_claims_total{store="redis",outcome="used"}': 2,
      'sallyport_replay_store_up{store="redis"}': 0,
      'sallyport_policy_info{revision="r1"}': 1,
      sallyport_policy_activated_timestamp_seconds: NOW / 1000,
      'sallyport_policy_reloads_total{outcome="failure"}': 1,
      sallyport_records_available: 1,
      'sallyport_records_written_total{sink="file"}': 9,
      sallyport_records_summarized_total: 4,
      sallyport_connections: 7,
      sallyport_refusals_waiting: 3,
    };
    for (const [name, value] of Object.entries(expected)) expect(samples.get(name), name).toBe(value);
    expect(samples.has('sallyport_replay_entries{store="redis"}')).toBe(false);
    expect(samples.get('process_cpu_user_seconds_total')).toBeGreaterThan(0);
  });
});

describe('aggregateMetrics', () => {
  it('sums counters, histograms and sizes of several processes, and shows states at their worst', async () => {
    const one = quiet({
      sources: {
        replay: () => [{ kind: 'redis', up: true, entries: 1, first: 1, used: 0, unavailable: 0, losses: 0 }],
      },
    });
    const two = quiet({
      sources: {
        replay: () => [{ kind: 'redis', up: false, entries: 2, first: 2, used: 0, unavailable: 0, losses: 0 }],
      },
    });
    one.observe(allowed(), NOW + 1);
    two.observe(allowed(), NOW + 1);
    two.observe(allowed({ denial: { reason: 'policy.denied' }, status: 403 }), NOW + 1);
    const snapshots = await Promise.all([one.snapshot(), two.snapshot()]);
    const samples = parse((await aggregateMetrics(structuredClone(snapshots))).body);
    expect(
      samples.get(
        'sallyport_requests_total{route="projects",operation="builds.create",reason="none",status_class="2xx"}',
      ),
    ).toBe(2);
    expect(
      samples.get(
        'sallyport_requests_total{route="projects",operation="builds.create",reason="policy.denied",status_class="4xx"}',
      ),
    ).toBe(1);
    expect(samples.get('sallyport_request_seconds_count')).toBe(3);
    expect(samples.get('sallyport_request_seconds_bucket{le="+Inf"}')).toBe(3);
    expect(samples.get('sallyport_replay_entries{store="redis"}')).toBe(3);
    expect(samples.get('sallyport_replay_store_up{store="redis"}')).toBe(0);
    expect(samples.get(`sallyport_build_info{version="1.2.3",node_version="${process.version}"}`)).toBe(1);
  });

  it('takes JSON as well as structured clones, and no processes at all', async () => {
    const metrics = quiet();
    metrics.observe(allowed(), NOW + 1);
    const overJson = JSON.parse(JSON.stringify([await metrics.snapshot()])) as object[][];
    expect(parse((await aggregateMetrics(overJson)).body).get('sallyport_request_seconds_count')).toBe(1);
    expect(parse((await aggregateMetrics([])).body).size).toBe(0);
  });
});
