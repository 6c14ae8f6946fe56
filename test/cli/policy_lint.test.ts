import { afterEach, describe, expect, it } from 'vitest';
import { makePolicyFolder, type PolicyFolder } from './policy_folder.ts';

const folders: PolicyFolder[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) folder.remove();
});

function folderOf(files: Readonly<Record<string, string>>): PolicyFolder {
  const folder = makePolicyFolder(files);
  folders.push(folder);
  return folder;
}

const TRAP = 'package a\n\ndenied if {\n\tnot input.job.environment in data.listed\n}\n';
const SAFE = 'package a\n\ndenied if not listed\n\nlisted if input.job.environment in data.listed\n';

describe('sallyport policy lint', { timeout: 60_000 }, () => {
  it('points at a trap with severity, place, source line, caret and hint, and exits 1', async () => {
    const { code, text } = await folderOf({ 'a.rego': TRAP }).policy('lint');
    expect(text.split('\n').slice(0, 4)).toEqual([
      'policies/a.rego:4:2: error: a call with input.job.environment is negated (negated-call)',
      '   4 |  not input.job.environment in data.listed',
      `     |  ${'^'.repeat('not input.job.environment in data.listed'.length)}`,
      expect.stringContaining('hint: where the field is missing'),
    ]);
    expect(code).toBe(1);
  });

  it('says the same as JSON, and nothing else', async () => {
    const { code, text, errors } = await folderOf({ 'a.rego': TRAP }).policy('lint', '--json');
    const finding = { file: 'a.rego', row: 4, column: 2, code: 'negated-call', severity: 'error' };
    expect(JSON.parse(text)).toMatchObject({ ok: false, findings: [finding, expect.anything()] });
    expect(errors).toBe('');
    expect(code).toBe(1);
  });

  it('exits 0 where nothing is found, 1 for a module that cannot be read, 2 for wrong usage', async () => {
    const [safe, broken] = [folderOf({ 'a.rego': SAFE }), folderOf({ 'a.rego': 'package' })];
    const answers = await Promise.all([safe.policy('lint'), broken.policy('lint'), safe.policy('lint', '--wat')]);
    expect(answers.map(({ code }) => code)).toEqual([0, 1, 2]);
    expect(answers[0]?.text).toContain('1 file: nothing found');
    expect(answers[1]?.text).toContain('policies/a.rego:1:7: ');
  });
});
