import { randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { listen } from '../../src/net/listen.ts';

/** The one run of this CI system, in the claims of GitHub Actions. */
const RUN = {
  sub: 'repo:acme/shop:environment:production',
  repository: 'acme/shop',
  repository_id: '700400',
  repository_owner: 'acme',
  repository_owner_id: '42',
  workflow: 'Deploy',
  workflow_ref: 'acme/shop/.github/workflows/deploy.yml@refs/heads/main',
  ref: 'refs/heads/main',
  ref_protected: 'true',
  environment: 'production',
  event_name: 'push',
  run_id: '1001',
  run_attempt: '1',
  actor: 'octocat',
  runner_environment: 'github-hosted',
} as const;

const LIFETIME_SECONDS = 300;

/** What a CI system is made of. */
interface Parts {
  readonly server: Server;
  readonly origin: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

/**
 * A CI system that does what GitHub Actions does for the identity of its jobs: it is an issuer with discovery and a JWK Set, and gives a
 * job that shows its request token an identity token for the audience that it names.
 */
export class CiSystem {
  readonly origin: string;
  /** Every request so far, as method and path with query. */
  readonly requests: string[] = [];
  readonly #parts: Parts;
  readonly #requestToken = randomBytes(32).toString('base64url');

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.origin = parts.origin;
    parts.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request).then(
        ({ status, body }) => send(response, status, body),
        () => response.destroy(),
      );
    });
  }

  /** Listens on a port of loopback; 0: any free one. */
  static async start(port: number): Promise<CiSystem> {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const jwk = { ...(await exportJWK(publicKey)), kid: randomUUID(), alg: 'RS256', use: 'sig' };
    const server = createServer();
    const origin = `http://127.0.0.1:${await listen(server, '127.0.0.1', port)}`;
    return new CiSystem({ server, origin, privateKey, jwk });
  }

  /** What the runner puts into the environment of a job with `permissions: { id-token: write }`. */
  get variables(): Record<string, string> {
    return {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${this.origin}/idtoken?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: this.#requestToken,
    };
  }

  async close(): Promise<void> {
    this.#parts.server.closeAllConnections();
    await new Promise((resolve) => this.#parts.server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    const url = new URL(request.url ?? '/', this.origin);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    request.resume();
    if (url.pathname === '/.well-known/openid-configuration') return { status: 200, body: this.#metadata() };
    if (url.pathname === '/.well-known/jwks') return { status: 200, body: { keys: [this.#parts.jwk] } };
    if (url.pathname !== '/idtoken') return { status: 404, body: { message: 'there is no such thing here' } };
    if (!this.#knows(request.headers.authorization ?? ''))
      return { status: 401, body: { message: 'not a job of ours' } };
    const audience = url.searchParams.get('audience') ?? 'https://github.com/acme';
    return { status: 200, body: { value: await this.#identityToken(audience) } };
  }

  #metadata() {
    return {
      issuer: this.origin,
      jwks_uri: `${this.origin}/.well-known/jwks`,
      subject_types_supported: ['public', 'pairwise'],
      response_types_supported: ['id_token'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid'],
    };
  }

  #knows(authorization: string): boolean {
    const shown = Buffer.from(/^bearer (.+)$/i.exec(authorization)?.[1] ?? '');
    const own = Buffer.from(this.#requestToken);
    return shown.length === own.length && timingSafeEqual(shown, own);
  }

  #identityToken(audience: string): Promise<string> {
    const { privateKey, jwk } = this.#parts;
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ ...RUN, jti: randomUUID(), nbf: now - 5, iat: now, exp: now + LIFETIME_SECONDS })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: String(jwk.kid) })
      .setIssuer(this.origin)
      .setAudience(audience)
      .sign(privateKey);
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
