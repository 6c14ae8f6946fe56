import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Evidence } from '../../src/kernel/context.ts';
import { createDecider } from '../../src/policy/decide.ts';
import type { LoadedPolicy } from '../../src/policy/load.ts';
import { type AuthorizedChanges, makeAuthorized, makeEvidence } from '../support/authorized.ts';
import { loadRego, regoEngine } from '../support/rego.ts';

/** The answer to a path is what data says, so that a policy can say anything. */
const REGO = `package sallyport

decision := data.answers[input.request.path]

decision := {"allow": true} if input.request.path == "/conflict"

decision := {"allow": false} if input.request.path == "/conflict"

decision := {"allow": 1 / count(input.request.query)} if input.request.path == "/divide"

decision := {"allow": count(numbers.range(1, 5000000)) > 0} if input.request.path == "/memory"

decision := {"allow": sprintf("%c", [65]) == "A"} if input.request.path == "/built-in"

decision := {"allow": input.request.time == time.now_ns() / 1000000000} if input.request.path == "/time"

decision := {"allow": false, "reasons": [{"code": input.token.claims.code}]} if input.request.path == "/echo"
`;

const ANSWERS = {
  '/allowed': { allow: true, reasons: [{ code: 'fine' }], obligations: [{ type: 'deadline_ms', milliseconds: 1500 }] },
  '/denied': { allow: false, reasons: [{ code: 'not_today', message: 'Come back tomorrow.' }] },
  '/scope': { allow: false, reasons: [{ code: 'insufficient_scope' }], requires: { scopes: ['a'] } },
  '/details': { allow: false, reasons: [{ code: 'not_covered_by_authorization_details' }] },
  '/empty': {},
  '/text': 'yes',
  '/empty-text': '',
  '/number': 1,
  '/true': true,
  '/null': null,
  '/list': [{ allow: true }],
  '/allow-text': { allow: 'true' },
  '/unknown-member': { allow: true, admin: true },
  '/unknown-obligation': { allow: true, obligations: [{ type: 'require_approval' }] },
};

let policy: LoadedPolicy;

beforeAll(async () => {
  policy = await loadRego(REGO, { data: { answers: ANSWERS } });
});

afterAll(() => regoEngine.close());

/** Decides on a request for a path, and shows what the evidence then says. */
function decide(path: string, changes: AuthorizedChanges = {}, live: () => LoadedPolicy = () => policy) {
  const request = makeAuthorized({ path, ...changes });
  const { decision: _, ...evidence }: Evidence = makeEvidence(request);
  const result = createDecider({ policy: live })(request.context, request.token, request.proof, evidence);
  return { result, evidence: evidence as Evidence, outcome: result.ok ? 'allowed' : result.denial.reason };
}

describe('a decision', () => {
  it('carries reasons, obligations, the answer itself and the revision', () => {
    const { result, evidence } = decide('/allowed');
    expect(result).toEqual({
      ok: true,
      value: {
        obligations: {
          setHeaders: [],
          removeResponseHeaders: [],
          maximumBodyBytes: null,
          deadlineMs: 1500,
          userAuthentication: null,
          rateClasses: [],
        },
        revision: policy.revision,
        result: ANSWERS['/allowed'],
        reasons: [{ code: 'fine' }],
      },
    });
    expect(evidence).toMatchObject({ policyRevision: policy.revision, policyResult: ANSWERS['/allowed'] });
    expect(JSON.parse(evidence.policyInput ?? '')).toMatchObject({ version: 1, request: { path: '/allowed' } });
  });

  it('sees the time of the request, not of the clock', () => {
    expect(decide('/time').outcome).toBe('allowed');
  });

  it('is by one version of the policy: the one of the moment', async () => {
    const other = await loadRego('package sallyport\n\ndecision := {"allow": true}\n');
    let live = policy;
    expect(decide('/denied', {}, () => live).outcome).toBe('policy.denied');
    live = other;
    const { outcome, evidence } = decide('/denied', {}, () => live);
    expect({ outcome, revision: evidence.policyRevision }).toEqual({ outcome: 'allowed', revision: other.revision });
  });
});

