import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { BUILDS, claimsOf, RESOURCE, requestToken, startTestServer, type TestServer } from '../authserver/fixture.ts';

let server: TestServer;
let metadata: oauth.AuthorizationServer;
const insecure = { [oauth.allowInsecureRequests]: true } as const;

beforeAll(async () => {
  server = await startTestServer();
  const issuer = new URL(server.issuer);
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure });
  metadata = await oauth.processDiscoveryResponse(issuer, response);
});
afterAll(() => server.close());

describe('RFC 8414 §2, §3: the metadata is true to behaviour', () => {
  it('§3.2: is JSON at the well-known path, and says these things and no others', async () => {
    expect(metadata).toEqual({
      issuer: server.issuer,
      token_endpoint: `${server.issuer}/token`,
      jwks_uri: `${server.issuer}/jwks`,
      response_types_supported: [],
      grant_types_supported: ['client_credentials'],
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
      revocation_endpoint: `${server.issuer}/revoke`,
      revocation_endpoint_auth_methods_supported: ['private_key_jwt'],
      revocation_endpoint_auth_signing_alg_values_supported: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
      dpop_signing_alg_values_supported: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
      authorization_details_types_supported: ['cloud_api'],
    });
  });

  it('§3.3: the issuer is the one that was asked for, whatever Host says', async () => {
    const path = '/.well-known/oauth-authorization-server';
    const answer = await fetch(server.address + path, { headers: { 'x-forwarded-host': 'evil.example' } });
    expect(((await answer.json()) as { issuer: string }).issuer).toBe(server.issuer);
  });

  it('every endpoint it names answers', async () => {
    for (const [name, url] of Object.entries(metadata)) {
      if (!/(_endpoint|_uri)$/.test(name)) continue;
      const { status } = await fetch(String(url));
      expect([name, status]).toEqual([name, name === 'jwks_uri' ? 200 : 405]);
    }
  });

  it('a client that knows nothing but the metadata gets a token (oauth4webapi)', async () => {
    const client: oauth.Client = { client_id: 'ci' };
    const response = await oauth.clientCredentialsGrantRequest(
      metadata,
      client,
      oauth.PrivateKeyJwt(server.clientKey.privateKey),
      { resource: RESOURCE, scope: 'builds:write', authorization_details: JSON.stringify([BUILDS]) },
      { DPoP: oauth.DPoP(client, server.jobKey), ...insecure },
    );
    const token = await oauth.processClientCredentialsResponse(metadata, client, response);
    expect(token).toMatchObject({ token_type: 'dpop', scope: 'builds:write', authorization_details: [BUILDS] });
    expect(claimsOf(token.access_token)['cnf']).toEqual({ jkt: server.jobKey.thumbprint });
  });

  it('every algorithm it names for proofs works, and RS256 does not', async () => {
    const { exportJWK, generateKeyPair, SignJWT } = await import('jose');
    for (const alg of [...(metadata.dpop_signing_alg_values_supported ?? []), 'RS256', 'ES384']) {
      const pair = await generateKeyPair(alg, { extractable: true });
      const proof = await new SignJWT({ htm: 'POST', htu: `${server.issuer}/token`, jti: alg })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: await exportJWK(pair.publicKey) })
        .setIssuedAt()
        .sign(pair.privateKey);
      const { status } = await requestToken(server, { proof });
      expect([alg, status]).toEqual([alg, ['RS256', 'ES384'].includes(alg) ? 400 : 200]);
    }
  });

  it('a grant that it does not name is refused', async () => {
    const key = await importSigningKey(await generatePrivateJwk());
    const client: oauth.Client = { client_id: 'ci' };
    const response = await oauth.genericTokenEndpointRequest(
      metadata,
      client,
      oauth.PrivateKeyJwt(server.clientKey.privateKey),
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
      { assertion: 'a.b.c' },
      { DPoP: oauth.DPoP(client, key), ...insecure },
    );
    await expect(oauth.processGenericTokenEndpointResponse(metadata, client, response)).rejects.toMatchObject({
      error: 'unsupported_grant_type',
    });
  });
});
