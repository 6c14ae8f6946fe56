import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Route } from '../../src/kernel/context.ts';
import { type Denial, REASONS, type Reason, type ReasonRow } from '../../src/kernel/denial.ts';
import { type Answer, createAnswers, type Refusal } from '../../src/request/answer.ts';
import { proxyStatusOf } from '../../src/request/proxy_status.ts';
import { formatAnswer } from '../../src/request/raw_answer.ts';
import { makeRoute } from './fixtures.ts';

const route = makeRoute();
const options = {
  algorithms: ['ES256', 'PS256', 'EdDSA'],
  certificates: true,
  routes: [route, makeRoute({ methods: ['GET', 'OPTIONS'] })],
};
const answers = createAnswers(options);

function answer(denial: Denial | Reason, changes: Partial<Refusal> = {}): Answer {
  const full = typeof denial === 'string' ? { reason: denial } : denial;
  return answers({ denial: full, route, scheme: 'dpop', decisionId: 'decision-1', method: 'GET', ...changes });
}

/** Every value of a header, in order. */
function valuesOf({ headers }: Answer, name: string): string[] {
  return headers.filter((_, index) => index % 2 === 1 && headers[index - 1] === name);
}

const challenges = (denial: Denial | Reason, changes: Partial<Refusal> = {}) =>
  valuesOf(answer(denial, changes), 'WWW-Authenticate');
const bodyOf = ({ body }: Answer) => JSON.parse(body) as Record<string, unknown>;
const withBindings = (...bindings: Route['bindings']) => ({ route: makeRoute({ bindings }) });

const METADATA = 'resource_metadata="https://cloud.example.com/.well-known/oauth-protected-resource/v1"';
const ALGS = 'algs="ES256 PS256 EdDSA"';
const reasons = Object.entries(REASONS) as [Reason, ReasonRow][];

describe('every refusal', () => {
  it.each(reasons)('%s', (reason, row) => {
    const made = answer(reason);
    expect(made.status).toBe(row.status);
    expect(valuesOf(made, 'Content-Type')).toEqual(['application/problem+json']); // RFC 9457 §3
    expect(valuesOf(made, 'Content-Length')).toEqual([String(Buffer.byteLength(made.body))]);
    expect(valuesOf(made, 'Cache-Control')).toEqual(['no-store']);
    expect(valuesOf(made, 'Proxy-Status')).toEqual([proxyStatusOf(reason)]);
    expect(valuesOf(made, 'Retry-After')).toEqual([429, 503].includes(row.status) ? ['1'] : []);
    expect(bodyOf(made)).toEqual({
      type: `urn:sallyport:reason:${reason}`,
      title: row.title,
      status: row.status,
      detail: row.advice,
      reason,
      decision_id: 'decision-1',
    });
    // RFC 9110 §15.5.2: 401 has a challenge. RFC 6750 §3: an error code is in one.
    const shown = challenges(reason);
    expect(shown.length > 0).toBe(row.error !== null || row.challenge === true);
    expect(row.status !== 401 || shown.length > 0).toBe(true);
    const errors = shown.filter((value) => value.includes('error='));
    expect(errors).toHaveLength(row.error === null ? 0 : 1);
    if (row.error !== null) expect(errors[0]).toContain(`error="${row.error}", error_description="${row.title}"`);
  });

  it('RFC 9110 §9.3.2: HEAD has the same header fields and no body', () => {
    const head = answer('token.expired', { method: 'HEAD' });
    expect(head.body).toBe('');
    expect(head.headers).toEqual(answer('token.expired').headers);
  });
});

