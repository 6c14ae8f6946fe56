import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ScriptedGateway } from '../agent/scene.ts';
import { ScriptedBroker } from '../support/scripted_broker.ts';

/** `npm run sallyport -- agent …`: what the script sets for Node.js stays with the agent, and is not handed to the job's command. */

const ROOT = resolve(import.meta.dirname, '../..');
const NAMES = ['NODE_COMPILE_CACHE', 'MALLOC_ARENA_MAX', 'SALLYPORT_USER_VARIABLES'];
const IDENTITY = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmFjbWUifQ.c2ln';

/** Where Node.js can make a folder: where it cannot, npm tries for ever. */
const OWN_CACHE = join(tmpdir(), 'sallyport own cache');
const running = new Set<ChildProcess>();

let folder: string;
let broker: ScriptedBroker;
let gateway: ScriptedGateway;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-script-'));
  broker = await ScriptedBroker.start();
  gateway = await ScriptedGateway.start();
  // It writes down what it was run with, as whoever makes identity tokens could need it.
  const names = NAMES.join('|');
  const fake = `#!/bin/sh\nenv | grep -E '^(${names})=' | sort > '${folder}/asked'\necho ${IDENTITY}\n`;
  writeFileSync(join(folder, 'buildkite-agent'), fake, { mode: 0o755 });
  const api = { name: 'cloud', url: `${gateway.origin}/v1`, scopes: ['projects:read'] };
  const identity = { source: 'buildkite', audience: 'https://broker.example.com' };
  const config = { version: 1, broker: { url: broker.origin, identity }, apis: [api] };
  writeFileSync(join(folder, 'agent.yaml'), stringify(config));
});
afterAll(async () => {
  broker.close();
  await gateway.close();
  for (const child of running) child.kill('SIGKILL');
  for (const path of [folder, OWN_CACHE]) rmSync(path, { recursive: true, force: true });
});

/** The user's environment of a run: without what this test run itself was started with. */
function environment(own: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !NAMES.includes(name) && !/^(npm_|NODE)/i.test(name));
  return { ...Object.fromEntries(kept), PATH: `${folder}:${process.env['PATH']}`, ...own };
}

/** Runs the script to its end. @returns what it printed, and which of the variables buildkite-agent had */
async function script(own: Readonly<Record<string, string>>, ...argv: string[]) {
  const args = ['run', '--silent', 'sallyport', '--', 'agent', ...argv];
  const child = spawn('npm', args, { cwd: ROOT, env: environment(own), stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let text = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  running.delete(child);
  return { code, text, errors };
}

const config = () => join(folder, 'agent.yaml');
const asked = () => readFileSync(join(folder, 'asked'), 'utf8').trim().split('\n').filter(Boolean);
/** The variables that are looked at, as `env` prints them. */
const among = (text: string) =>
  text
    .split('\n')
    .filter((line) => NAMES.some((name) => line.startsWith(`${name}=`)))
    .sort();

describe('npm run sallyport -- agent exec', { timeout: 60_000 }, () => {
  it.each<[string, Record<string, string>]>([
    ['neither', {}],
    ['both, to other values', { MALLOC_ARENA_MAX: '4', NODE_COMPILE_CACHE: OWN_CACHE }],
    ['one, to the very value of the script', { MALLOC_ARENA_MAX: '1' }],
    ['one, to nothing', { NODE_COMPILE_CACHE: '' }],
  ])('the user set %s: the command, and the tool of the CI system, get just that', async (_name, own) => {
    const { code, text, errors } = await script(own, 'exec', '--config', config(), '--', 'env');
    const expected = Object.entries(own).map(([name, value]) => `${name}=${value}`);
    expect([code, errors, among(text)]).toEqual([0, '', expected.sort()]);
    expect(asked()).toEqual(expected);
  });

  it('a sallyport within the command begins anew: no mark is left to mislead it', async () => {
    const inner = [
      'sh',
      '-c',
      `cd '${ROOT}' && npm run --silent sallyport -- agent exec --config '${config()}' -- env`,
    ];
    const { code, text } = await script({ MALLOC_ARENA_MAX: '2' }, 'exec', '--config', config(), '--', ...inner);
    expect([code, among(text)]).toEqual([0, ['MALLOC_ARENA_MAX=2']]);
  });
});

describe('npm run sallyport -- agent start', { timeout: 60_000 }, () => {
  it('prints none of them, and asks for identity tokens with the environment of the user', async () => {
    const started = await script({}, 'start', '--config', config(), '--print-env', 'json');
    expect([started.code, started.errors]).toEqual([0, '']);
    const exported = JSON.parse(started.text) as Record<string, string>;
    const ended = await script({}, 'end', '--agent', String(exported['SALLYPORT_AGENT']));
    expect(ended.code).toBe(0);
    expect(Object.keys(exported).filter((name) => NAMES.includes(name))).toEqual([]);
    expect(asked()).toEqual([]);
    rmSync(resolve(String(exported['SALLYPORT_AGENT_LOG']), '..'), { recursive: true, force: true });
  });
});
