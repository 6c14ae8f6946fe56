import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { requiredBuiltins } from '../../src/rego/required_builtins.ts';
import { runSallyport } from '../support/program.ts';
import { makePolicyFolder, type PolicyFolder, SOUND } from './policy_folder.ts';

const folders: PolicyFolder[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) folder.remove();
});

function folderOf(files: Readonly<Record<string, string>>): PolicyFolder {
  const folder = makePolicyFolder(files);
  folders.push(folder);
  return folder;
}

const MISSPELT = 'package a\n\nallowed if {\n\tinput.job.enviroment == "production"\n}\n';
const TIMEOUT = { timeout: 60_000 };

describe('sallyport policy check', TIMEOUT, () => {
  it('finds nothing wrong with a sound policy, and exits 0', async () => {
    const { code, text } = await folderOf(SOUND).policy('check');
    expect(text).toContain('1 module and 1 test file: no problem');
    expect(code).toBe(0);
  });

  it('points at a misspelt field with place, source line, caret and hint, and exits 1', async () => {
    const { code, text } = await folderOf({ 'a.rego': MISSPELT }).policy('check');
    const lines = text.split('\n');
    expect(lines[0]).toBe('policies/a.rego:4:2: undefined ref: input.job.enviroment (rego_type_error)');
    expect(lines[1]).toBe('   4 |  input.job.enviroment == "production"');
    expect(lines[2]).toBe('     |  ^^^^^');
    expect(lines[3]).toBe('      hint: did you mean environment?');
    expect(code).toBe(1);
  });

  it('says the same as JSON, and nothing else', async () => {
    const { code, text, errors } = await folderOf({ 'a.rego': MISSPELT }).policy('check', '--json');
    expect(JSON.parse(text)).toMatchObject({
      ok: false,
      findings: [{ file: 'a.rego', row: 4, column: 2, code: 'rego_type_error', hint: 'did you mean environment?' }],
    });
    expect(errors).toBe('');
    expect(code).toBe(1);
  });

  it('names a function that compiled policies do not have', async () => {
    const text = 'package a\n\nx := http.send({"method": "GET", "url": "https://cloud.example.com"})\n';
    const answer = await folderOf({ 'a.rego': text }).policy('check');
    expect(answer.text).toContain('hint: compiled policies do not have http.send');
    expect(answer.code).toBe(1);
  });

  it('wrong usage exits 2, a folder that is not there 1', async () => {
    const folder = folderOf(SOUND);
    const [usage, missing] = await Promise.all([folder.policy('check', '--wat'), folder.policy('check', 'elsewhere')]);
    expect(usage.code).toBe(2);
    expect(missing).toMatchObject({ code: 1, errors: expect.stringContaining('elsewhere cannot be read') });
  });
});

describe('sallyport policy check --watch', TIMEOUT, () => {
  it('checks again after a change, also of a test, goes on after a failure, and ends in order on SIGTERM', async () => {
    const folder = folderOf(SOUND);
    const program = runSallyport(dirname(folder.path), 'policy', 'check', '--watch');
    try {
      await program.says('no problem');
      folder.write({ 'p/other_test.rego': 'package other_test\n\ntest_a if missing\n' });
      await program.says('policies/p/other_test.rego:3:11: var missing is unsafe');
      folder.write({ 'p/data.json': '{' });
      await program.says('data.json is not JSON');
      program.child.kill('SIGTERM');
      expect(await program.ended).toBe(0);
    } finally {
      program.child.kill('SIGKILL');
    }
  });
});

describe('sallyport policy fmt', TIMEOUT, () => {
  it('--check names what would change and leaves it; --write writes it', async () => {
    const folder = folderOf({ 'a.rego': 'package a\nx:=1\n' });
    const checked = await folder.policy('fmt', '--check');
    expect(checked).toMatchObject({ code: 1, text: expect.stringContaining('policies/a.rego\n1 file would change') });
    expect(readFileSync(join(folder.path, 'a.rego'), 'utf8')).toBe('package a\nx:=1\n');
    expect((await folder.policy('fmt', '--write')).code).toBe(0);
    expect(readFileSync(join(folder.path, 'a.rego'), 'utf8')).toBe('package a\n\nx := 1\n');
  });
});

describe('sallyport policy build', TIMEOUT, () => {
  it('writes a bundle, or a WASM module alone', async () => {
    const folder = folderOf(SOUND);
    const [bundle, wasm] = await Promise.all([folder.policy('build'), folder.policy('build', '--output', 'p.wasm')]);
    expect([bundle.code, wasm.code]).toEqual([0, 0]);
    const file = (name: string) => readFileSync(join(dirname(folder.path), name));
    expect([...file('bundle.tar.gz').subarray(0, 2)]).toEqual([0x1f, 0x8b]);
    expect(await requiredBuiltins(new Uint8Array(file('p.wasm')))).toEqual([]);
  });

  it('writes nothing where the policy does not compile', async () => {
    const folder = folderOf({ 'a.rego': 'package sallyport\n\ndecision if missing\n' });
    expect((await folder.policy('build')).code).toBe(1);
    expect(existsSync(join(dirname(folder.path), 'bundle.tar.gz'))).toBe(false);
  });
});