describe('challenges', () => {
  it('RFC 6750 §3.1: no credentials, no error code; one challenge for each scheme', () => {
    expect(challenges('request.credentials_missing', { scheme: null })).toEqual([
      `DPoP ${ALGS}, ${METADATA}`,
      `Bearer ${METADATA}`,
    ]);
    expect(challenges('request.scheme_unsupported', { scheme: null })).toEqual([
      `DPoP ${ALGS}, ${METADATA}`,
      `Bearer ${METADATA}`,
    ]);
  });

  it.each<[Route['bindings'], string[]]>([
    [['dpop'], ['DPoP']],
    [['mtls'], ['Bearer']],
    [['bearer'], ['Bearer']],
    [['bearer', 'mtls'], ['Bearer']],
    [
      ['mtls', 'dpop'],
      ['DPoP', 'Bearer'],
    ],
    [
      ['bearer', 'dpop', 'mtls'],
      ['DPoP', 'Bearer'],
    ],
  ])('bindings %j: schemes %j', (bindings, schemes) => {
    const shown = challenges('request.credentials_missing', { scheme: null, ...withBindings(...bindings) });
    expect(shown.map((value) => value.split(' ')[0])).toEqual(schemes);
  });

  it.each<[Route['bindings'], string[]]>([
    [['dpop', 'mtls'], ['DPoP']],
    [
      ['dpop', 'mtls', 'bearer'],
      ['DPoP', 'Bearer'],
    ],
    [['bearer', 'mtls'], ['Bearer']],
  ])('where no certificate can arrive, bindings %j: schemes %j', (bindings, schemes) => {
    const without = createAnswers({ ...options, certificates: false });
    const refused = (reason: Reason, scheme: Refusal['scheme']) =>
      valuesOf(
        without({
          denial: { reason },
          route: makeRoute({ bindings }),
          scheme,
          decisionId: 'decision-1',
          method: 'GET',
        }),
        'WWW-Authenticate',
      );
    const names = (values: readonly string[]) => values.map((value) => value.split(' ')[0]);
    expect(names(refused('request.credentials_missing', null))).toEqual(schemes);
    // Whoever tries all the same is told in a scheme that would do.
    const [first, ...others] = refused('proof.certificate_missing', 'bearer');
    expect(first).toMatch(/^\w+ error="invalid_token"/);
    expect(names([first as string, ...others]).sort()).toEqual([...schemes].sort());
  });

  it('RFC 9449 §7.1: anything wrong with the proof', () => {
    const first = `DPoP error="invalid_dpop_proof", error_description="The DPoP proof was used before", ${ALGS}, ${METADATA}`;
    expect(challenges('proof.replayed')).toEqual([first, `Bearer ${METADATA}`]);
    expect(challenges('proof.replayed', withBindings('dpop'))).toEqual([first]);
    // The scheme that was used makes no difference: the error belongs to DPoP.
    expect(challenges('request.proof_repeated', { scheme: 'bearer' })[0]).toMatch(/^DPoP error="invalid_dpop_proof"/);
    // A route without DPoP says what it takes, not that a proof would help.
    expect(challenges('request.proof_repeated', withBindings('mtls'))).toEqual([`Bearer ${METADATA}`]);
  });

  it('invalid_token is told on the scheme that was used, if the route has it', () => {
    const bearerError = `Bearer error="invalid_token", error_description="The access token has expired", ${METADATA}`;
    const dpopError = `DPoP error="invalid_token", error_description="The access token has expired", ${ALGS}, ${METADATA}`;
    expect(challenges('token.expired', { scheme: 'dpop' })).toEqual([dpopError, `Bearer ${METADATA}`]);
    expect(challenges('token.expired', { scheme: 'bearer' })).toEqual([bearerError, `DPoP ${ALGS}, ${METADATA}`]);
    expect(challenges('token.expired', { scheme: null })).toEqual([dpopError, `Bearer ${METADATA}`]);
    expect(challenges('proof.bound_token_as_bearer', { scheme: 'bearer', ...withBindings('dpop') })[0]).toMatch(
      /^DPoP error="invalid_token"/,
    );
    expect(challenges('token.expired', { scheme: 'dpop', ...withBindings('mtls') })).toEqual([bearerError]);
  });

  it('400 and 403 name the scheme in error only', () => {
    expect(challenges('request.credentials_repeated', { scheme: null })).toEqual([
      `DPoP error="invalid_request", error_description="More than one credential was presented", ${ALGS}, ${METADATA}`,
    ]);
    expect(challenges('policy.insufficient_authorization_details')).toEqual([
      `DPoP error="insufficient_authorization_details", error_description="The authorization_details of the access token do not cover this operation", ${ALGS}, ${METADATA}`,
    ]);
  });

  it('RFC 6750 §3.1: insufficient_scope names the scope that would do', () => {
    const scoped = (scopes: string[]) =>
      challenges({ reason: 'policy.insufficient_scope', requires: { scopes } }, { scheme: 'bearer' });
    const start =
      'Bearer error="insufficient_scope", error_description="The scope of the access token does not cover this operation"';
    expect(scoped(['builds:write', 'builds:read'])).toEqual([
      `${start}, scope="builds:write builds:read", ${METADATA}`,
    ]);
    expect(scoped([])).toEqual([`${start}, ${METADATA}`]);
    expect(scoped(['a"b', 'a\\b', 'a b', 'a\r\nX: y', '', 'é', 'ok'])).toEqual([`${start}, scope="ok", ${METADATA}`]);
    expect(scoped(['x'.repeat(2000)])).toEqual([`${start}, ${METADATA}`]);
    // Of another reason the scope is nobody's business in the header.
    expect(
      challenges({ reason: 'policy.insufficient_authorization_details', requires: { scopes: ['a'] } })[0],
    ).not.toContain('scope=');
  });

  it('no challenge where the token would not help', () => {
    for (const reason of [
      'policy.denied',
      'request.route_unknown',
      'request.target_ambiguous',
      'forward.upstream_timeout',
    ] as const) {
      expect(challenges(reason)).toEqual([]);
    }
  });

  it('without a route: DPoP, and no metadata', () => {
    expect(challenges('token.expired', { route: null })[0]).toBe(
      `DPoP error="invalid_token", error_description="The access token has expired", ${ALGS}`,
    );
  });
});

