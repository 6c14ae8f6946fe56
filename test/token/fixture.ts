import type { IssuerConfig } from '../../src/config/schema.ts';
import type { RequestContext, Route, VerifiedToken } from '../../src/kernel/context.ts';
import type { Reason } from '../../src/kernel/reasons.ts';
import type { Checked } from '../../src/kernel/result.ts';
import { createTokenVerifier, type TokenVerifier, type TokenVerifierOptions } from '../../src/token/verify_token.ts';
import { makeKey, type TestKey } from '../support/issuer.ts';
import { KeyServer } from '../support/key_server.ts';
import { type JwsPart, signJws } from '../support/sign_jws.ts';

export const RESOURCE = 'https://cloud.example.com/v1';
/** The time of these tests, in seconds: everything here runs on a clock of its own. */
export const NOW = 1_795_376_000;
export const JKT = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I';

/** A key as its issuer publishes it. */
export function published(key: TestKey, members: Record<string, unknown> = {}): Record<string, unknown> {
  return { ...key.publicJwk, kid: key.thumbprint.slice(0, 8), alg: key.alg, use: 'sig', ...members };
}

/** An issuer of the configuration with its defaults. */
export function issuerConfig(
  issuer: string,
  changes: Partial<IssuerConfig> & { keyTimes?: Partial<IssuerConfig['keys']> } = {},
): IssuerConfig {
  const { keyTimes, ...rest } = changes;
  return {
    issuer,
    algorithms: ['ES256', 'PS256', 'EdDSA'],
    allow_insecure: false,
    keys: { timeout_ms: 5000, max_age_seconds: 600, stale_seconds: 86_400, cooldown_seconds: 30, ...keyTimes },
    ...rest,
  };
}

/** A request as stage 1 hands it over, with what stage 2 reads of it. */
export function contextOf(token: string, resource = RESOURCE): RequestContext {
  const route: Route = {
    name: 'projects',
    hosts: ['cloud.example.com'],
    pathPrefix: '/v1/projects',
    resource,
    origin: 'https://cloud.example.com',
    bindings: ['dpop'],
    methods: ['GET'],
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
  };
  return {
    id: 'r-1',
    receivedAt: NOW * 1000,
    method: 'GET',
    route,
    host: 'cloud.example.com',
    target: { path: '/v1/projects', segments: ['v1', 'projects'], query: null, queryParameters: {} },
    operation: null,
    rawHeaders: [],
    credentials: { scheme: 'dpop', token },
    proof: null,
    certificate: null,
    peerAddress: '127.0.0.1',
    httpVersion: '1.1',
    body: { state: 'absent', head: [], complete: true },
    upgrade: false,
  };
}

/** What differs from a good token: a member set to undefined is left out. */
export interface Changes {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
}

/** An issuer that publishes real keys, a verifier that trusts it, and a clock that stands still until it is set. */
export class TokenBench {
  readonly server: KeyServer;
  readonly key: TestKey;
  readonly verifier: TokenVerifier;
  /** Milliseconds since the Unix epoch. */
  now = NOW * 1000;

  private constructor(server: KeyServer, key: TestKey, options: Partial<TokenVerifierOptions>) {
    this.server = server;
    this.key = key;
    this.verifier = createTokenVerifier({
      issuers: [issuerConfig(server.issuer)],
      cacheSize: 100,
      clock: () => this.now,
      ...options,
    });
  }

  static async start(
    options: (server: KeyServer) => Partial<TokenVerifierOptions> = () => ({}),
    alg = 'ES256',
  ): Promise<TokenBench> {
    const [server, key] = await Promise.all([KeyServer.start(), makeKey(alg)]);
    server.keys = [published(key) as never];
    const bench = new TokenBench(server, key, options(server));
    await bench.verifier.settled();
    return bench;
  }

  async stop(): Promise<void> {
    this.verifier.close();
    await this.server.stop();
  }

  header(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return { typ: 'at+jwt', alg: this.key.alg, kid: this.key.thumbprint.slice(0, 8), ...changes };
  }

  claims(changes: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      iss: this.server.issuer,
      aud: RESOURCE,
      sub: 'wf-4711',
      client_id: 'wf-4711',
      jti: crypto.randomUUID(),
      iat: NOW - 5,
      exp: NOW + 300,
      scope: 'projects:read builds:write',
      cnf: { jkt: JKT },
      ...changes,
    };
  }

  /** A good token with changes, signed by the issuer's key or another. */
  token({ header, claims }: Changes = {}, key: TestKey = this.key): string {
    return signJws(this.header(header), this.claims(claims), key);
  }

  /** Any header and payload, signed by the issuer's key. */
  sign(header: JwsPart, payload: JwsPart): string {
    return signJws(header, payload, this.key);
  }

  async verify(token: string, resource = RESOURCE): Promise<Checked<VerifiedToken>> {
    return this.verifier.verify(contextOf(token, resource));
  }

  /** The reason of a refusal; null when the token passes. */
  async reasonOf(token: string, resource = RESOURCE): Promise<Reason | null> {
    const checked = await this.verify(token, resource);
    return checked.ok ? null : checked.denial.reason;
  }

  /** The token's facts; fails when it is refused. */
  async factsOf(token: string): Promise<VerifiedToken> {
    const checked = await this.verify(token);
    if (!checked.ok) throw new Error(`refused: ${checked.denial.reason} ${checked.denial.note ?? ''}`);
    return checked.value;
  }
}
