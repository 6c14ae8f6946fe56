import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { type AgentScene, DETAILS, SCOPES, ScriptedGateway, setAgentScene } from '../agent/scene.ts';

/** The examples for CI systems, run as those do: the script lines of the files themselves, in sh. */

const ROOT = resolve(import.meta.dirname, '../..');
let folder: string;
let scene: AgentScene;
let gateway: ScriptedGateway;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-examples-'));
  scene = await setAgentScene();
  gateway = await ScriptedGateway.start();
  mkdirSync(join(folder, 'bin'));
  const program = `#!/bin/sh\nexec '${process.execPath}' '${join(ROOT, 'src/main.ts')}' "$@"\n`;
  writeFileSync(join(folder, 'bin/sallyport'), program, { mode: 0o755 });
  const api = { name: 'cloud', url: `${gateway.origin}/v1`, resource: 'https://cloud.example.com/v1', scopes: SCOPES };
  const server = {
    issuer: scene.authserver.issuer,
    client_id: 'ci',
    private_key_file: join(scene.folder, 'client.jwk.json'),
  };
  const apis = [{ ...api, authorization_details: DETAILS, variables: ['CLOUD_URL'] }];
  writeFileSync(join(folder, 'agent.yaml'), stringify({ version: 1, authorization_server: server, apis }));
});
afterAll(async () => {
  await gateway.close();
  await scene.close();
  rmSync(folder, { recursive: true, force: true });
});

function sh(script: string, variables: Record<string, string> = {}) {
  const env = { ...variables, RUNNER_TEMP: folder, PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH']}` };
  const child = spawn('sh', ['-e', '-c', script], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  return new Promise<{ code: number | null; text: string; errors: string }>((done) => {
    child.once('close', (code) => done({ code, text, errors }));
  });
}

const INPUTS = { SALLYPORT_CONFIG_FILE: 'agent.yaml', SALLYPORT_RUN: 'curl -sS "$CLOUD_URL/x"; exit 3' };

describe('examples for CI systems', { timeout: 30_000 }, () => {
  it('the GitHub action: its step runs, takes inputs as data, and passes the exit code on', async () => {
    const action = parse(readFileSync(join(ROOT, 'examples/github-action/action.yml'), 'utf8')) as {
      inputs: Record<string, unknown>;
      runs: { using: string; steps: { shell: string; run: string; env: Record<string, string> }[] };
    };
    expect(action.runs.using).toBe('composite');
    const [step] = action.runs.steps;
    expect(step?.run).not.toContain('${{');
    const named = Object.values(step?.env ?? {}).map((text) => /^\$\{\{ inputs\.(\w+) \}\}$/.exec(text)?.[1]);
    expect(named).toEqual(Object.keys(action.inputs));
    expect(await sh(String(step?.run), INPUTS)).toEqual({ code: 3, text: 'ok', errors: '' });
  });

  it('the GitLab snippet: its script runs', async () => {
    const file = parse(readFileSync(join(ROOT, 'examples/gitlab/sallyport.gitlab-ci.yml'), 'utf8')) as {
      '.sallyport': { id_tokens: Record<string, { aud: string }>; script: string[] };
    };
    const { id_tokens: tokens, script } = file['.sallyport'];
    expect(Object.keys(tokens)).toEqual(['SALLYPORT_ID_TOKEN']);
    expect(await sh(script.join('\n'), INPUTS)).toEqual({ code: 3, text: 'ok', errors: '' });
  });

  it('a shell: start, use, end; afterwards nothing answers', async () => {
    const script = `eval "$(sallyport agent start --config agent.yaml)"
      curl -sS "$CLOUD_URL/y"; echo " $SALLYPORT_AGENT"
      sallyport agent end
      curl -s -m 2 "$CLOUD_URL/z" || echo gone
      sallyport agent end || echo "again $?"`;
    const { code, text, errors } = await sh(script);
    expect([code, text]).toEqual([0, expect.stringMatching(/^ok \S+agent\.sock\ngone\nagain 1\n$/)]);
    expect(errors).toContain('the job has ended; 1 requests, 0 refused');
    expect(errors).toContain('it has ended already');
  });

  it('start says why there is no agent, and exits with 1', async () => {
    const text = readFileSync(join(folder, 'agent.yaml'), 'utf8').replace('client_id: ci', 'client_id: other');
    writeFileSync(join(folder, 'other.yaml'), text);
    const { code, text: out, errors } = await sh('sallyport agent start --config other.yaml');
    expect([code, out, errors]).toEqual([1, '', expect.stringContaining('invalid_client')]);
  });

  it('github and json are printed for those who read them', async () => {
    const github = await sh('sallyport agent start --config agent.yaml --print-env github');
    expect(github.text).toMatch(/^SALLYPORT_AGENT=\S+\n(\w+=\S*\n)+$/);
    const agent = /^SALLYPORT_AGENT=(\S+)$/m.exec(github.text)?.[1] ?? '';
    expect((await sh(`sallyport agent end --agent '${agent}'`)).code).toBe(0);
  });
});
