import { randomUUID } from 'node:crypto';
import type { JWK } from 'jose';
import { makeKey, type TestKey } from './issuer.ts';
import { signJws } from './sign_jws.ts';

/** What differs from a good token: a member set to undefined is left out. */
export interface WorkloadChanges {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** The claims of a GitHub Actions job, without those that change from token to token. */
export const GITHUB_CLAIMS = {
  sub: 'repo:acme@1234/infra@456789:environment:production',
  repository: 'acme/infra',
  repository_id: '456789',
  repository_owner: 'acme',
  repository_owner_id: '1234',
  workflow: 'Deploy to production',
  workflow_ref: 'acme/infra/.github/workflows/deploy.yml@refs/heads/main',
  ref: 'refs/heads/main',
  ref_protected: 'true',
  environment: 'production',
  event_name: 'push',
  run_id: '991',
  run_attempt: '1',
  actor: 'octocat',
  actor_id: '583231',
  runner_environment: 'github-hosted',
} as const;

/** The issuer of a CI system's identity tokens, reduced to its key: it signs what a test says. */
export class WorkloadTokenIssuer {
  readonly issuer: string;
  readonly audience: string;
  readonly key: TestKey;
  readonly kid: string;

  private constructor(issuer: string, audience: string, key: TestKey) {
    this.issuer = issuer;
    this.audience = audience;
    this.key = key;
    this.kid = key.thumbprint.slice(0, 8);
  }

  static async create(issuer: string, audience: string, alg = 'RS256'): Promise<WorkloadTokenIssuer> {
    return new WorkloadTokenIssuer(issuer, audience, await makeKey(alg));
  }

  /** The public JWK Set. */
  jwks(): { keys: JWK[] } {
    return { keys: [{ ...(this.key.publicJwk as JWK), kid: this.kid, alg: this.key.alg, use: 'sig' }] };
  }

  /** A good token in the shape of GitHub's, valid for five minutes, with the given changes. */
  token(changes: WorkloadChanges = {}): string {
    const now = Math.floor(Date.now() / 1000);
    const times = { jti: randomUUID(), iat: now - 1, nbf: now - 1, exp: now + 300 };
    const claims = { iss: this.issuer, aud: this.audience, ...GITHUB_CLAIMS, ...times, ...changes.claims };
    const header = { alg: this.key.alg, typ: 'JWT', kid: this.kid, ...changes.header };
    return signJws(withoutUndefined(header), withoutUndefined(claims), this.key);
  }
}

function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}
