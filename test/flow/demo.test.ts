import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

let directory: string;
let state: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-demo-'));
  state = join(directory, '.sallyport');
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

interface Program {
  readonly child: ChildProcess;
  /** Standard output so far. */
  text(): string;
  errors(): string;
  /** Resolves when the output holds these words, or rejects when the program ends before. */
  says(words: string): Promise<void>;
  readonly ended: Promise<number | null>;
}

/** Runs the command line as a user does. */
function sallyport(...argv: string[]): Program {
  const child = spawn(process.execPath, [join(ROOT, 'src/main.ts'), ...argv], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let text = '';
  let errors = '';
  child.stdout?.on('data', (chunk) => {
    text += String(chunk);
  });
  child.stderr?.on('data', (chunk) => {
    errors += String(chunk);
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const says = (words: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => text.includes(words) && resolve();
      child.stdout?.on('data', look);
      void ended.then(() => reject(new Error(`ended without saying "${words}":\n${text}\n${errors}`)));
      look();
    });
  return { child, text: () => text, errors: () => errors, says, ended };
}

describe('sallyport demo', () => {
  it('--once: tells the story, every call goes as it must, and nothing is left running', {
    timeout: 120_000,
  }, async () => {
    const demo = sallyport('demo', '--once');
    expect([await demo.ended, demo.errors()]).toEqual([0, '']);
    const text = demo.text();
    const answers = [...text.matchAll(/^ +answer +(\d+ .*)$/gm)].map(([, answer]) =>
      answer?.replace(/\{.*/, '').trim(),
    );
    expect(answers).toEqual([
      '201 Created',
      '403 Forbidden  policy.insufficient_scope',
      '403 Forbidden  policy.insufficient_authorization_details',
      '401 Unauthorized  proof.replayed',
      '401 Unauthorized  proof.key_mismatch',
      '401 Unauthorized  proof.bound_token_as_bearer',
      '401 Unauthorized',
    ]);
    expect(text.match(/^ +record +\S/gm)).toHaveLength(6);
    expect(text).toContain('What would do: scope projects:admin, and projects.delete on projects/p1 (cloud_api).');
    expect(text).toContain('Every call went as it must.');
    // Neither a token or proof nor a colour is in it.
    expect(text).not.toMatch(/eyJ[\w-]{20,}/);
    expect(text).not.toContain('\x1b');
  });

  it('goes on: call works with the same job key, its records are shown, and Ctrl-C ends everything', {
    timeout: 120_000,
  }, async () => {
    const demo = sallyport('demo');
    await demo.says('Stop with Ctrl-C');
    const allowed = sallyport('call', 'POST', '/v1/projects/p1/builds', '--data', '{"ref":"refs/heads/main"}');
    expect([await allowed.ended, allowed.text()]).toEqual([0, expect.stringContaining('201 Created')]);
    const refused = sallyport('call', 'GET', '/v1/projects/p2/secrets/bank-password');
    expect([await refused.ended, refused.text()]).toEqual([
      1,
      expect.stringContaining('What would do: scope secrets:read'),
    ]);
    const replayed = sallyport('call', 'GET', '/v1/projects/p1/builds', '--repeat-proof');
    expect([await replayed.ended, replayed.text()]).toEqual([
      1,
      expect.stringMatching(/200 OK[\s\S]*401 Unauthorized {2}proof\.replayed/),
    ]);
    await demo.says('refused (proof.replayed): builds.list on projects/p1/builds');
    demo.child.kill('SIGINT');
    expect([await demo.ended, demo.errors()]).toEqual([0, '']);
    const late = sallyport('call', 'GET', '/v1/projects/p1/builds');
    expect([await late.ended, late.errors()]).toEqual([1, expect.stringContaining('is the demo running?')]);
  });

  it('keeps its keys for this user only, and no token at all', { timeout: 120_000 }, async () => {
    const demo = sallyport('demo', '--once', '--state', state);
    expect(await demo.ended).toBe(0);
    expect((await stat(state)).mode & 0o777).toBe(0o700);
    for (const name of await readdir(state)) {
      const file = join(state, name);
      expect([name, (await stat(file)).mode & 0o077]).toEqual([name, 0]);
      expect(await readFile(file, 'utf8')).not.toMatch(/eyJ[\w-]+\.[\w-]+\./);
    }
  });

  it('call without a demo says what to do', async () => {
    const call = sallyport('call', 'GET', '/v1/projects');
    expect([await call.ended, call.errors()]).toEqual([1, expect.stringContaining('start the demo first')]);
  });
});
