import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Program, runSallyport } from '../support/program.ts';

let directory: string;
const programs: Program[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sallyport-demo-'));
});
afterEach(async () => {
  for (const { child } of programs.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

function sallyport(...argv: string[]): Program {
  const program = runSallyport(directory, ...argv);
  programs.push(program);
  return program;
}

describe('sallyport demo', () => {
  it('--once: tells the story, every call goes as it must, and nothing is left running', {
    timeout: 120_000,
  }, async () => {
    const demo = sallyport('demo', '--once');
    expect([await demo.ended, demo.errors()]).toEqual([0, '']);
    const text = demo.text();
    const answers = [...text.matchAll(/^ +answer +(\d+ \w+).*(?:\n +\S.*\(((?:proof|policy)\.\w+)\)\.$)?/gm)];
    expect(answers.map(([, status, reason]) => [status, reason])).toEqual([
      ['201 Created', undefined],
      ['403 Forbidden', 'policy.insufficient_scope'],
      ['403 Forbidden', 'policy.insufficient_authorization_details'],
      ['401 Unauthorized', 'proof.replayed'],
      ['401 Unauthorized', 'proof.key_mismatch'],
      ['401 Unauthorized', 'proof.bound_token_as_bearer'],
      ['401 Unauthorized', undefined],
    ]);
    expect(text.match(/^ +record +\S/gm)).toHaveLength(6);
    expect(text).toContain('What would do: scope projects:admin, and projects.delete on projects/p1 (cloud_api).');
    expect(text).toContain('Every call went as it must.');
    // Neither a token or proof nor a colour is in it.
    expect(text).not.toMatch(/eyJ[\w-]{20,}/);
    expect(text).not.toContain('\x1b');
    // What stays behind is for this user only, and no token is in it.
    const state = join(directory, '.sallyport');
    expect((await stat(state)).mode & 0o777).toBe(0o700);
    for (const name of await readdir(state)) {
      const file = join(state, name);
      expect([name, (await stat(file)).mode & 0o077]).toEqual([name, 0]);
      expect(await readFile(file, 'utf8')).not.toMatch(/eyJ[\w-]+\.[\w-]+\./);
    }
  });

  it('goes on: call works with the same job key, its records are shown, a changed policy counts, and Ctrl-C ends everything', {
    timeout: 120_000,
  }, async () => {
    await cp(join(import.meta.dirname, '../../policies'), join(directory, 'policies'), { recursive: true });
    const demo = sallyport('demo', '--policies', 'policies');
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
      expect.stringMatching(/200 OK[\s\S]*401 Unauthorized[\s\S]*proof\.replayed/),
    ]);
    await demo.says('refused (proof.replayed): builds.list on projects/p1/builds, client acme-infra-deploy');
    expect(demo.errors()).toBe('');
    const table = join(directory, 'policies/starter/data.json');
    await writeFile(table, (await readFile(table, 'utf8')).replace('"deploy", "look"', '"deploy"'));
    await demo.says('the policy was replaced');
    const withdrawn = sallyport('call', 'GET', '/v1/projects/p1/builds');
    expect([await withdrawn.ended, withdrawn.text()]).toEqual([1, expect.stringContaining('(policy.denied)')]);
    demo.child.kill('SIGINT');
    expect(await demo.ended).toBe(0);
    const late = sallyport('call', 'GET', '/v1/projects/p1/builds');
    expect([await late.ended, late.errors()]).toEqual([1, expect.stringContaining('is the demo running?')]);
  });

  it('call without a demo says what to do', async () => {
    const call = sallyport('call', 'GET', '/v1/projects');
    expect([await call.ended, call.errors()]).toEqual([1, expect.stringContaining('start the demo first')]);
  });
});
