import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import dynalite from 'dynalite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type AgentScene, setAgentScene } from '../agent/scene.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Program, runSallyport } from '../support/program.ts';

/**
 * Unmodified tools and SDKs of a job, through agent and gateway: curl, an AWS SDK against a server of DynamoDB's protocol, the client of
 * Kubernetes against a small API server. Neither upstream can be reached without the gateway's own credential for Kubernetes.
 */

const RESOURCE = 'https://cloud.example.com/v1';
const DYNAMO = 'http://dynamodb.cloud.example.com';
const KUBERNETES = 'http://kubernetes.cloud.example.com';
const detail = (actions: string[], identifier: string) => ({ type: 'cloud_api', actions, identifier });
const OF_DYNAMO = { scopes: ['dynamodb'], authorization_details: [detail(['dynamodb.call'], 'tables')] };
const OF_KUBERNETES = {
  scopes: ['kubernetes'],
  authorization_details: [detail(['pods.list', 'configmaps.create'], 'namespaces/shop')],
};

let folder: string;
let scene: AgentScene;
let gateway: TestGateway;
let dynamo: Server;
let kubernetes: Server;
const seen: { url: string; authorization: string | undefined; dpop: unknown }[] = [];
const programs: Program[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-job-'));
  dynamo = dynalite({ createTableMs: 10 });
  kubernetes = createServer(serveKubernetes);
  for (const server of [dynamo, kubernetes]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  scene = await setAgentScene(
    {},
    {
      resources: [RESOURCE],
      scopes: ['dynamodb', 'kubernetes'],
      authorization_details: [...OF_DYNAMO.authorization_details, ...OF_KUBERNETES.authorization_details],
    },
  );
  gateway = await startTestGateway({
    upstream: 'http://127.0.0.1:1',
    config: { issuers: [{ issuer: scene.authserver.issuer }], routes: [routeOfDynamo(), routeOfKubernetes()] },
  });
  writeFileSync(join(folder, 'agent.yaml'), stringify(agentConfig()));
});
afterAll(async () => {
  for (const { child } of programs) child.kill('SIGKILL');
  await gateway.close();
  await scene.close();
  for (const server of [dynamo, kubernetes]) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
}

function operation(name: string, request: string, resource: string, scope: string) {
  return { name, request, resource, access: 'write', scopes: [scope], authorization_details: { type: 'cloud_api' } };
}

function routeOfDynamo() {
  const operations = [operation('dynamodb.call', 'POST /', 'tables', 'dynamodb')];
  return {
    name: 'dynamodb',
    hosts: ['dynamodb.cloud.example.com'],
    path_prefix: '/',
    resource: RESOURCE,
    operations: write('dynamodb.yaml', stringify({ service: 'dynamodb', operations })),
    upstream: {
      url: urlOf(dynamo),
      credential: {
        value_file: write(
          'dynamodb.credential',
          'AWS4-HMAC-SHA256 Credential=gateway/20261128/eu-central-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=00',
        ),
      },
    },
  };
}

function routeOfKubernetes() {
  const operations = [
    operation('pods.list', 'GET /api/v1/namespaces/{namespace}/pods', 'namespaces/{namespace}/pods', 'kubernetes'),
    operation(
      'configmaps.create',
      'POST /api/v1/namespaces/{namespace}/configmaps',
      'namespaces/{namespace}/configmaps',
      'kubernetes',
    ),
    operation(
      'secrets.list',
      'GET /api/v1/namespaces/{namespace}/secrets',
      'namespaces/{namespace}/secrets',
      'kubernetes',
    ),
  ];
  return {
    name: 'kubernetes',
    hosts: ['kubernetes.cloud.example.com'],
    path_prefix: '/api',
    resource: RESOURCE,
    operations: write('kubernetes.yaml', stringify({ service: 'kubernetes', operations })),
    upstream: {
      url: urlOf(kubernetes),
      credential: { value_file: write('kubernetes.credential', 'Bearer of-the-gateway') },
    },
  };
}

function agentConfig() {
  const common = { gateway: gateway.origin, resource: RESOURCE };
  return {
    version: 1,
    authorization_server: {
      issuer: scene.authserver.issuer,
      client_id: 'ci',
      private_key_file: join(scene.folder, 'client.jwk.json'),
    },
    apis: [
      { name: 'dynamodb', url: DYNAMO, ...common, ...OF_DYNAMO, variables: ['AWS_ENDPOINT_URL_DYNAMODB'] },
      { name: 'kubernetes', url: KUBERNETES, ...common, ...OF_KUBERNETES, kubeconfig: true },
    ],
    placeholders: ['aws'],
  };
}

/** As much of a Kubernetes API server as two calls need; it takes the gateway's credential only. */
function serveKubernetes(...[request, response]: Parameters<Parameters<typeof createServer>[1] & object>): void {
  const { url = '', headers } = request;
  seen.push({ url, authorization: headers.authorization, dpop: headers['dpop'] });
  let body = '';
  request.setEncoding('utf8').on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => {
    const good = headers.authorization === 'Bearer of-the-gateway';
    response.writeHead(good ? (request.method === 'POST' ? 201 : 200) : 401, { 'content-type': 'application/json' });
    const pods = { kind: 'PodList', apiVersion: 'v1', metadata: {}, items: [{ metadata: { name: 'web-1' } }] };
    response.end(request.method === 'POST' ? body : JSON.stringify(pods));
  });
}

