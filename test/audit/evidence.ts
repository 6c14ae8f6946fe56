import type {
  Decision,
  Evidence,
  RequestContext,
  Route,
  VerifiedProof,
  VerifiedToken,
} from '../../src/kernel/context.ts';

/** A time that JSON shows as 2026-11-22T19:33:20.000Z. */
export const NOW = 1_795_376_000_000;

/** What the tests need of a route. */
export const ROUTE = { name: 'projects', pathPrefix: '/v1/projects', replay: 'redis' } as Route;

/** A request of which nothing is judged yet. */
export function unjudged(members: Partial<Evidence> = {}): Evidence {
  return {
    id: '0198c1b2-0000-7000-8000-000000000001',
    receivedAt: NOW,
    peerAddress: '127.0.0.1',
    httpVersion: '1.1',
    method: 'GET',
    rawTarget: '/v1/projects/p1',
    status: 0,
    timings: { request: 0, token: 0, proof: 0, policy: 0, forward: 0 },
    ...members,
  };
}

/** The context of a well-formed request. */
export function contextOf(path = '/v1/projects/p1/builds', query: string | null = null): RequestContext {
  return {
    id: '0198c1b2-0000-7000-8000-000000000001',
    method: 'POST',
    route: ROUTE,
    host: 'cloud.example.com',
    credentials: { scheme: 'dpop' },
    target: { path, segments: path.slice(1).split('/'), query, queryParameters: {} },
    operation: { service: 'projects', name: 'builds.create', resource: 'projects/p1/builds', access: 'write' },
  } as unknown as RequestContext;
}

/** A verified token with a job. */
export function tokenOf(members: Partial<VerifiedToken> = {}): VerifiedToken {
  return {
    kind: 'jwt',
    digest: 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo',
    issuer: 'https://as.example.com',
    subject: 'wf-4711',
    clientId: 'wf-4711',
    jti: 'token-1',
    expiresAt: 1_795_376_600,
    job: { provider: 'github', repository: 'acme/infra', run_id: '17', workflow: null, ref: null },
    ...members,
  } as unknown as VerifiedToken;
}

/** A request that was let through to its end. */
export function allowed(members: Partial<Evidence> = {}): Evidence {
  return unjudged({
    method: 'POST',
    context: contextOf(),
    token: tokenOf(),
    proof: { method: 'dpop', thumbprint: 'thumb', jti: 'proof-1', issuedAt: 1_795_376_000 } as unknown as VerifiedProof,
    decision: { revision: 'r1', reasons: [], result: { allow: true } } as unknown as Decision,
    policyInput: JSON.stringify({ version: 1, request: { path: '/v1/projects/p1/builds' } }),
    policyResult: { allow: true },
    policyRevision: 'r1',
    status: 201,
    upstream: { status: 201, requestBytes: 5, responseBytes: 7, complete: true },
    timings: { request: 0.01, token: 0.002, proof: 0.1, policy: 0.02, forward: 1.5 },
    ...members,
  });
}
