import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type AgentScene, DETAILS, SCOPES, ScriptedGateway, setAgentScene } from '../agent/scene.ts';
import { type Program, runSallyport } from '../support/program.ts';

/** `sallyport agent exec` as a process: what it passes on between the command and whoever started it. */

let scene: AgentScene;
let gateway: ScriptedGateway;
const programs: Program[] = [];

beforeAll(async () => {
  scene = await setAgentScene();
  gateway = await ScriptedGateway.start();
  writeFileSync(join(scene.folder, 'agent.yaml'), stringify(agentConfig('ci')));
});
afterAll(async () => {
  for (const { child } of programs) child.kill('SIGKILL');
  await gateway.close();
  await scene.close();
});

function agentConfig(client: string) {
  const authority = { issuer: scene.authserver.issuer, client_id: client, private_key_file: 'client.jwk.json' };
  const api = { name: 'cloud', url: `${gateway.origin}/v1`, resource: 'https://cloud.example.com/v1', scopes: SCOPES };
  const apis = [{ ...api, authorization_details: DETAILS, variables: ['CLOUD_URL'] }];
  return { version: 1, authorization_server: authority, apis };
}

function exec(...argv: string[]): Program {
  const program = runSallyport(scene.folder, 'agent', 'exec', '--config', 'agent.yaml', '--', ...argv);
  programs.push(program);
  return program;
}

describe('sallyport agent exec', { timeout: 20_000 }, () => {
  it("nothing of the token, and no identity token, is in the command's environment", async () => {
    const job = exec('env');
    expect(await job.ended).toBe(0);
    expect(job.text()).not.toMatch(/eyJ|BEGIN .*PRIVATE|ACTIONS_ID_TOKEN/);
    expect(job.text()).toMatch(/^CLOUD_URL=http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{64}$/m);
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
    writeFileSync(join(scene.folder, 'greedy.yaml'), stringify(agentConfig('other')));
    const job = runSallyport(scene.folder, 'agent', 'exec', '--config', 'greedy.yaml', '--', 'echo', 'ran');
    programs.push(job);
    expect([await job.ended, job.text()]).toEqual([1, '']);
    expect(job.errors()).toContain('refused: invalid_client');
  });
});
