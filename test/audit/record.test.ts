import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RECORD_LIMIT_BYTES, recordFrame, recordLine, summaryLine } from '../../src/audit/record.ts';
import { outcomeOf } from '../../src/audit/summary.ts';
import type { Evidence } from '../../src/kernel/context.ts';
import { allowed, contextOf, NOW, ROUTE, tokenOf, unjudged } from './evidence.ts';

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const FRAME = recordFrame({
  labels: { app: 'sallyport', id: 'p1' },
  entrypoint: 'sallyport/decision',
  bundle: 'policy',
});
const JWS = 'eyJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';

interface Event {
  readonly [member: string]: unknown;
  readonly custom: { readonly sallyport: Record<string, unknown> };
}

const line = (evidence: Evidence) => recordLine(evidence, FRAME, { number: 7, finishedAt: NOW + 3 });

/** Reads a record as a collector does, and holds it to what every record must be. */
function read(evidence: Evidence): Event {
  const text = line(evidence);
  expect(text.endsWith('\n')).toBe(true);
  expect(text.slice(0, -1)).not.toMatch(UNSAFE);
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(RECORD_LIMIT_BYTES);
  return JSON.parse(text) as Event;
}

describe('recordLine', () => {
  it('OPA decision log: has the members of an event, with input and result as they were judged', () => {
    const event = read(allowed({ traceId: '4bf92f3577b34da6a3ce929d0e0e4736' }));
    expect(event).toMatchObject({
      labels: { app: 'sallyport', id: 'p1' },
      decision_id: '0198c1b2-0000-7000-8000-000000000001',
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
      bundles: { policy: { revision: 'r1' } },
      path: 'sallyport/decision',
      input: { version: 1, request: { path: '/v1/projects/p1/builds' } },
      result: { allow: true },
      requested_by: '127.0.0.1',
      timestamp: '2026-11-22T19:33:20.000Z',
      req_id: 7,
      metrics: { timer_rego_query_eval_ns: 20_000, timer_server_handler_ns: 3_000_000 },
    });
    expect(event['error']).toBeUndefined();
    expect(event['erased']).toBeUndefined();
    expect(event['masked']).toBeUndefined();
  });

  it('says who did what, with which token and proof, and what came of it', () => {
    const { custom } = read(allowed({ context: contextOf('/v1/projects/p1/builds', 'dry_run=true') }));
    expect(custom.sallyport).toEqual({
      outcome: 'allowed',
      status: 201,
      route: 'projects',
      method: 'POST',
      host: 'cloud.example.com',
      path: '/v1/projects/p1/builds',
      query: 'dry_run=true',
      operation: { service: 'projects', name: 'builds.create', resource: 'projects/p1/builds', access: 'write' },
      protocol: 'HTTP/1.1',
      peer: '127.0.0.1',
      client: 'wf-4711',
      subject: 'wf-4711',
      job: { provider: 'github', repository: 'acme/infra', run_id: '17' },
      token: {
        kind: 'jwt',
        issuer: 'https://as.example.com',
        jti: 'token-1',
        digest: 'fUHyO2r2Z3DZ53Es',
        expires_at: 1_795_376_600,
      },
      binding: {
        method: 'dpop',
        thumbprint: 'thumb',
        jti_sha256: 'SIerB3hlGumc2e5qNuz91N8irblc1V7Fs5dkr9KUA64',
        issued_at: 1_795_376_000,
      },
      replay: 'redis',
      upstream: { complete: true, status: 201, request_bytes: 5, response_bytes: 7 },
      timings_us: { request: 10, token: 2, proof: 100, policy: 20, forward: 1500 },
    });
  });

  it('request.target_ambiguous: shows what a socket sent, bounded and escaped, when nothing was judged', () => {
    const { custom } = read(
      unjudged({
        method: 'G\u001b[31mET'.repeat(20),
        rawTarget: `/a\n{"outcome":"allowed"}${'x'.repeat(5000)}?access_token=${JWS}&b=1`,
        denial: { reason: 'request.target_ambiguous', note: 'two\nreadings' },
        status: 400,
      }),
    );
    expect(custom.sallyport).toMatchObject({
      outcome: 'refused',
      reason: 'request.target_ambiguous',
      stage: 'request',
      note: 'two\\u000areadings',
      status: 400,
      query: 'access_token=[redacted]&b=1',
    });
    expect(custom.sallyport['path']).toMatch(/^\/a\\u000a\{"outcome":"allowed"\}x+… \(\d+ more\)$/);
    expect((custom.sallyport['method'] as string).length).toBeLessThan(100);
  });

  it('request.malformed: a record without method and target is a record', () => {
    const event = read(unjudged({ method: '', rawTarget: '', denial: { reason: 'request.malformed' }, status: 400 }));
    expect(event.custom.sallyport).toMatchObject({
      outcome: 'refused',
      reason: 'request.malformed',
      method: '',
      path: '',
    });
    expect(event).not.toHaveProperty('input');
    expect(event).not.toHaveProperty('bundles');
  });

  it('names the route of a request refused before its context was complete', () => {
    const { custom } = read(unjudged({ route: ROUTE, denial: { reason: 'request.credentials_missing' }, status: 401 }));
    expect(custom.sallyport).toMatchObject({ route: 'projects', reason: 'request.credentials_missing' });
  });

  it.each(['policy.failed', 'policy.undefined', 'policy.malformed', 'policy.unknown_obligation'] as const)(
    '%s: says in OPA’s own member that there is no usable answer',
    (reason) => {
      const event = read(allowed({ denial: { reason }, status: 403, policyResult: [] }));
      expect(event['error']).toEqual({ code: reason });
      expect(event['result']).toEqual([]);
    },
  );

  it('policy.denied: carries the policy’s own reasons', () => {
    const policyReasons = [{ code: 'job_not_protected', message: `see access_token=abc and ${JWS}` }, { code: 'b' }];
    const { custom } = read(allowed({ denial: { reason: 'policy.denied', policyReasons }, status: 403 }));
    expect(custom.sallyport['policy_reasons']).toEqual([
      { code: 'job_not_protected', message: 'see access_token=[redacted] and [redacted]' },
      { code: 'b' },
    ]);
  });

  it('takes credentials out of the input and says where, by JSON pointer', () => {
    const policyInput = JSON.stringify({
      request: { query: { access_token: ['query-4711'], q: [JWS] }, headers: { cookie: ['cookie-4711'] } },
      body: { nested: [{ client_assertion: 'assertion-4711' }] },
    });
    const text = line(allowed({ policyInput, policyResult: { obligations: [{ password: 'result-4711' }] } }));
    for (const secret of ['query-4711', 'cookie-4711', 'assertion-4711', 'result-4711', 'c2lnbmF0dXJl']) {
      expect(text).not.toContain(secret);
    }
    expect((JSON.parse(text) as Event)['masked']).toEqual([
      '/input/request/query/access_token',
      '/input/request/headers/cookie',
      '/input/body/nested/0/client_assertion',
      '/result/obligations/0/password',
    ]);
  });

  it('takes tokens out of every text of the request', () => {
    const texts = [
      allowed({ context: contextOf(`/v1/${JWS}`, `a=${JWS}`) }),
      allowed({
        token: tokenOf({ subject: 'x' }),
        denial: { reason: 'policy.denied', note: `saw ${JWS}` },
        status: 403,
      }),
      unjudged({ rawTarget: `/x/${JWS}?token=${JWS}` }),
      unjudged({ rawTarget: `/x;access_token=c2lnbmF0dXJl?a=DPoP%20${JWS}` }),
    ].map(line);
    for (const text of texts) expect(text).not.toContain('c2lnbmF0dXJl');
  });

  it('erases the input, then the result, then the details of a record that is too large', () => {
    const large = 'ä'.repeat(40_000);
    const input = read(allowed({ policyInput: JSON.stringify({ large }) }));
    expect(input).toMatchObject({ erased: ['/input'], result: { allow: true } });
    expect(input).not.toHaveProperty('input');

    const both = read(allowed({ policyInput: JSON.stringify({ large }), policyResult: { large } }));
    expect(both).toMatchObject({ erased: ['/input', '/result'], custom: { sallyport: { outcome: 'allowed' } } });

    const details = read(
      allowed({
        context: contextOf(`/${'\u0001'.repeat(8000)}`, '\u0001'.repeat(8000)),
        denial: { reason: 'policy.denied' },
        status: 403,
      }),
    );
    expect(details).toMatchObject({
      erased: ['/input', '/result', '/custom/sallyport'],
      custom: { sallyport: { outcome: 'refused', status: 403, reason: 'policy.denied' } },
    });
  });

  it('names no masked member of an input that it erased', () => {
    const event = read(allowed({ policyInput: JSON.stringify({ cookie: 'x', large: 'x'.repeat(70_000) }) }));
    expect(event['masked']).toBeUndefined();
    expect(event['erased']).toEqual(['/input']);
  });

  it('never writes an input that looks like holding a credential and is not JSON', () => {
    const event = read(allowed({ policyInput: '{"cookie":"secret-4711", broken' }));
    expect(event['erased']).toEqual(['/input']);
  });

  it('erases a result that JSON cannot say', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(read(allowed({ policyResult: cycle }))['erased']).toEqual(['/result']);
    expect(read(allowed({ policyResult: 1n }))['erased']).toEqual(['/result']);
  });

  it('keeps the record when clock and counts are no numbers', () => {
    const event = read(
      allowed({
        receivedAt: Number.NaN,
        status: Number.NaN,
        timings: { request: Number.NaN, token: -1, proof: Infinity, policy: 0, forward: 0 },
      }),
    );
    expect(event).toMatchObject({ timestamp: '1970-01-01T00:00:00.000Z', custom: { sallyport: { status: null } } });
  });

  it('property: whatever stands in the evidence, one safe line of valid JSON', () => {
    const text = fc.string({ unit: 'binary', maxLength: 80 });
    const name = fc.oneof(text, fc.constantFrom('__proto__', 'constructor', '\n{"a":1}', '\u001b[2K', '\ud800', JWS));
    fc.assert(
      fc.property(
        fc.record({ name, path: name, query: name, value: fc.jsonValue() }),
        ({ name, path, query, value }) => {
          const event = read(
            allowed({
              id: name,
              peerAddress: name,
              context: contextOf(path, query),
              token: tokenOf({ subject: name, clientId: path, jti: query, digest: name }),
              denial: { reason: 'policy.denied', note: name, policyReasons: [{ code: name, message: path }] },
              policyInput: JSON.stringify({ [name]: value, [path]: name, value: { [query]: value } }),
              policyResult: { [name]: value },
              policyRevision: name,
            }),
          );
          expect(Object.getPrototypeOf(event)).toBe(Object.prototype);
          expect(event.custom.sallyport['outcome']).toBe('refused');
        },
      ),
    );
  });
});

