import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import { Eavesdropper } from '../../examples/flow/eavesdropper.ts';
import { startAgent } from '../../src/agent/agent.ts';
import { environmentOf } from '../../src/agent/environment.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { startDemoCloud } from '../../src/demo/cloud.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { generatePrivateJwk, importSigningKey } from '../../src/oauth/signing_key.ts';
import { CI_ISSUER, RESOURCE, TestBroker } from '../broker/fixture.ts';
import { writeApiToken } from '../support/api_token.ts';
import { eventually } from '../support/eventually.ts';
import { startForeignAuthServer } from '../support/foreign_authserver.ts';
import { startTestGateway } from '../support/gateway.ts';
import { makeKey } from '../support/issuer.ts';

/**
 * Broker, agent and gateway of this project before an authorization server that is not: oidc-provider, set up by itself, with tokens and
 * registered clients of its own making, below a path, known by OpenID Connect Discovery.
 */

const INITIAL_TOKEN = 'initial-0123456789abcdef0123456789abcdef';
const ASKED = [{ type: 'cloud_api', actions: ['projects.get', 'projects.delete'], identifier: 'projects/p1' }];
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Everything that stands around one job. */
async function setScene(alg: 'ES256' | 'PS256' | 'EdDSA', nonce: boolean) {
  const { publicJwk } = await importSigningKey(await generatePrivateJwk());
  const foreign = await startForeignAuthServer({
    ...{ clientJwk: { ...publicJwk }, alg, path: '/tenants/a', nonce },
    ...{ initialAccessToken: INITIAL_TOKEN, revocation: true },
  });
  closing.push(() => foreign.close());
  const match = { issuer: CI_ISSUER, repository_id: '456789', workflow: 'deploy.yml', ref: 'refs/heads/main' };
  const broker = await TestBroker.prepare({
    issuer: foreign.issuer,
    workflow: { match, client: undefined, scopes: ['projects:read'] },
  });
  closing.push(() => broker.close());
  const cloud = await startDemoCloud({ port: 0 });
  closing.push(() => cloud.close());
  const token = writeApiToken(broker.folder);
  const front = await Eavesdropper.start();
  closing.push(() => front.close());
  const gateway = await startTestGateway({
    upstream: cloud.origin,
    config: {
      public_origin: front.origin,
      issuers: [{ issuer: foreign.issuer }],
      admin: { port: 0, api_token_file: token },
      ended_jobs: { store: 'memory' },
    },
  });
  front.port = gateway.port;
  closing.push(() => gateway.close());
  writeFileSync(join(broker.folder, 'registration.token'), INITIAL_TOKEN, { mode: 0o600 });
  await broker.startBroker({
    authorization_server: {
      issuer: foreign.issuer,
      registration: { initial_access_token_file: 'registration.token' },
    },
    ended_jobs: { gateways: [{ url: gateway.gateway.adminOrigin, api_token_file: token }] },
  });
  return { foreign, broker, gateway, front };
}

type Scene = Awaited<ReturnType<typeof setScene>>;

async function startJob({ broker, front }: Scene) {
  const said: string[] = [];
  const api = { name: 'cloud', url: `${front.origin}/v1`, resource: RESOURCE, scopes: ['projects:read'] };
  const apis = [{ ...api, authorization_details: ASKED, variables: ['CLOUD_URL'] }];
  const identity = { source: 'gitlab' };
  const config = parseAgentConfig({ version: 1, broker: { url: broker.broker.origin, identity }, apis }, 'test');
  const variables = {
    SALLYPORT_ID_TOKEN: await broker.ci.token({ repository_id: '456789' }),
    PATH: String(process.env['PATH']),
  };
  const notices = new Notices((line) => void said.push(line));
  const agent = await startAgent({ config, variables, notices, clock: Date.now, user: null });
  closing.push(() => agent.end());
  const env = environmentOf(variables, agent.exported);
  const curl = (...argv: string[]) =>
    new Promise<string>((done) => {
      const all = ['-sS', '-m', '20', '-w', ' %{http_code}', ...argv, `${env['CLOUD_URL']}/projects/p1`];
      execFile('curl', all, { env }, (_error, out) => done(out));
    });
  return { agent, env, curl, said };
}

/** Why the gateway refuses a copied token, used with a key of the thief's own. */
async function reasonFor(token: string, { front }: Scene): Promise<string | undefined> {
  const { privateKey, publicJwk } = await makeKey();
  const url = `${front.origin}/v1/projects/p1`;
  const dpop = await makeProof({ privateKey, publicJwk, method: 'GET', url, accessToken: token, clock: Date.now });
  const response = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } });
  return ((await response.json()) as { reason?: string }).reason;
}

describe('an authorization server that is not ours', () => {
  it.each([
    ['ES256', true],
    ['PS256', false],
    ['EdDSA', true],
  ] as const)(
    'registers the client of a workflow, and its tokens serve a job until that ends (%s, nonces: %s)',
    async (alg, nonce) => {
      const scene = await setScene(alg, nonce);
      const { foreign, broker, gateway, front } = scene;
      const registered = ({ msg }: Record<string, unknown>) => msg === 'a client was registered for the workflow';
      await eventually('the client is registered', () => broker.lines.some(registered));
      const { agent, env, curl, said } = await startJob(scene);
      expect(env).not.toHaveProperty('SALLYPORT_ID_TOKEN');
      expect(await curl()).toBe('{"id":"p1","name":"shop"}\n 200');
      expect(await curl('-X', 'DELETE')).toMatch(/"policy\.insufficient_scope".* 403$/s);
      expect(said.join('\n')).toContain(
        'The token has: scope projects:read, and projects.get on projects/p1 (cloud_api).',
      );

      const token = (front.take()[0]?.field('authorization') ?? '').replace(/^DPoP /, '');
      expect(decodeProtectedHeader(token)).toMatchObject({ typ: 'at+jwt', alg });
      expect(decodeJwt(token)).toMatchObject({
        iss: foreign.issuer,
        aud: RESOURCE,
        client_id: broker.lines.find(registered)?.['client_id'],
        cnf: { jkt: agent.thumbprint },
      });
      expect(await reasonFor(token, scene)).toBe('proof.key_mismatch');
      await agent.end();
      const refused = async () => (await reasonFor(token, scene)) === 'token.job_ended';
      await eventually('the token is refused as that of an ended job', refused, 1);
      expect(said.filter((line) => line.includes('could not be ended'))).toEqual([]);
      expect(broker.records().at(-1)).toMatchObject({ event: 'job_ended', by: 'job', everywhere: true });
      const outcomes = (await gateway.records(4)).map(
        (record) => (record['custom'] as { sallyport: { outcome: string } }).sallyport.outcome,
      );
      expect(outcomes.slice(0, 2)).toEqual(['allowed', 'refused']);
    },
  );
});