describe('other header fields', () => {
  it('RFC 9110 §15.5.6: Allow with 405, of the route or of all routes', () => {
    expect(valuesOf(answer('request.method_not_allowed'), 'Allow')).toEqual(['GET, HEAD, POST, PUT, PATCH, DELETE']);
    expect(valuesOf(answer('request.method_not_allowed', { route: null }), 'Allow')).toEqual([
      'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
    ]);
    expect(valuesOf(answer('request.route_unknown'), 'Allow')).toEqual([]);
  });

  it.each([
    [undefined, '1'],
    [0, '1'],
    [2.2, '3'],
    [30, '30'],
  ])('RFC 9110 §10.2.3: Retry-After with 503, %s seconds: %s', (retryAfterSeconds, value) => {
    const denial = { reason: 'proof.replay_store_unavailable' as const };
    const made = answer(retryAfterSeconds === undefined ? denial : { ...denial, retryAfterSeconds });
    expect(valuesOf(made, 'Retry-After')).toEqual([value]);
  });

  it('RFC 9112 §9.6: closes the connection after framing doubts, or when asked to', () => {
    expect(valuesOf(answer('request.framing'), 'Connection')).toEqual(['close']);
    expect(valuesOf(answer('request.timeout'), 'Connection')).toEqual(['close']);
    expect(valuesOf(answer('token.expired'), 'Connection')).toEqual([]);
    expect(valuesOf(answer('token.expired', { close: true }), 'Connection')).toEqual(['close']);
  });
});

describe('RFC 9209 §2.3: Proxy-Status', () => {
  const REGISTERED = [
    ...['dns_timeout', 'dns_error', 'destination_not_found', 'destination_unavailable', 'destination_ip_prohibited'],
    ...['destination_ip_unroutable', 'connection_refused', 'connection_terminated', 'connection_timeout'],
    ...['connection_read_timeout', 'connection_write_timeout', 'connection_limit_reached', 'tls_protocol_error'],
    ...['tls_certificate_error', 'tls_alert_received', 'http_request_error', 'http_request_denied'],
    ...['http_response_incomplete', 'http_response_header_section_size', 'http_response_header_size'],
    ...['http_response_body_size', 'http_response_trailer_section_size', 'http_response_trailer_size'],
    ...['http_response_transfer_coding', 'http_response_content_coding', 'http_response_timeout'],
    ...['http_upgrade_failed', 'http_protocol_error', 'proxy_internal_response', 'proxy_internal_error'],
    ...['proxy_configuration_error', 'proxy_loop_detected'],
  ];

  it.each(reasons)('%s has a registered error type', (reason) => {
    const [, error = '', details] =
      /^sallyport; error=([a-z_]+); details="([a-z_.]+)"$/.exec(proxyStatusOf(reason)) ?? [];
    expect(REGISTERED).toContain(error);
    expect(details).toBe(reason);
  });

  it.each<[Reason, string]>([
    ['request.framing', 'http_request_error'],
    ['request.target_ambiguous', 'http_request_error'],
    ['request.body_too_large', 'http_request_error'],
    ['request.credentials_missing', 'http_request_denied'],
    ['request.credentials_in_body', 'http_request_denied'],
    ['request.proof_repeated', 'http_request_denied'],
    ['token.expired', 'http_request_denied'],
    ['proof.replayed', 'http_request_denied'],
    ['policy.denied', 'http_request_denied'],
    ['request.route_unknown', 'destination_not_found'],
    ['forward.upstream_unreachable', 'destination_unavailable'],
    ['forward.upstream_timeout', 'http_response_timeout'],
    ['proof.replay_store_unavailable', 'proxy_internal_error'],
    ['gateway.unexpected', 'proxy_internal_error'],
  ])('%s: %s', (reason, error) => {
    expect(proxyStatusOf(reason)).toContain(`error=${error};`);
  });
});