function exec(...argv: string[]): Program {
  const program = runSallyport(folder, 'agent', 'exec', '--config', 'agent.yaml', '--', ...argv);
  programs.push(program);
  return program;
}

describe('unmodified tools of a job, through agent and gateway', { timeout: 20_000 }, () => {
  it('an AWS SDK and the client of Kubernetes do their work with what stands in the environment', async () => {
    const job = exec(process.execPath, join(import.meta.dirname, 'tools/sdk_job.mjs'));
    const code = await job.ended;
    expect([code, code === 0 ? '' : job.errors()]).toEqual([0, '']);
    expect(JSON.parse(job.text())).toEqual({
      item: { id: { S: 'd1' }, ref: { S: 'main' } },
      tables: ['deployments'],
      pods: ['web-1'],
      configMap: { a: 'b' },
      secrets: 403,
    });
    expect(job.errors()).toContain('which is secrets.list on namespaces/shop/secrets, with 403');
    expect(
      seen.every(({ authorization, dpop }) => authorization === 'Bearer of-the-gateway' && dpop === undefined),
    ).toBe(true);
    const outcomes = (await gateway.records(0)).map(
      (record) => (record['custom'] as { sallyport: { outcome: string } }).sallyport.outcome,
    );
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(1);
    expect(outcomes.length).toBeGreaterThan(6);
  });

  it("nothing of the token, and no identity token, is in the command's environment", async () => {
    const job = exec('env');
    expect(await job.ended).toBe(0);
    expect(job.text()).not.toMatch(/eyJ|BEGIN .*PRIVATE|ACTIONS_ID_TOKEN/);
    expect(job.text()).toMatch(/^AWS_ENDPOINT_URL_DYNAMODB=http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{64}$/m);
  });

  it.each([
    [['sh', '-c', 'exit 7'], 7],
    [['true'], 0],
    [['sh', '-c', 'kill -9 $$'], 137],
    [['sh', '-c', 'kill -TERM $$'], 143],
    [['no-such-command-here'], 127],
    [['/etc/passwd'], 126],
  ])('passes the exit code on: %j → %i', async (argv, code) => {
    expect(await exec(...argv).ended).toBe(code);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('passes %s on to the command', async (signal) => {
    const script = `trap 'echo got; exit 42' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
    const job = exec('sh', '-c', script);
    await job.says('ready');
    job.child.kill(signal);
    expect([await job.ended, job.text()]).toEqual([42, 'ready\ngot\n']);
  });

  it('a job that gets no token does not run the command', async () => {
    const config = agentConfig();
    write(
      'greedy.yaml',
      stringify({ ...config, authorization_server: { ...config.authorization_server, client_id: 'other' } }),
    );
    const job = runSallyport(folder, 'agent', 'exec', '--config', 'greedy.yaml', '--', 'echo', 'ran');
    programs.push(job);
    expect([await job.ended, job.text()]).toEqual([1, '']);
    expect(job.errors()).toContain('refused: invalid_client');
  });
});
