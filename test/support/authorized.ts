import { randomUUID } from 'node:crypto';
import {
  type AuthorizedRequest,
  type BodyHandle,
  type Evidence,
  type Obligations,
  type Operation,
  type RequestContext,
  type Route,
  sealAuthorized,
  sealDecision,
  sealProof,
  sealToken,
  type TokenFacts,
} from '../../src/kernel/context.ts';

/** What differs from a plain allowed GET. */
export interface AuthorizedChanges {
  readonly id?: string;
  readonly method?: string;
  readonly path?: string;
  readonly query?: string | null;
  readonly rawHeaders?: readonly string[];
  readonly peerAddress?: string;
  readonly host?: string;
  readonly body?: BodyHandle;
  readonly upgrade?: boolean;
  readonly operation?: Operation | null;
  readonly route?: Partial<Route>;
  readonly token?: Partial<TokenFacts>;
  readonly obligations?: Partial<Obligations>;
  /** That the answer must give; absent: none is due. */
  readonly nonce?: string;
}

/** No body was announced. */
export const NO_BODY: BodyHandle = { state: 'absent', head: [], complete: true };
/** A body follows, and nobody has looked at it. */
export const UNREAD_BODY: BodyHandle = { state: 'not_requested', head: [], complete: false };

const ROUTE: Route = {
  name: 'projects',
  hosts: ['cloud.example.com'],
  pathPrefix: '/v1',
  resource: 'https://cloud.example.com/v1',
  origin: 'https://cloud.example.com',
  bindings: ['dpop'],
  methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
  body: 'none',
  bodyLimitBytes: 65_536,
  websocket: true,
  trailers: { request: [], response: [] },
  bodyPauseMs: null,
  expiryGraceMs: 60_000,
  targetRules: { encodedSlash: false, emptySegments: false, dotSegmentsInKeys: false },
  nonceRequired: false,
  replay: 'memory',
  resourceMetadata: 'https://cloud.example.com/.well-known/oauth-protected-resource/v1',
};

const TOKEN: TokenFacts = {
  kind: 'jwt',
  digest: 'digest',
  issuer: 'https://as.example.com',
  subject: 'repo:acme/infra',
  clientId: 'wf-4711',
  audience: ['https://cloud.example.com/v1'],
  jti: 'token-1',
  issuedAt: 1_795_376_000,
  expiresAt: 4_102_444_800,
  scopes: [],
  authorizationDetails: [],
  confirmation: { jkt: 'thumbprint' },
  job: null,
  clientAuthMethod: null,
  claims: {},
};

const OBLIGATIONS: Obligations = {
  setHeaders: [],
  removeResponseHeaders: [],
  maximumBodyBytes: null,
  deadlineMs: null,
  userAuthentication: null,
  rateClasses: [],
};

/** A request as it looks after all checks, without the checks: for tests of what comes after them. */
export function makeAuthorized(changes: AuthorizedChanges = {}): AuthorizedRequest {
  return sealAuthorized({
    context: makeContext(changes),
    token: sealToken({ ...TOKEN, ...changes.token }),
    proof: sealProof({
      method: 'dpop',
      thumbprint: 'thumbprint',
      certificate: null,
      jti: 'proof-1',
      issuedAt: 1_795_376_000,
      nonce: changes.nonce ?? null,
    }),
    decision: sealDecision({
      obligations: { ...OBLIGATIONS, ...changes.obligations },
      revision: 'r1',
      result: { allow: true },
      reasons: [],
    }),
  });
}

/** The evidence as stage 4 leaves it. */
export function makeEvidence({ context, token, proof, decision }: AuthorizedRequest): Evidence {
  return {
    id: context.id,
    receivedAt: context.receivedAt,
    peerAddress: context.peerAddress,
    httpVersion: '1.1',
    method: context.method,
    rawTarget: context.target.path,
    context,
    token,
    proof,
    decision,
    status: 0,
    timings: { request: 0, token: 0, proof: 0, policy: 0, forward: 0 },
  };
}

function makeContext(changes: AuthorizedChanges): RequestContext {
  const path = changes.path ?? '/v1/projects/p1';
  return {
    id: changes.id ?? randomUUID(),
    receivedAt: 1_795_376_000_000,
    method: changes.method ?? 'GET',
    route: { ...ROUTE, ...changes.route },
    host: changes.host ?? 'cloud.example.com',
    target: { path, segments: path.slice(1).split('/'), query: changes.query ?? null, queryParameters: {} },
    operation: changes.operation ?? null,
    rawHeaders: changes.rawHeaders ?? ['Host', 'cloud.example.com'],
    credentials: { scheme: 'dpop', token: 'token' },
    proof: 'proof',
    certificate: null,
    peerAddress: changes.peerAddress ?? '192.0.2.7',
    httpVersion: '1.1',
    body: changes.body ?? NO_BODY,
    upgrade: changes.upgrade ?? false,
  };
}