describe('the problem document', () => {
  it('tells the holder of the key what was expected and what was seen', () => {
    const disclosure = {
      expected: { htu: 'https://cloud.example.com/v1', window: 60 },
      seen: { htu: 'http://localhost/v1', iat: 1 },
    };
    expect(bodyOf(answer({ reason: 'proof.target', disclosure }))).toMatchObject(disclosure);
  });

  it('bounds what was seen', () => {
    const seen = bodyOf(
      answer({ reason: 'proof.target', disclosure: { expected: {}, seen: { htu: 'x'.repeat(9000) } } }),
    )['seen'];
    expect((seen as { htu: string }).htu).toHaveLength(2048);
  });

  it('tells what would have sufficed, and the reasons of the policy', () => {
    const requires = { scopes: ['a'], authorization_details: [{ type: 'cloud_api', actions: ['x'] }] };
    const policyReasons = [{ code: 'not_covered', message: 'The item does not cover x.' }, { code: 'other' }];
    const body = bodyOf(answer({ reason: 'policy.insufficient_authorization_details', requires, policyReasons }));
    expect(body).toMatchObject({ required: requires, policy_reasons: policyReasons });
  });

  it('bounds what the policy says', () => {
    const policyReasons = Array.from({ length: 100 }, () => ({ code: 'c'.repeat(9000), message: 'm'.repeat(9000) }));
    const requires = { scopes: ['a'], authorization_details: [{ type: 'x', big: 'y'.repeat(20_000) }] };
    const made = answer({ reason: 'policy.denied', requires, policyReasons });
    expect(bodyOf(made)['required']).toEqual({ scopes: ['a'] });
    expect(made.body.length).toBeLessThan(20_000);
  });

  it('never shows the note, which is for the record', () => {
    const made = answer({ reason: 'token.malformed', note: 'SECRET-NOTE' });
    expect(JSON.stringify(made)).not.toContain('SECRET-NOTE');
  });

  it('keeps to one line of each header whatever the structured fields hold', () => {
    const nasty = fc.string({
      unit: fc.constantFrom('a', '"', '\\', '\r', '\n', '\0', '\u2028', '\ud800', 'é', ' ', ','),
    });
    fc.assert(
      fc.property(nasty, fc.array(nasty), (text, list) => {
        const made = answer({
          reason: 'policy.insufficient_scope',
          requires: { scopes: list },
          disclosure: { expected: { a: text }, seen: { b: text } },
          policyReasons: list.map((message) => ({ code: text, message })),
        });
        for (const part of made.headers) expect(part).toMatch(/^[\x20-\x7e]*$/);
        for (const value of valuesOf(made, 'WWW-Authenticate')) {
          expect(value).toMatch(/^(DPoP|Bearer)( [a-z_]+="[^"\\]*"(, [a-z_]+="[^"\\]*")*)?$/);
        }
        expect(made.body.isWellFormed()).toBe(true);
        expect(bodyOf(made)['seen']).toEqual({ b: text });
      }),
    );
  });
});

describe('an answer for a socket without a response object', () => {
  it('is the same answer, and the connection closes', () => {
    const made = answer('request.framing', { route: null, scheme: null });
    const [head = '', body] = formatAnswer(made, 1_795_376_000_000).split('\r\n\r\n');
    expect(body).toBe(made.body);
    expect(head.split('\r\n')).toEqual([
      'HTTP/1.1 400 Bad Request',
      'Date: Sun, 22 Nov 2026 19:33:20 GMT',
      'Content-Type: application/problem+json',
      `Content-Length: ${Buffer.byteLength(made.body)}`,
      'Cache-Control: no-store',
      'Proxy-Status: sallyport; error=http_request_error; details="request.framing"',
      'Connection: close',
    ]);
  });
});