describe('outcomeOf', () => {
  it.each([
    ['allowed', allowed()],
    ['answered', unjudged({ status: 200 })],
    ['failed', unjudged({ status: 0 })],
    ['refused', allowed({ denial: { reason: 'policy.denied' } })],
    ['refused', unjudged({ denial: { reason: 'proof.replayed' } })],
    ['failed', allowed({ denial: { reason: 'forward.upstream_broken' } })],
    ['failed', allowed({ denial: { reason: 'forward.client_closed' } })],
    ['failed', unjudged({ denial: { reason: 'proof.replay_store_unavailable' } })],
    ['failed', unjudged({ denial: { reason: 'gateway.record_unavailable' } })],
  ] as const)('%s', (outcome, evidence) => {
    expect(outcomeOf(evidence)).toBe(outcome);
  });
});

describe('summaryLine', () => {
  it('gateway.record_unavailable: tells how many refusals it stands for, and when they were', () => {
    const text = summaryLine({ id: 'x', count: 3, first: NOW, last: NOW + 1000 }, FRAME, {
      number: 9,
      finishedAt: NOW,
    });
    expect(JSON.parse(text)).toMatchObject({
      req_id: 9,
      timestamp: '2026-11-22T19:33:20.000Z',
      custom: {
        sallyport: {
          outcome: 'failed',
          reason: 'gateway.record_unavailable',
          count: 3,
          first: '2026-11-22T19:33:20.000Z',
          last: '2026-11-22T19:33:21.000Z',
        },
      },
    });
  });
});

describe('a query of thousands of parameters', () => {
  const query = `first=1&${'token=abcdefgh&'.repeat(500)}last=1`;

  it('is kept in part, and without its secrets, while nobody has shown a good token', () => {
    const { custom } = read(unjudged({ rawTarget: `/v1/x?${query}` })) as { custom: { sallyport: { query: string } } };
    const kept = custom.sallyport.query;
    expect(kept.length).toBeLessThanOrEqual(1100);
    expect(kept).toMatch(/^first=1&token=\[redacted\]/);
    expect(kept).not.toContain('abcdefgh');
  });

  it('one long parameter stays whole until it was looked at', () => {
    const { custom } = read(unjudged({ rawTarget: `/v1/x?a=${JWS}${'A'.repeat(2000)}&b=1` })) as {
      custom: { sallyport: { query: string } };
    };
    expect(custom.sallyport.query).not.toContain(JWS.slice(0, 20));
  });
});
