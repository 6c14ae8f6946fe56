import { deflateSync } from 'node:zlib';
import type { IssuerConfig, StatusListConfig } from '../../src/config/schema.ts';
import type { TokenVerifierOptions } from '../../src/token/verify_token.ts';
import type { KeyServer } from '../support/key_server.ts';
import { issuerConfig, NOW, TokenBench } from './fixture.ts';

/** A status list as its issuer makes it (draft-ietf-oauth-status-list §4.1). */
export function packStatuses(bits: 1 | 2 | 4 | 8, statuses: readonly number[]): { bits: number; lst: string } {
  const bytes = Buffer.alloc(Math.ceil((statuses.length * bits) / 8));
  statuses.forEach((status, index) => {
    const byte = Math.floor((index * bits) / 8);
    bytes[byte] = (bytes[byte] ?? 0) | (status << ((index * bits) % 8));
  });
  return { bits, lst: deflateSync(bytes, { level: 9 }).toString('base64url') };
}

/** An issuer of the configuration whose status lists are checked. */
export function statusConfig(issuer: string, changes: Partial<StatusListConfig> = {}): IssuerConfig {
  const config: StatusListConfig = {
    mode: 'check',
    required: false,
    timeout_ms: 1000,
    max_age_seconds: 300,
    ...changes,
  };
  return issuerConfig(issuer, { status_list: config });
}

/** An issuer with one status list at /status/1, and a verifier that checks it. */
export class StatusBench {
  readonly tokens: TokenBench;
  /** The statuses that are published. */
  statuses = [0, 0, 0, 0, 0, 0, 0, 0];

  private constructor(tokens: TokenBench) {
    this.tokens = tokens;
    this.restore();
  }

  static async start(
    changes: Partial<StatusListConfig> = {},
    options: (server: KeyServer) => Partial<TokenVerifierOptions> = () => ({}),
  ): Promise<StatusBench> {
    const tokens = await TokenBench.start((server) => ({
      issuers: [statusConfig(server.issuer, changes)],
      ...options(server),
    }));
    return new StatusBench(tokens);
  }

  stop(): Promise<void> {
    return this.tokens.stop();
  }

  get uri(): string {
    return `${this.tokens.server.issuer}/status/1`;
  }

  /** Requests for the list so far. */
  get fetches(): number {
    return this.tokens.server.requests.filter((path) => path === '/status/1').length;
  }

  /** A status list token as it should be, with changes; a member set to undefined is left out. */
  list(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
    return this.tokens.sign(
      { typ: 'statuslist+jwt', alg: this.tokens.key.alg, kid: this.tokens.key.thumbprint.slice(0, 8), ...header },
      {
        sub: this.uri,
        iat: Math.floor(this.tokens.now / 1000),
        exp: NOW + 86_400,
        ttl: 60,
        status_list: packStatuses(2, this.statuses),
        ...claims,
      },
    );
  }

  /** Publishes another text, or under another type, until `restore`. */
  publish(text: string, contentType = 'application/statuslist+jwt'): void {
    this.tokens.server.answers.set('/status/1', (_, response) =>
      response.writeHead(200, { 'content-type': contentType }).end(text),
    );
  }

  /** Publishes the list as it is at each request. */
  restore(): void {
    this.tokens.server.answers.set('/status/1', (_, response) =>
      response.writeHead(200, { 'content-type': 'application/statuslist+jwt' }).end(this.list()),
    );
  }

  /** An access token whose status stands at an index of the list. */
  token(idx: unknown = 0, uri: unknown = this.uri): string {
    return this.tokens.token({ claims: { exp: NOW + 86_400, status: { status_list: { idx, uri } } } });
  }
}
