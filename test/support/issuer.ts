import { randomUUID } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import type { PublicJwk } from '../../src/oauth/public_jwk.ts';
import { jwkThumbprint } from '../../src/oauth/thumbprint.ts';

/** A key pair of the test's own. */
export interface TestKey {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicJwk: PublicJwk;
  readonly thumbprint: string;
}

/** Makes a key pair. */
export async function makeKey(alg = 'ES256'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk = (await exportJWK(publicKey)) as PublicJwk;
  return { alg, privateKey, publicJwk, thumbprint: jwkThumbprint(publicJwk) };
}

/** What differs from a good token: a member set to undefined is left out. */
export interface TokenChanges {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
}

/** An authorization server reduced to its key: what the gateway sees of it. */
export class TestIssuer {
  readonly issuer: string;
  readonly key: TestKey;
  readonly kid: string;

  private constructor(issuer: string, key: TestKey) {
    this.issuer = issuer;
    this.key = key;
    this.kid = key.thumbprint.slice(0, 8);
  }

  static async create(issuer = 'https://as.example.com', alg = 'ES256'): Promise<TestIssuer> {
    return new TestIssuer(issuer, await makeKey(alg));
  }

  /** The public JWK Set. */
  jwks(): { keys: JWK[] } {
    return { keys: [{ ...(this.key.publicJwk as JWK), kid: this.kid, alg: this.key.alg, use: 'sig' }] };
  }

  /** Writes the JWK Set for `jwks_file`. */
  writeJwks(file: string): void {
    writeFileSync(file, JSON.stringify(this.jwks()));
    chmodSync(file, 0o600);
  }

  /** A good access token for the demo catalogue (RFC 9068), bound to `jkt`, with the given changes. */
  async token(jkt: string | null, changes: TokenChanges = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1000);
    const claims: Record<string, unknown> = {
      iss: this.issuer,
      aud: 'https://cloud.example.com/v1',
      sub: 'wf-4711',
      client_id: 'wf-4711',
      jti: randomUUID(),
      iat: now - 5,
      exp: now + 300,
      scope: 'projects:read builds:read builds:write',
      authorization_details: [
        {
          type: 'cloud_api',
          actions: ['projects.get', 'builds.list', 'builds.create', 'builds.get'],
          identifier: 'projects/p1',
        },
      ],
      ...(jkt === null ? {} : { cnf: { jkt } }),
      ...changes.claims,
    };
    return new SignJWT(withoutUndefined(claims))
      .setProtectedHeader(
        withoutUndefined({ alg: this.key.alg, typ: 'at+jwt', kid: this.kid, ...changes.header }) as { alg: string },
      )
      .sign(this.key.privateKey);
  }
}

/** A job: its key, and requests with good proofs. */
export class TestJob {
  readonly key: TestKey;

  private constructor(key: TestKey) {
    this.key = key;
  }

  static async create(alg = 'ES256'): Promise<TestJob> {
    return new TestJob(await makeKey(alg));
  }

  /** A good proof for a request. */
  proof(method: string, url: string, accessToken: string): Promise<string> {
    const { privateKey, publicJwk, alg } = this.key;
    return makeProof({ privateKey, publicJwk, alg, method, url, accessToken, clock: Date.now });
  }

  /** The two headers of a good request. */
  async headers(method: string, url: string, accessToken: string): Promise<Record<string, string>> {
    return { authorization: `DPoP ${accessToken}`, dpop: await this.proof(method, url, accessToken) };
  }
}

function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined));
}
