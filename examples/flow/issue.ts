import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exported, environmentOf } from '../../src/agent/environment.ts';
import { detailsText } from '../../src/oauth/refusal_text.ts';
import type { CiSystem } from '../first_job/ci_system.ts';
import { type Job, wordsOf } from './job.ts';
import { ENVIRONMENT, type Program, sallyport } from './program.ts';
import type { Stage, Started } from './stage.ts';
import type { Story } from './story.ts';

/** The broker starts, and makes a client at the authorization server for the workflow. */
export async function startBroker(story: Story, { startBroker, authserver, folder }: Stage): Promise<Program> {
  const broker = await startBroker();
  const made = await broker.logged(({ msg }) => msg === 'a client was registered for the workflow');
  const clientId = String(made['client_id']);
  const noted = await authserver.logged(({ msg }) => msg === 'client registered');
  story.row('started', `sallyport broker, ${broker.origin}`);
  story.row('sent', `POST ${authserver.origin}/register, with the initial access token of the CI engine`);
  story.good('came back', `client ${clientId} for the workflow ${String(made['workflow'])}`);
  story.expect('the client that the authorization server made', noted['client_id'], clientId);
  const { mode } = await stat(join(folder, 'state/broker'));
  story.expect('the mode of the folder with the private key', mode & 0o777, 0o700);
  story.row('key', 'its private half stays in state/broker, mode 0700; there is no shared secret');
  return broker;
}

/** The environment of a step before the agent is there: little of this one, and what the runner gives it. */
export function runnerVariables(ci: CiSystem): Record<string, string> {
  return { ...ENVIRONMENT, ...ci.variables };
}

/** An agent starts beside the job, and shows the job's identity token to the broker. */
export async function startJob(story: Story, { ci, folder, front }: Stage, started: Started): Promise<Job> {
  const variables = runnerVariables(ci);
  const before = ci.requests.length;
  const log = join(folder, 'state/agent.log');
  const argv = ['agent', 'start', '--config', 'agent.yaml', '--print-env', 'json', '--log', log];
  const agent = await sallyport(folder, argv, variables);
  story.row('started', 'sallyport agent start');
  story.ensure(`the agent starts: ${agent.errors}`, agent.code === 0);
  const exported = JSON.parse(agent.text) as Exported;
  const env = environmentOf(variables, exported);
  started.push({ name: 'agent', close: () => sallyport(folder, ['agent', 'end'], env).then(() => undefined) });
  const asked = ci.requests.slice(before).filter((request) => request.startsWith('GET /idtoken?'));
  story.row('sent', `${asked[0]}, with the request token of the runner`);
  const one = 'GET /idtoken?api-version=2.0&audience=https%3A%2F%2Fbroker.example.com';
  story.expect('what the CI system was asked for, once for each API', asked, [one, one, one]);
  for (const path of ['/.well-known/openid-configuration', '/.well-known/jwks'])
    story.ensure(`the broker reads ${path}`, ci.requests.includes(`GET ${path}`));
  story.row(
    'checked',
    `by the broker, with the keys that ${ci.origin} publishes: acme/shop, deploy.yml, production, run 1001`,
  );
  tellVariables(story, exported, env);
  front.take();
  const [issued] = await readIssued(folder);
  return { id: String(issued?.job_id), env, said: wordsOf(log) };
}

/** What the tools of the job find in their environment. */
function tellVariables(story: Story, exported: Exported, env: Readonly<Record<string, string>>): void {
  const names = Object.keys(exported).filter((name) => exported[name] !== null && !name.startsWith('SALLYPORT_'));
  story.good('came back', `for the tools: ${names.join(' ')}`);
  const text = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const secret = /eyJ[\w-]{20}|PRIVATE KEY|ACTIONS_ID_TOKEN/;
  story.expect(
    'variables with a token, a key or a way to another identity token',
    text.filter((one) => secret.test(one)),
    [],
  );
  const local = /^http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{64}/;
  for (const name of ['CLOUD_URL', 'AWS_ENDPOINT_URL_DYNAMODB'])
    story.ensure(`${name} is a local URL with the secret of the job`, local.test(String(env[name])));
}

/** A line of the broker's records. */
interface Issued {
  readonly event: string;
  readonly job_id: string;
  readonly workflow: string;
  readonly jkt: string;
  readonly asked: { readonly resources: readonly string[] };
  readonly granted: {
    readonly scope: string;
    readonly authorization_details: readonly Record<string, unknown>[] | null;
  };
}

async function readIssued(folder: string): Promise<Issued[]> {
  const text = await readFile(join(folder, 'state/issued.jsonl'), 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Issued);
}

/** What the broker got for the job: less than it asked for, and bound to its key. */
export async function tellTokens(story: Story, { folder }: Stage): Promise<void> {
  const issued = await readIssued(folder);
  story.expect(
    'what the broker did',
    issued.map(({ event, workflow }) => `${event} ${workflow}`),
    Array(3).fill('token_issued ship'),
  );
  story.expect(
    'keys and jobs that the tokens are for',
    [new Set(issued.map(({ jkt }) => jkt)).size, new Set(issued.map(({ job_id }) => job_id)).size],
    [1, 1],
  );
  story.row('asked', 'cloud: scope projects:read projects:admin builds:read builds:write');
  story.row('', 'projects.get, projects.delete, builds.list, builds.create on projects (cloud_api)');
  for (const { asked, granted } of issued) {
    story.good('granted', `${asked.resources.join(' ')}: scope ${granted.scope}`);
    if (granted.authorization_details !== null) story.row('', detailsText(granted.authorization_details));
  }
  const [cloud, dynamodb, kubernetes] = issued.map(({ granted }) => granted);
  story.expect('scopes of the token for the cloud', cloud?.scope, 'projects:read builds:read builds:write');
  story.expect('authorization_details of the token for the cloud', cloud?.authorization_details, [
    { type: 'cloud_api', actions: ['projects.get', 'builds.list', 'builds.create'], identifier: 'projects/p1' },
  ]);
  story.expect('scopes of the token for DynamoDB', dynamodb?.scope, 'tables:read tables:write');
  story.expect('authorization_details of the token for Kubernetes', kubernetes?.authorization_details, [
    { type: 'kubernetes_api', actions: ['pods.list', 'configmaps.create'], identifier: 'namespaces/shop' },
    { type: 'kubernetes_api', actions: ['discovery.get'], identifier: 'discovery' },
  ]);
  story.row('bound', `to the key with the thumbprint ${issued[0]?.jkt}, which the agent made and keeps in memory`);
}
