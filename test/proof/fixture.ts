import { randomUUID } from 'node:crypto';
import type { GatewayConfig } from '../../src/config/schema.ts';
import {
  type Binding,
  type ClientCertificate,
  type Confirmation,
  type ReplayClass,
  type RequestContext,
  type Route,
  sealToken,
  type VerifiedToken,
} from '../../src/kernel/context.ts';
import type { Denial, Reason } from '../../src/kernel/denial.ts';
import { sha256Base64url } from '../../src/oauth/thumbprint.ts';
import { Nonces } from '../../src/proof/nonce.ts';
import { type NonceSecrets, secretInMemory } from '../../src/proof/nonce_secrets.ts';
import { createMemoryReplayStore } from '../../src/proof/replay_memory.ts';
import { longestClaim, type ReplayStore } from '../../src/proof/replay_store.ts';
import { createProofVerifier, type ProofVerifier } from '../../src/proof/verifier.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { signJws } from '../support/sign_jws.ts';
import { DPOP } from './replay_fixture.ts';

export { makeKey, type TestKey };

export const ORIGIN = 'https://cloud.example.com';
export const PATH = '/v1/projects/p1';
export const TOKEN = 'an-access-token';
/** Noon of some day: milliseconds since the Unix epoch, not on a whole second. */
export const NOON = 1_795_348_800_400;
export const NOW = Math.floor(NOON / 1000);

/** Members to change; undefined removes one. */
export type Changes = Readonly<Record<string, unknown>>;

/** The text of a proof by this key for the request of `contextOf`, good but for the changes. */
export function proofBy(key: TestKey, claims: Changes = {}, header: Changes = {}): string {
  return signJws(
    defined({ typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk, ...header }),
    defined({ ...goodClaims(), ...claims }),
    key,
  );
}

/** The claims of a good proof for the request of `contextOf`. */
export function goodClaims(): Record<string, unknown> {
  return { jti: randomUUID(), htm: 'GET', htu: ORIGIN + PATH, iat: NOW, ath: sha256Base64url(TOKEN) };
}

function defined(members: Changes): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

/** What differs from a GET with a proof under the DPoP scheme. */
export interface RequestChanges {
  readonly proof: string | null;
  readonly scheme?: 'dpop' | 'bearer';
  readonly method?: string;
  readonly path?: string;
  readonly origin?: string;
  readonly resource?: string;
  readonly bindings?: readonly Binding[];
  readonly certificate?: ClientCertificate | null;
  readonly nonceRequired?: boolean;
  readonly replay?: ReplayClass;
}

/** The request as stage 1 hands it on. */
export function contextOf(changes: RequestChanges): RequestContext {
  const route: Route = {
    name: 'projects',
    hosts: ['cloud.example.com'],
    pathPrefix: '/v1/projects',
    resource: changes.resource ?? `${ORIGIN}/v1`,
    origin: changes.origin ?? ORIGIN,
    bindings: changes.bindings ?? ['dpop', 'mtls'],
    methods: ['GET'],
    body: 'none',
    bodyLimitBytes: 0,
    websocket: false,
    trailers: { request: [], response: [] },
    bodyPauseMs: null,
    expiryGraceMs: 60_000,
    targetRules: { encodedSlash: false, emptySegments: false, dotSegmentsInKeys: false },
    nonceRequired: changes.nonceRequired ?? false,
    replay: changes.replay ?? 'memory',
    resourceMetadata: `${ORIGIN}/.well-known/oauth-protected-resource/v1`,
  };
  const path = changes.path ?? PATH;
  return {
    id: 'request-1',
    receivedAt: NOON,
    method: changes.method ?? 'GET',
    route,
    host: 'cloud.example.com',
    target: { path, segments: path.slice(1).split('/'), query: null, queryParameters: {} },
    operation: null,
    rawHeaders: [],
    credentials: { scheme: changes.scheme ?? 'dpop', token: TOKEN },
    proof: changes.proof,
    certificate: changes.certificate ?? null,
    peerAddress: '127.0.0.1',
    httpVersion: '1.1',
    body: { state: 'absent', head: [], complete: true },
    upgrade: false,
  };
}

/** The token as stage 2 hands it on. */
export function tokenOf(confirmation: Confirmation, text = TOKEN): VerifiedToken {
  return sealToken({
    kind: 'jwt',
    digest: sha256Base64url(text),
    issuer: 'https://as.example.com',
    subject: 'wf-4711',
    clientId: 'wf-4711',
    audience: [`${ORIGIN}/v1`],
    jti: 'token-1',
    issuedAt: NOW - 5,
    expiresAt: NOW + 300,
    scopes: [],
    authorizationDetails: [],
    confirmation,
    job: null,
    clientAuthMethod: null,
    claims: {},
  });
}

/** What a certificate says beside its thumbprint, for one that is good. */
export const IN_DATE = { notBefore: NOON - 1000, notAfter: NOON + 1000, untrusted: null };

const REPLAY_CLASSES: readonly ReplayClass[] = ['memory', 'redis', 'node_nonce', 'window_only'];

/** Tokens of this issuer need a nonce on every route. */
export const NONCE_ISSUER = 'https://nonces.example.com';

/** A verifier with a memory store and a clock of the test's own. */
export interface Bench {
  readonly verifier: ProofVerifier;
  readonly store: ReplayStore;
  /** Milliseconds since the Unix epoch. */
  now: number;
  /** Verifies a request by this key's job: its reason, or `passed`. */
  verify(changes: RequestChanges, confirmation: Confirmation): Promise<Reason | 'passed'>;
  /** The same; the whole denial. */
  refuse(changes: RequestChanges, confirmation: Confirmation): Promise<Denial>;
}

/** Sets up a verifier. */
export function benchOf(
  dpop: Partial<GatewayConfig['dpop']> = {},
  given?: ReplayStore,
  secrets: NonceSecrets = secretInMemory(),
): Bench {
  const config = { ...DPOP, ...dpop };
  const clock = () => bench.now;
  const store = given ?? createMemoryReplayStore({ limit: 100_000, longestMs: longestClaim(config), clock });
  const stores = new Map(REPLAY_CLASSES.map((kind) => [kind, store]));
  const { leeway_seconds: leewaySeconds, nonce_lifetime_seconds: lifetimeSeconds } = config;
  const nonces = new Nonces({ secrets, lifetimeSeconds, leewaySeconds });
  const nonceIssuers = new Set([NONCE_ISSUER]);
  const verifier = createProofVerifier({ dpop: config, stores, nonces, nonceIssuers, cacheSize: 1000, clock });
  const bench: Bench = {
    verifier,
    store,
    now: NOON,
    async verify(changes, confirmation) {
      const checked = await verifier.verify(contextOf(changes), tokenOf(confirmation));
      return checked.ok ? 'passed' : checked.denial.reason;
    },
    async refuse(changes, confirmation) {
      const checked = await verifier.verify(contextOf(changes), tokenOf(confirmation));
      if (checked.ok) throw new Error('it passed');
      return checked.denial;
    },
  };
  return bench;
}
