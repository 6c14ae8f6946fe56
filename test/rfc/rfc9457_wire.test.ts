import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REASONS } from '../../src/kernel/denial.ts';
import { ORIGIN, type Outcome, PATH, Wire, type WireRequest } from '../support/wire.ts';

/**
 * What a refusal looks like whatever its reason: a problem document (RFC 9457), told from an answer of the cloud by Proxy-Status (RFC 9209),
 * never kept by a cache (RFC 9111), the same for HEAD but for the body (RFC 9110 §9.3.2).
 */

let wire: Wire;
let upstreamGone: Wire;
beforeAll(async () => {
  [wire, upstreamGone] = await Promise.all([Wire.start(), Wire.start()]);
  await upstreamGone.upstream.close();
});
afterAll(async () => {
  await wire.close();
  await upstreamGone.close();
});

const good = (method = 'GET', path = PATH) => {
  const token = wire.token();
  return wire.lines(token, wire.proof(token, { method, path }));
};

/** One request for each status that a caller can bring about, and the error type of RFC 9209 §2.3 that goes with it. */
const REFUSALS: readonly [reason: string, request: () => WireRequest, type: string][] = [
  ['request.target_ambiguous', () => ({ target: '/v1/projects/../projects/p1', lines: good() }), 'http_request_error'],
  ['request.credentials_malformed', () => ({ lines: ['Authorization: DPoP'] }), 'http_request_denied'],
  ['request.credentials_missing', () => ({ lines: [] }), 'http_request_denied'],
  ['proof.missing', () => ({ lines: good().slice(0, 1) }), 'http_request_denied'],
  ['token.expired', () => ({ lines: wire.lines(wire.token({ claims: { exp: 1 } })) }), 'http_request_denied'],
  ['policy.insufficient_scope', () => ({ method: 'DELETE', lines: good('DELETE') }), 'http_request_denied'],
  ['policy.denied', () => ({ target: '/v1/nothing', lines: good('GET', '/v1/nothing') }), 'http_request_denied'],
  ['request.route_unknown', () => ({ target: '/v2', lines: good() }), 'destination_not_found'],
  ['request.method_not_allowed', () => ({ method: 'OPTIONS', lines: good() }), 'http_request_denied'],
  ['request.expectation_unsupported', () => ({ lines: [...good(), 'Expect: everything'] }), 'http_request_error'],
  [
    'request.upgrade_not_allowed',
    () => ({ lines: [...good(), 'Upgrade: websocket', 'Connection: upgrade'] }),
    'http_request_denied',
  ],
];

const one = ({ answer }: Outcome, name: string) => {
  const values = answer.headers[name] ?? [];
  expect([name, values.length]).toEqual([name, 1]);
  return values[0] ?? '';
};

describe('RFC 9457: problem documents', () => {
  it.each(REFUSALS)('RFC 9457 §3: %s', async (reason, request, type) => {
    const outcome = await wire.send(request());
    const row = REASONS[reason as keyof typeof REASONS];
    expect([outcome.problem?.['reason'], outcome.answer.status]).toEqual([reason, row.status]);
    expect(one(outcome, 'content-type')).toBe('application/problem+json');
    expect(one(outcome, 'cache-control')).toBe('no-store');
    expect(one(outcome, 'content-length')).toBe(String(Buffer.byteLength(outcome.answer.body)));
    expect(one(outcome, 'proxy-status')).toBe(`sallyport; error=${type}; details="${reason}"`);
    expect(outcome.problem).toMatchObject({
      type: `urn:sallyport:reason:${reason}`,
      title: row.title,
      status: row.status,
      detail: row.advice,
      decision_id: outcome.record['decision_id'],
    });
    expect(outcome.upstream).toEqual([]);
  });

  it('RFC 9110 §9.3.2: HEAD gets the same header fields and no body', async () => {
    const token = wire.token({ claims: { exp: wire.now } });
    const get = await wire.send({ lines: wire.lines(token) });
    const head = await wire.send({ method: 'HEAD', lines: wire.lines(token) });
    expect(head.answer.body).toBe('');
    const constant = ({ answer }: Outcome) => ({ ...answer.headers, date: undefined });
    expect(constant(head)).toEqual(constant(get));
  });

  it('RFC 9457 §3.2: what the policy says comes with its reasons', async () => {
    const { problem } = await wire.send({ target: '/v1/nothing', lines: good('GET', '/v1/nothing') });
    expect(problem?.['policy_reasons']).toEqual([
      { code: 'operation_unknown', message: 'The request is not exactly one operation of the catalogue.' },
    ]);
  });

  it('RFC 9110 §15.5.6: 405 names the methods', async () => {
    const outcome = await wire.send({ method: 'OPTIONS', lines: good() });
    expect(one(outcome, 'allow')).toBe('GET, HEAD, POST, PUT, PATCH, DELETE');
  });

  it('no word of a request is in the answer to who has not shown a key', async () => {
    const marks = 'MARK-1 MARK-2 MARK-3 MARK-4'.split(' ') as [string, string, string, string];
    const lines = [`Authorization: DPoP ${marks[0]}`, `DPoP: ${marks[1]}`, `X-Mark: ${marks[2]}`];
    const outcome = await wire.send({ target: `${PATH}?${marks[3]}`, lines });
    expect(outcome.answer.status).toBe(401);
    expect(outcome.answer.head + outcome.answer.body).not.toContain('MARK');
  });
});

describe('RFC 9209: Proxy-Status', () => {
  it('RFC 9209 §2.3.2: an upstream that is gone is 502, no fault of the caller', async () => {
    const outcome = await upstreamGone.call();
    expect([outcome.answer.status, outcome.problem?.['reason']]).toEqual([502, 'forward.upstream_unreachable']);
    expect(one(outcome, 'proxy-status')).toBe(
      'sallyport; error=destination_unavailable; details="forward.upstream_unreachable"',
    );
    expect(one(outcome, 'cache-control')).toBe('no-store');
    expect(outcome.answer.headers).not.toHaveProperty('www-authenticate');
    expect(outcome.summary).toMatchObject({ outcome: 'failed', reason: 'forward.upstream_unreachable', status: 502 });
  });

  it('RFC 9209 §2: an answer of the upstream carries none of ours', async () => {
    const outcome = await wire.call();
    expect(outcome.answer.status).toBe(200);
    expect(outcome.answer.headers).not.toHaveProperty('proxy-status');
    expect(outcome.answer.headers['sallyport-decision-id']).toEqual([outcome.record['decision_id']]);
  });

  it('RFC 9110 §10.2.2: answers name no origin but the configured one, whatever Host and forwarding headers say', async () => {
    const lines = [
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Proto: http',
      'Forwarded: host=evil.example;proto=http',
    ];
    const outcome = await wire.send({ lines });
    expect(outcome.answer.head).not.toContain('evil');
    expect(outcome.answer.head).toContain(`resource_metadata="${ORIGIN}/.well-known/oauth-protected-resource/v1"`);
  });
});
