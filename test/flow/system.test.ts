import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningDemoCloud, startDemoCloud } from '../../src/demo/cloud.ts';
import { RESOURCE, startTestServer, type TestServer } from '../authserver/fixture.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

/**
 * The whole system on loopback: the authorization server (oidc-provider) as issuer, found by its metadata; oauth4webapi as the client of both
 * sides, which knows nothing of this project; the gateway with the starter policy; the demo cloud behind it, which asks for a credential.
 */

const INSECURE = { [oauth.allowInsecureRequests]: true };
const SCOPE = 'projects:read builds:read builds:write';
const DETAILS = [
  { type: 'cloud_api', actions: ['projects.get', 'builds.create', 'builds.list'], identifier: 'projects/p1' },
];
const JOB = { provider: 'github', repository: 'acme/infra', repository_id: '456789', workflow: 'deploy.yml' };

let folder: string;
let authserver: TestServer;
let cloud: RunningDemoCloud;
let gateway: TestGateway;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-system-'));
  authserver = await startTestServer({
    scopes: ['projects:read', 'projects:admin', 'builds:read', 'builds:write'],
    authorization_details: DETAILS,
    job: { claims: { ...JOB, environment: 'production', ref: 'refs/heads/main', ref_protected: true } },
  });
  cloud = await startDemoCloud({ port: 0, credential: 'Bearer of-the-gateway' });
  const credential = join(folder, 'credential');
  writeFileSync(credential, 'Bearer of-the-gateway', { mode: 0o600 });
  gateway = await startTestGateway({
    upstream: cloud.origin,
    config: { issuers: [{ issuer: authserver.issuer }] },
    route: { upstream: { url: cloud.origin, credential: { value_file: credential } }, bindings: ['dpop'] },
  });
});
afterAll(async () => {
  await gateway.close();
  await cloud.close();
  await authserver.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A job: keys of its own, and what it got from the authorization server. */
interface Job {
  readonly token: oauth.TokenEndpointResponse;
  call(method: string, path: string, body?: string): Promise<Response>;
}

async function startJob(parameters: Record<string, string> = {}): Promise<Job> {
  const issuer = new URL(authserver.issuer);
  const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...INSECURE });
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const client: oauth.Client = { client_id: 'ci' };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const response = await oauth.clientCredentialsGrantRequest(
    server,
    client,
    oauth.PrivateKeyJwt(authserver.clientKey.privateKey),
    { resource: RESOURCE, scope: SCOPE, authorization_details: JSON.stringify(DETAILS), ...parameters },
    { DPoP, ...INSECURE },
  );
  const token = await oauth.processClientCredentialsResponse(server, client, response);
  return {
    token,
    call: (method, path, body) =>
      oauth.protectedResourceRequest(
        token.access_token,
        method,
        new URL(gateway.origin + path),
        new Headers(body === undefined ? {} : { 'content-type': 'application/json' }),
        body,
        { DPoP, ...INSECURE },
      ),
  };
}

/** The refusal of a call, as oauth4webapi reads it. */
async function refusalOf(call: Promise<Response>) {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof oauth.WWWAuthenticateChallengeError)) throw new Error(`not a challenge: ${error}`);
  const [challenge] = error.cause;
  const problem = (await error.response.json()) as Record<string, unknown>;
  return { status: error.status, challenge, problem };
}

