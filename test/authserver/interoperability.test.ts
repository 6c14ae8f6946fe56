import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../../src/oauth/signing_key.ts';
import { BUILDS, claimsOf, RESOURCE } from './fixture.ts';
import { INITIAL_TOKEN, type RegistrationServer, startRegistrationServer } from './registration_fixture.ts';
import { JWT_BEARER, JWT_TYPE, TOKEN_EXCHANGE } from './workload_fixture.ts';

/** Clients that nobody here wrote, which know nothing but the metadata. */

let server: RegistrationServer;
let gatewayKey: SigningKey;
beforeAll(async () => {
  gatewayKey = await importSigningKey(await generatePrivateJwk());
  server = await startRegistrationServer(
    {},
    {
      server: {
        dpop: { nonce: 'required' },
        resource_servers: [{ client_id: 'gateway', jwks: { keys: [gatewayKey.publicJwk] }, resources: [RESOURCE] }],
      },
    },
  );
});
afterAll(() => server.close());

const details = JSON.stringify([BUILDS]);
const insecure = { [oauth.allowInsecureRequests]: true } as const;

async function newKeyPair() {
  return importSigningKey(await generatePrivateJwk());
}

describe('oauth4webapi', () => {
  let metadata: oauth.AuthorizationServer;
  beforeAll(async () => {
    const issuer = new URL(server.issuer);
    const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure });
    metadata = await oauth.processDiscoveryResponse(issuer, response);
  });

  /** Once more with the nonce, where the server asks for one. */
  async function twice<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error;
      return request();
    }
  }

  it('registers a client, gets a token with a nonce, asks about it, takes it back, removes nothing else', async () => {
    const key = await newKeyPair();
    const registered = await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(
        metadata,
        {
          token_endpoint_auth_method: 'private_key_jwt',
          jwks: { keys: [{ ...key.publicJwk }] },
        } as Partial<oauth.Client>,
        { initialAccessToken: INITIAL_TOKEN, ...insecure },
      ),
    );
    const client: oauth.Client = { client_id: registered.client_id };
    const auth = oauth.PrivateKeyJwt(key.privateKey);
    const DPoP = oauth.DPoP(client, server.jobKey);
    const token = await twice(async () =>
      oauth.processClientCredentialsResponse(
        metadata,
        client,
        await oauth.clientCredentialsGrantRequest(
          metadata,
          client,
          auth,
          { resource: RESOURCE, scope: 'builds:write', authorization_details: details },
          { DPoP, ...insecure },
        ),
      ),
    );
    expect(token).toMatchObject({ token_type: 'dpop', scope: 'builds:write', authorization_details: [BUILDS] });

    const gateway: oauth.Client = { client_id: 'gateway', introspection_signed_response_alg: 'ES256' };
    const ask = async (requestJwtResponse: boolean) => {
      const response = await oauth.introspectionRequest(
        metadata,
        gateway,
        oauth.PrivateKeyJwt(gatewayKey.privateKey),
        token.access_token,
        { requestJwtResponse, ...insecure },
      );
      return oauth.processIntrospectionResponse(
        metadata,
        requestJwtResponse ? gateway : { client_id: 'gateway' },
        response,
      );
    };
    for (const signed of [false, true])
      expect(await ask(signed)).toMatchObject({ active: true, client_id: client.client_id, token_type: 'DPoP' });

    const revocation = await oauth.revocationRequest(metadata, client, auth, token.access_token, insecure);
    await oauth.processRevocationResponse(revocation);
    expect(await ask(false)).toMatchObject({ active: false });
  });

  it('exchanges the identity token of a job', async () => {
    const client: oauth.Client = { client_id: 'ci' };
    const DPoP = oauth.DPoP(client, server.jobKey);
    const subject = server.ci.token();
    const token = await twice(async () =>
      oauth.processGenericTokenEndpointResponse(
        metadata,
        client,
        await oauth.genericTokenEndpointRequest(
          metadata,
          client,
          oauth.PrivateKeyJwt(server.clientKey.privateKey),
          TOKEN_EXCHANGE,
          { subject_token: subject, subject_token_type: JWT_TYPE, resource: RESOURCE, scope: 'builds:write' },
          { DPoP, ...insecure },
        ),
      ),
    );
    expect(token.token_type).toBe('dpop');
    expect(claimsOf(token.access_token)).toMatchObject({ act: { sub: 'ci' }, job: { repository: 'acme/infra' } });
  });

  it('uses the identity token as a grant, without any other authentication', async () => {
    const client: oauth.Client = { client_id: 'deploy' };
    const DPoP = oauth.DPoP(client, server.jobKey);
    const assertion = server.ci.token();
    const token = await twice(async () =>
      oauth.processGenericTokenEndpointResponse(
        metadata,
        client,
        await oauth.genericTokenEndpointRequest(
          metadata,
          client,
          oauth.None(),
          JWT_BEARER,
          { assertion, resource: RESOURCE, scope: 'builds:write' },
          { DPoP, ...insecure },
        ),
      ),
    );
    expect(claimsOf(token.access_token)).toMatchObject({ client_id: 'deploy' });
  });

  it('its own verifier of access tokens takes the token and its proof', async () => {
    const client: oauth.Client = { client_id: 'ci' };
    const DPoP = oauth.DPoP(client, server.jobKey);
    const token = await twice(async () =>
      oauth.processClientCredentialsResponse(
        metadata,
        client,
        await oauth.clientCredentialsGrantRequest(
          metadata,
          client,
          oauth.PrivateKeyJwt(server.clientKey.privateKey),
          { resource: RESOURCE, scope: 'builds:write' },
          { DPoP, ...insecure },
        ),
      ),
    );
    const { makeProof } = await import('../../src/oauth/dpop_proof.ts');
    const { privateKey, publicJwk } = server.jobKey;
    const url = 'https://cloud.example.com/v1/projects';
    const proof = { privateKey, publicJwk, method: 'GET', url, accessToken: token.access_token, clock: Date.now };
    const request = new Request(url, {
      headers: { authorization: `DPoP ${token.access_token}`, dpop: await makeProof(proof) },
    });
    const claims = await oauth.validateJwtAccessToken(metadata, request, RESOURCE, { requireDPoP: true, ...insecure });
    expect(claims).toMatchObject({ client_id: 'ci', aud: RESOURCE });
  });
});

