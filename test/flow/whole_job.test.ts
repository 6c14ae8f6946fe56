import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { environmentOf } from '../../src/agent/environment.ts';
import { Notices } from '../../src/agent/notices.ts';
import { parseAgentConfig } from '../../src/config/load_agent.ts';
import { type RunningDemoCloud, startDemoCloud } from '../../src/demo/cloud.ts';
import { makeProof } from '../../src/oauth/dpop_proof.ts';
import { CI_ISSUER, RESOURCE, TestBroker } from '../broker/fixture.ts';
import { writeApiToken } from '../support/api_token.ts';
import { eventually } from '../support/eventually.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { makeKey } from '../support/issuer.ts';

/**
 * The whole flow with the project's own parts: a workflow at the broker, a job with a GitHub-shaped identity token, a bound token with
 * narrowed rights, an unmodified curl through agent and gateway, the end of the job, and the same token refused.
 */

let folder: string;
let broker: TestBroker;
let cloud: RunningDemoCloud;
let gateway: TestGateway;
let wire: Server;
let read = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-whole-'));
  const token = writeApiToken(folder);
  // The repository that the table of the starter policy knows.
  const match = { issuer: CI_ISSUER, repository_id: '456789', workflow: 'deploy.yml', ref: 'refs/heads/main' };
  broker = await TestBroker.prepare({ workflow: { match } });
  cloud = await startDemoCloud({ port: 0 });
  wire = createServer((socket) => {
    const other = connect(gateway.port, '127.0.0.1');
    socket.on('data', (chunk) => {
      read += chunk.toString('latin1');
    });
    socket.pipe(other).pipe(socket);
    for (const end of [socket, other]) end.on('error', () => undefined);
  });
  await new Promise<void>((done) => wire.listen(0, '127.0.0.1', done));
  gateway = await startTestGateway({
    upstream: cloud.origin,
    config: {
      issuers: [{ issuer: broker.issuer }],
      public_origin: `http://127.0.0.1:${(wire.address() as AddressInfo).port}`,
      admin: { port: 0, api_token_file: token },
      ended_jobs: { store: 'memory' },
    },
  });
  await broker.startBroker({ ended_jobs: { gateways: [{ url: gateway.gateway.adminOrigin, api_token_file: token }] } });
});
afterAll(async () => {
  await gateway.close();
  await broker.close();
  await cloud.close();
  wire.close();
  rmSync(folder, { recursive: true, force: true });
});

const reasonOf = async (response: Response) => ((await response.json()) as { reason?: string }).reason;

describe('a job, from its identity to its end', () => {
  it('gets what lies within the ceiling of its workflow, works with curl, and its token is worthless within a second of its end', async () => {
    const said: string[] = [];
    const config = parseAgentConfig(
      {
        version: 1,
        broker: { url: broker.broker.origin, identity: { source: 'gitlab' } },
        apis: [
          {
            name: 'cloud',
            url: `${gateway.origin}/v1`,
            resource: RESOURCE,
            // More than the workflow may have.
            scopes: ['projects:read', 'projects:admin'],
            authorization_details: [{ type: 'cloud_api', actions: ['projects.get'], identifier: 'projects/p1' }],
            variables: ['CLOUD_URL'],
          },
        ],
      },
      'test',
    );
    const variables = {
      SALLYPORT_ID_TOKEN: await broker.ci.token({ repository_id: '456789' }),
      PATH: String(process.env['PATH']),
    };
    const notices = new Notices((line) => void said.push(line));
    const agent = await startAgent({ config, variables, notices, clock: Date.now, user: null });
    const env = environmentOf(variables, agent.exported);
    const curl = (...argv: string[]) =>
      new Promise<string>((done) => {
        execFile(
          'sh',
          ['-c', `curl -sS -m 10 -w ' %{http_code}' "$@" "$CLOUD_URL/projects/p1"`, 'sh', ...argv],
          { env },
          (_error, out) => done(out),
        );
      });

    const [first, second] = [await curl(), await curl('-X', 'DELETE')];
    expect(first).toBe('{"id":"p1","name":"shop"}\n 200');
    expect(second).toMatch(/"policy\.insufficient_scope".* 403$/s);
    expect(said.join('\n')).toContain(
      'The token has: scope projects:read, and projects.get on projects/p1 (cloud_api).',
    );
    expect(env).not.toHaveProperty('SALLYPORT_ID_TOKEN');

    const token = /^authorization: DPoP (\S+)\r$/im.exec(read)?.[1] ?? '';
    const use = async () => {
      const { privateKey, publicJwk } = await makeKey();
      const url = `${gateway.origin}/v1/projects/p1`;
      const dpop = await makeProof({ privateKey, publicJwk, method: 'GET', url, accessToken: token, clock: Date.now });
      return reasonOf(await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } }));
    };
    expect(await use()).toBe('proof.key_mismatch');
    await agent.end();
    await eventually(
      'the token of the ended job is refused as such',
      async () => (await use()) === 'token.job_ended',
      1,
    );
    expect(said.filter((line) => line.includes('could not be ended'))).toEqual([]);
  });
});