describe('a refusal', () => {
  it.each([
    ['/denied', 'policy.denied'],
    ['/scope', 'policy.insufficient_scope'],
    ['/details', 'policy.insufficient_authorization_details'],
    ['/undefined', 'policy.undefined'],
    ['/divide', 'policy.undefined'],
    ['/empty', 'policy.malformed'],
    ['/text', 'policy.malformed'],
    ['/empty-text', 'policy.malformed'],
    ['/number', 'policy.malformed'],
    ['/true', 'policy.malformed'],
    ['/null', 'policy.malformed'],
    ['/list', 'policy.malformed'],
    ['/allow-text', 'policy.malformed'],
    ['/unknown-member', 'policy.malformed'],
    ['/unknown-obligation', 'policy.unknown_obligation'],
    ['/conflict', 'policy.failed'],
    ['/memory', 'policy.failed'],
    ['/built-in', 'policy.failed'],
  ])('of %s is %s, and the record can say what was asked and answered', (path, reason) => {
    const { outcome, evidence } = decide(path);
    expect(outcome).toBe(reason);
    expect(evidence.policyRevision).toBe(policy.revision);
    expect(evidence.policyResult).toEqual((ANSWERS as Record<string, unknown>)[path]);
    expect(JSON.parse(evidence.policyInput ?? '')).toMatchObject({ request: { path } });
    expect(evidence.decision).toBeUndefined();
    expect(decide('/allowed').outcome).toBe('allowed');
  });

  it('policy.denied: passes on the reasons of the policy', () => {
    const { result } = decide('/denied');
    expect(result).toEqual({
      ok: false,
      denial: { reason: 'policy.denied', policyReasons: ANSWERS['/denied'].reasons },
    });
  });

  it('policy.insufficient_scope: passes on what would do', () => {
    const { result } = decide('/scope');
    expect(!result.ok && result.denial.requires).toEqual({ scopes: ['a'] });
  });

  it('policy.failed: says why, within bounds', () => {
    const { result } = decide('/conflict');
    expect(!result.ok && result.denial.note).toMatch(/conflict/);
    const talkative = {
      ...policy,
      evaluate: () => {
        throw new Error('x'.repeat(10_000));
      },
    };
    const failed = decide('/any', {}, () => talkative).result;
    expect(!failed.ok && failed.denial).toEqual({ reason: 'policy.failed', note: 'x'.repeat(256) });
  });

  it('policy.malformed: when the answer repeats what a token said and that is no code', () => {
    expect(decide('/echo', { token: { claims: { code: 'fine_code' } } }).outcome).toBe('policy.denied');
    expect(decide('/echo', { token: { claims: { code: 'a\r\nb' } } }).outcome).toBe('policy.malformed');
    expect(decide('/echo', { token: { claims: { code: { allow: true } } } }).outcome).toBe('policy.malformed');
  });

  it('policy.input_too_large: the policy is not asked', () => {
    const { outcome, evidence } = decide('/allowed', { token: { claims: { a: 'x'.repeat(300_000) } } });
    expect(outcome).toBe('policy.input_too_large');
    expect(evidence).toMatchObject({ policyRevision: policy.revision });
    expect(evidence.policyInput).toBeUndefined();
    expect(evidence.policyResult).toBeUndefined();
  });

  it('policy.input_too_large: 50,000 levels of nesting reach no evaluation', () => {
    let value: unknown = 1;
    for (let level = 0; level < 50_000; level++) value = [value];
    expect(decide('/allowed', { token: { claims: { value } } }).outcome).toBe('policy.input_too_large');
    const body = { state: 'parsed', value, head: [], complete: true } as const;
    expect(decide('/allowed', { body }).outcome).toBe('policy.input_too_large');
    expect(decide('/allowed').outcome).toBe('allowed');
  });

  it('half a surrogate pair in a claim is judged like any other text', () => {
    expect(decide('/allowed', { token: { claims: { a: '\ud800', '\udfff': '\\\ud83d' } } }).outcome).toBe('allowed');
  });
});