describe('openid-client', () => {
  async function discover(clientId: string, auth: openid.ClientAuth): Promise<openid.Configuration> {
    return openid.discovery(new URL(server.issuer), clientId, undefined, auth, {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests],
    });
  }

  it('gets a token bound to a key, asks about it, takes it back', async () => {
    const config = await discover('ci', openid.PrivateKeyJwt(server.clientKey.privateKey));
    const DPoP = openid.getDPoPHandle(config, server.jobKey);
    const token = await openid.clientCredentialsGrant(
      config,
      { resource: RESOURCE, scope: 'builds:write', authorization_details: details },
      { DPoP },
    );
    expect(token).toMatchObject({ token_type: 'dpop', scope: 'builds:write', authorization_details: [BUILDS] });
    const gateway = await discover('gateway', openid.PrivateKeyJwt(gatewayKey.privateKey));
    expect(await openid.tokenIntrospection(gateway, token.access_token)).toMatchObject({ active: true });
    await openid.tokenRevocation(config, token.access_token);
    expect(await openid.tokenIntrospection(gateway, token.access_token)).toMatchObject({ active: false });
  });

  it('exchanges the identity token of a job', async () => {
    const config = await discover('ci', openid.PrivateKeyJwt(server.clientKey.privateKey));
    const DPoP = openid.getDPoPHandle(config, server.jobKey);
    const token = await openid.genericGrantRequest(
      config,
      TOKEN_EXCHANGE,
      { subject_token: server.ci.token(), subject_token_type: JWT_TYPE, resource: RESOURCE, scope: 'builds:write' },
      { DPoP },
    );
    expect(token['issued_token_type']).toBe('urn:ietf:params:oauth:token-type:access_token');
  });

  it('uses the identity token as a grant, without any other authentication', async () => {
    const config = await discover('deploy', openid.None());
    const DPoP = openid.getDPoPHandle(config, server.jobKey);
    const asked = { assertion: server.ci.token(), resource: RESOURCE, scope: 'builds:write' };
    const token = await openid.genericGrantRequest(config, JWT_BEARER, asked, { DPoP });
    expect(token.token_type).toBe('dpop');
    expect(claimsOf(token.access_token)).toMatchObject({ client_id: 'deploy', job: { repository: 'acme/infra' } });
  });

  it('registers a client', async () => {
    const key = await newKeyPair();
    const config = await openid.dynamicClientRegistration(
      new URL(server.issuer),
      {
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ ...key.publicJwk }] },
      } as Partial<openid.ClientMetadata>,
      openid.PrivateKeyJwt(key.privateKey),
      { algorithm: 'oauth2', initialAccessToken: INITIAL_TOKEN, execute: [openid.allowInsecureRequests] },
    );
    const DPoP = openid.getDPoPHandle(config, server.jobKey);
    const token = await openid.clientCredentialsGrant(config, { resource: RESOURCE, scope: 'builds:read' }, { DPoP });
    expect(claimsOf(token.access_token)).toMatchObject({ client_id: config.clientMetadata().client_id });
  });

  it('is told no when it asks for a secret', async () => {
    await expect(
      openid.dynamicClientRegistration(
        new URL(server.issuer),
        { token_endpoint_auth_method: 'client_secret_basic' },
        undefined,
        { algorithm: 'oauth2', initialAccessToken: INITIAL_TOKEN, execute: [openid.allowInsecureRequests] },
      ),
    ).rejects.toMatchObject({ error: 'invalid_client_metadata' });
  });
});
