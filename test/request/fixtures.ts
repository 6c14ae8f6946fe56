import type { Evidence, Peer, Route } from '../../src/kernel/context.ts';
import type { Reason } from '../../src/kernel/denial.ts';
import type { Checked } from '../../src/kernel/result.ts';

/** A route with nothing special, and whatever a test changes. */
export function makeRoute(changes: Partial<Route> = {}): Route {
  return {
    name: 'projects',
    hosts: ['cloud.example.com'],
    pathPrefix: '/v1/projects',
    resource: 'https://cloud.example.com/v1',
    origin: 'https://cloud.example.com',
    bindings: ['dpop', 'mtls'],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    body: 'none',
    bodyLimitBytes: 65_536,
    websocket: false,
    trailers: { request: [], response: [] },
    bodyPauseMs: null,
    expiryGraceMs: 60_000,
    targetRules: { encodedSlash: false, emptySegments: false, dotSegmentsInKeys: false },
    nonceRequired: false,
    replay: 'memory',
    resourceMetadata: 'https://cloud.example.com/.well-known/oauth-protected-resource/v1',
    ...changes,
  };
}

/** The other end of a connection without TLS. */
export const PLAIN_PEER: Peer = { serverName: null, certificate: null, certificateField: null };

/** Evidence as the gateway makes it before stage 1. */
export function makeEvidence(): Evidence {
  return {
    id: 'decision-1',
    receivedAt: 1_795_376_000_000,
    peerAddress: '192.0.2.7',
    httpVersion: '1.1',
    method: '',
    rawTarget: '',
    status: 0,
    timings: { request: 0, token: 0, proof: 0, policy: 0, forward: 0 },
  };
}

/** The reason of a refusal, or `passed`. */
export function outcomeOf(checked: Checked<unknown>): Reason | 'passed' {
  return checked.ok ? 'passed' : checked.denial.reason;
}

/** The value of a check that must have passed. */
export function valueOfPassed<T>(checked: Checked<T>): T {
  if (!checked.ok) throw new Error(`refused with ${checked.denial.reason}`);
  return checked.value;
}
