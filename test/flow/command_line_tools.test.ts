import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type RunningApis, startApis } from '../../examples/first_job/apis.ts';
import { type AgentScene, setAgentScene } from '../agent/scene.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type Program, runSallyport } from '../support/program.ts';

/** kubectl and the AWS CLI, where this machine has them, through agent and gateway: by a local URL, and by HTTPS_PROXY. */

const ROOT = resolve(import.meta.dirname, '../..');
const RESOURCE = 'https://cloud.example.com/v1';
const DETAILS = [
  { type: 'kubernetes_api', actions: ['pods.list', 'configmaps.create'], identifier: 'namespaces/shop' },
  { type: 'kubernetes_api', actions: ['discovery.get'], identifier: 'discovery' },
];
const OF_KUBERNETES = {
  scopes: ['discovery:read', 'pods:read', 'configuration:write'],
  authorization_details: DETAILS,
};
const OF_DYNAMODB = { scopes: ['tables:read', 'tables:write'] };
/** How the tools know them: the names of a cloud. */
const KUBERNETES = 'https://kubernetes.example.com';
const DYNAMODB = 'https://dynamodb.eu-central-1.amazonaws.com';

const has = (command: string) => {
  try {
    execFileSync('sh', ['-c', `${command} >/dev/null 2>&1`], { timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
};
const kubectl = has('kubectl version --client');
const aws = has('aws --version');

let folder: string;
let scene: AgentScene;
let apis: RunningApis;
let gateway: TestGateway;
const programs: Program[] = [];

beforeAll(async () => {
  if (!kubectl && !aws) return;
  folder = mkdtempSync(join(tmpdir(), 'sallyport-tools-'));
  apis = await startApis(folder, { cloud: 0, dynamodb: 0, kubernetes: 0 });
  scene = await setAgentScene(
    { authorization_details_types: [{ type: 'cloud_api' }, { type: 'kubernetes_api' }] },
    { resources: [RESOURCE], scopes: [...OF_KUBERNETES.scopes, ...OF_DYNAMODB.scopes], authorization_details: DETAILS },
  );
  const route = (name: 'dynamodb' | 'kubernetes', url: string, catalogue: string) => ({
    name,
    hosts: [new URL(url).hostname],
    path_prefix: '/',
    resource: RESOURCE,
    operations: join(ROOT, 'catalogs', catalogue),
    upstream: { url: apis.origins[name], credential: { value_file: join(folder, `${name}.credential`) } },
  });
  gateway = await startTestGateway({
    upstream: 'http://127.0.0.1:1',
    config: {
      issuers: [{ issuer: scene.authserver.issuer }],
      routes: [route('dynamodb', DYNAMODB, 'aws_dynamodb.yaml'), route('kubernetes', KUBERNETES, 'kubernetes.yaml')],
    },
  });
  const agent = { version: 1, authorization_server: clientOf(scene), placeholders: ['aws'] };
  const common = { gateway: gateway.origin, resource: RESOURCE };
  const dynamodb = { name: 'dynamodb', url: DYNAMODB, ...common, ...OF_DYNAMODB };
  const kubernetes = { name: 'kubernetes', url: KUBERNETES, ...common, ...OF_KUBERNETES };
  const reverse = [
    { ...dynamodb, variables: ['AWS_ENDPOINT_URL_DYNAMODB'] },
    { ...kubernetes, kubeconfig: true },
  ];
  const forward = [dynamodb, kubernetes].map((api) => ({ ...api, listen: 'none' }));
  writeFileSync(join(folder, 'reverse.yaml'), stringify({ ...agent, apis: reverse }));
  writeFileSync(join(folder, 'forward.yaml'), stringify({ ...agent, apis: forward, proxy: {} }));
  writeFileSync(join(folder, 'kubeconfig'), stringify(KUBECONFIG));
  const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { generateName: 'made-' }, data: { a: 'b' } };
  writeFileSync(join(folder, 'config_map.json'), JSON.stringify(configMap));
});
afterAll(async () => {
  for (const { child } of programs) child.kill('SIGKILL');
  await gateway?.close();
  await scene?.close();
  await apis?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** A kubeconfig that a job would have without the agent; its token is worth nothing. */
const KUBECONFIG = {
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'shop', cluster: { server: KUBERNETES } }],
  users: [{ name: 'job', user: { token: 'placeholder' } }],
  contexts: [{ name: 'shop', context: { cluster: 'shop', user: 'job' } }],
  'current-context': 'shop',
};

function clientOf({ authserver, folder: at }: AgentScene) {
  return { issuer: authserver.issuer, client_id: 'ci', private_key_file: join(at, 'client.jwk.json') };
}

async function exec(mode: 'reverse' | 'forward', script: string) {
  const before = mode === 'forward' ? 'KUBECONFIG=./kubeconfig; export KUBECONFIG; ' : '';
  const environment = 'AWS_DEFAULT_REGION=eu-central-1; export AWS_DEFAULT_REGION; ';
  const program = runSallyport(
    folder,
    ...['agent', 'exec', '--config', `${mode}.yaml`, '--', 'sh', '-c', before + environment + script],
  );
  programs.push(program);
  return { code: await program.ended, text: program.text(), errors: program.errors() };
}

describe.each(['reverse', 'forward'] as const)('command-line tools in %s mode', { timeout: 120_000 }, (mode) => {
  it.skipIf(!kubectl)('kubectl reads, creates, and is refused what the token does not cover', async () => {
    const script = `kubectl get pods -n shop -o name && kubectl create -n shop --validate=false -f config_map.json -o name
      kubectl get secrets -n shop || echo "refused $?"`;
    const { code, text, errors } = await exec(mode, script);
    expect([code, text.replace(/(configmap\/)\S+/, '$1made'), errors]).toEqual([
      0,
      'pod/web-1\nconfigmap/made\nrefused 1\n',
      expect.stringContaining('which is secrets.list on namespaces/shop/secrets, with 403'),
    ]);
    expect(errors).toContain('Error from server (Forbidden)');
  });

  it.skipIf(!aws)('the AWS CLI writes, reads, and is refused what the token does not cover', async () => {
    const script = `aws dynamodb put-item --table-name deployments --item '{"id":{"S":"d7"}}' &&
      aws dynamodb get-item --table-name deployments --key '{"id":{"S":"d7"}}' --query Item.id.S --output text
      aws dynamodb delete-table --table-name deployments || echo refused`;
    const { code, text, errors } = await exec(mode, script);
    expect([code, text, errors]).toEqual([0, 'd7\nrefused\n', expect.stringContaining('with 403')]);
    expect(errors).toContain('What would do: scope tables:admin.');
  });
});