describe('a job, from its token to its calls', () => {
  it('gets what it asked for, bound to its key', async () => {
    const { token } = await startJob();
    expect(token).toMatchObject({ token_type: 'dpop', scope: SCOPE, authorization_details: DETAILS });
  });

  it('calls what its token covers, and the cloud answers', async () => {
    const job = await startJob();
    const created = await job.call('POST', '/v1/projects/p1/builds', '{"ref":"refs/heads/main"}');
    expect(created.status).toBe(201);
    const build = (await created.json()) as Record<string, unknown>;
    const list = await job.call('GET', '/v1/projects/p1/builds?limit=10');
    expect([list.status, JSON.stringify(await list.json())]).toEqual([
      200,
      expect.stringContaining(String(build['id'])),
    ]);
    expect((await job.call('HEAD', '/v1/projects/p1')).status).toBe(200);
  });

  it('is told the scope that it lacks', async () => {
    const { status, challenge, problem } = await refusalOf((await startJob()).call('DELETE', '/v1/projects/p1'));
    expect([status, problem['reason']]).toEqual([403, 'policy.insufficient_scope']);
    expect(challenge).toMatchObject({
      scheme: 'dpop',
      parameters: { error: 'insufficient_scope', scope: 'projects:admin', algs: 'ES256 PS256 EdDSA' },
    });
  });

  it('is told the authorization_details that it lacks', async () => {
    const { status, challenge, problem } = await refusalOf((await startJob()).call('GET', '/v1/projects/p2'));
    expect([status, challenge?.parameters.error]).toEqual([403, 'insufficient_authorization_details']);
    expect(problem['required']).toMatchObject({
      authorization_details: [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p2' }],
    });
  });

  it('gets less when it asks for less', async () => {
    const job = await startJob({ scope: 'builds:read' });
    expect((await job.call('GET', '/v1/projects/p1/builds')).status).toBe(200);
    const { problem } = await refusalOf(job.call('POST', '/v1/projects/p1/builds', '{}'));
    expect(problem['reason']).toBe('policy.insufficient_scope');
  });

  it('cannot use the token of another job', async () => {
    const { token } = await startJob();
    const DPoP = oauth.DPoP({}, await oauth.generateKeyPair('ES256'));
    const url = new URL(`${gateway.origin}/v1/projects/p1`);
    const options = { DPoP, ...INSECURE };
    const call = oauth.protectedResourceRequest(token.access_token, 'GET', url, undefined, undefined, options);
    const { status, challenge, problem } = await refusalOf(call);
    expect([status, problem['reason']]).toEqual([401, 'proof.key_mismatch']);
    expect(challenge?.parameters.error).toBe('invalid_token');
  });

  it('cannot use its token as a bearer token', async () => {
    const { token } = await startJob();
    const url = new URL(`${gateway.origin}/v1/projects/p1`);
    const call = oauth.protectedResourceRequest(token.access_token, 'GET', url, undefined, undefined, INSECURE);
    const { status, problem } = await refusalOf(call);
    expect([status, problem['reason']]).toEqual([401, 'proof.bound_token_as_bearer']);
  });

  it('cannot use a token that is for another resource', async () => {
    const job = await startJob({ resource: 'https://other.example.com/' });
    const { status, problem } = await refusalOf(job.call('GET', '/v1/projects/p1'));
    expect([status, problem['reason']]).toEqual([401, 'token.audience']);
  });

  it('cannot reach the cloud past the gateway', async () => {
    const { token } = await startJob();
    const headers = { authorization: `DPoP ${token.access_token}` };
    expect((await fetch(`${cloud.origin}/v1/projects/p1`, { headers })).status).toBe(401);
  });

  it('makes hundreds of calls with one token, several at once', async () => {
    const job = await startJob();
    const statuses: number[] = [];
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => job.call('GET', '/v1/projects/p1')));
      for (const answer of answers) statuses.push(answer.status);
      await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    }
    expect(statuses).toEqual(Array.from({ length: 200 }, () => 200));
  });

  it('leaves one record for each call, with its job and without its token', async () => {
    const job = await startJob();
    await (await job.call('GET', '/v1/projects/p1?of=records')).arrayBuffer();
    await refusalOf(job.call('GET', '/v1/projects/p2?of=records'));
    let records: Record<string, unknown>[] = [];
    await eventually('two records', async () => {
      const all = await gateway.records(0);
      records = all.filter((record) => JSON.stringify(record['custom']).includes('"query":"of=records"'));
      return records.length >= 2;
    });
    expect(records.map((record) => record['custom'])).toMatchObject([
      { sallyport: { outcome: 'allowed', client: 'ci', job: JOB, operation: { name: 'projects.get' } } },
      { sallyport: { outcome: 'refused', reason: 'policy.insufficient_authorization_details', job: JOB } },
    ]);
    expect(JSON.stringify(records)).not.toContain(job.token.access_token.slice(-20));
  });
});
