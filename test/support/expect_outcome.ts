import { expect } from 'vitest';
import { readChallenges } from './challenges.ts';
import type { Outcome } from './wire.ts';

/** Error codes of challenges (RFC 6750 §3.1, RFC 9449 §7.1, and the one for authorization_details). */
type WireError =
  | 'invalid_request'
  | 'invalid_token'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'insufficient_scope'
  | 'insufficient_user_authentication'
  | 'insufficient_authorization_details';

/** What a refusal looks like on the wire: the status, and the error code of the challenge; null: a challenge without one. */
export type WireShape = readonly [status: number, error: WireError | null];

/** Reasons about the proof that are faults of the token: its binding is what does not fit. */
const BINDINGS = [
  'proof.key_mismatch',
  'proof.bound_token_as_bearer',
  'proof.unbound_token',
  'proof.binding_not_allowed',
  'proof.certificate_missing',
];
const SHAPES: Readonly<Record<string, WireShape>> = {
  'request.credentials_missing': [401, null],
  'request.scheme_unsupported': [401, null],
  'request.credentials_malformed': [400, 'invalid_request'],
  'request.credentials_repeated': [400, 'invalid_request'],
  'request.credentials_in_query': [400, 'invalid_request'],
  'request.credentials_in_body': [400, 'invalid_request'],
  'request.proof_repeated': [401, 'invalid_dpop_proof'],
  'proof.nonce_missing': [401, 'use_dpop_nonce'],
  'proof.nonce_stale': [401, 'use_dpop_nonce'],
  'policy.insufficient_user_authentication': [401, 'insufficient_user_authentication'],
  'policy.insufficient_scope': [403, 'insufficient_scope'],
  'policy.insufficient_authorization_details': [403, 'insufficient_authorization_details'],
};

/** The decided table of answers (written here once more, so that a slip in the product's own table shows). */
export function shapeOf(reason: string): WireShape {
  const listed = SHAPES[reason];
  if (listed !== undefined) return listed;
  if (reason.startsWith('token.') || BINDINGS.includes(reason)) return [401, 'invalid_token'];
  if (reason.startsWith('proof.')) return [401, 'invalid_dpop_proof'];
  throw new Error(`no shape for ${reason}`);
}

/** Asserts that a request was refused for this reason: what the caller saw, that the upstream saw nothing, what the record says. */
export function expectRefused(outcome: Outcome, reason: string, scheme: 'DPoP' | 'Bearer' = 'DPoP'): void {
  const [status, error] = shapeOf(reason);
  const { answer, problem, summary } = outcome;
  expect([answer.status, problem?.['reason']]).toEqual([status, reason]);
  expect(problem).toMatchObject({
    status,
    type: `urn:sallyport:reason:${reason}`,
    decision_id: outcome.record['decision_id'],
  });
  expect(answer.headers['cache-control']).toEqual(['no-store']);
  expect(answer.headers['proxy-status']?.[0]).toContain(`details="${reason}"`);
  const challenges = readChallenges(answer.headers['www-authenticate'] ?? []);
  expect(challenges.map(({ parameters }) => parameters['error'])).toEqual(
    challenges.map((_, index) => (index === 0 && error !== null ? error : undefined)),
  );
  if (error !== null) expect(challenges[0]?.scheme).toBe(scheme);
  for (const { parameters } of challenges) expect(parameters['resource_metadata']).toMatch(/^https?:\/\//);
  const proofs = challenges.find((challenge) => challenge.scheme === 'DPoP');
  if (scheme === 'DPoP') expect(proofs?.parameters['algs']).toBe('ES256 PS256 EdDSA');
  expect(outcome.upstream).toEqual([]);
  expect(summary).toMatchObject({ outcome: 'refused', reason, status, stage: reason.slice(0, reason.indexOf('.')) });
}

/** Asserts that a request was let through: exactly once, without its credentials, with a record that says so. */
export function expectAllowed(outcome: Outcome): void {
  const { answer, upstream, summary } = outcome;
  expect([answer.status, outcome.problem?.['reason'], summary['reason']]).toEqual([200, undefined, undefined]);
  expect(upstream).toHaveLength(1);
  const names = upstream[0]?.headers.map(([name]) => name.toLowerCase()) ?? [];
  expect(names.filter((name) => ['authorization', 'dpop', 'cookie'].includes(name))).toEqual([]);
  expect(upstream[0]?.head).not.toMatch(/eyJ[\w-]{20,}/);
  expect(summary).toMatchObject({ outcome: 'allowed', status: 200 });
  expect(JSON.stringify(outcome.record)).not.toMatch(/eyJ[\w-]{20,}/);
}
