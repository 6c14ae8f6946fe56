import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { runSallyport } from '../support/program.ts';
import { makePolicyFolder, type PolicyFolder, SOUND } from './policy_folder.ts';

/** What the commands say of folders in which something is wrong: where, what, and exit codes that scripts can use. */

const folders: PolicyFolder[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) folder.remove();
});

function folderOf(files: Readonly<Record<string, string>>): PolicyFolder {
  const folder = makePolicyFolder(files);
  folders.push(folder);
  return folder;
}

const TIMEOUT = { timeout: 120_000 };
const UNCLOSED = { 'p/unclosed.rego': 'package p\n\nx if {\n' };
const COMMANDS = ['check', 'test', 'lint', 'fmt', 'mutate', 'inspect', 'deps'] as const;

describe('every command that reads a folder', TIMEOUT, () => {
  const cases: [string, string, (path: string) => void][] = [
    ['is not there', 'policies cannot be read: there is no such folder', (path) => rmSync(path, { recursive: true })],
    [
      'is empty',
      'policies has no .rego files: start with a copy',
      (path) => {
        rmSync(path, { recursive: true });
        mkdirSync(path);
      },
    ],
    [
      'is a file',
      'policies is not a folder',
      (path) => {
        rmSync(path, { recursive: true });
        writeFileSync(path, 'package p\n');
      },
    ],
    [
      'has a file that is not UTF-8',
      'p/latin1.rego is not UTF-8 text',
      (path) => writeFileSync(join(path, 'p/latin1.rego'), Buffer.from('package p\n# caf\xe9\n', 'latin1')),
    ],
    [
      'has a link out of it',
      'p/link.rego is a link out of policies',
      (path) => symlinkSync('/etc/hostname', join(path, 'p/link.rego')),
    ],
    ['has a link to a folder', 'more is a link to a folder', (path) => symlinkSync('p', join(path, 'more'))],
    [
      'has a file that is too large',
      'bytes; at most 1048576 are read',
      (path) => writeFileSync(join(path, 'p/large.rego'), `package p\n#${'x'.repeat(1_048_576)}`),
    ],
    [
      'is too deep',
      'lies more than 16 folders deep',
      (path) => mkdirSync(join(path, ...Array(18).fill('d')), { recursive: true }),
    ],
    ['has data that is no JSON', 'data.json is not JSON', (path) => writeFileSync(join(path, 'p/data.json'), '{"a":')],
  ];

  it.each(cases)('says that the folder %s, and exits 1', async (_name, says, spoil) => {
    const folder = folderOf(SOUND);
    spoil(folder.path);
    for (const command of ['check', 'test', 'mutate'] as const) {
      const { code, errors } = await folder.policy(command);
      expect(errors, command).toContain(says);
      expect(code, command).toBe(1);
    }
    const { code, text } = await folder.policy('check', '--json');
    expect(JSON.parse(text)).toEqual({ ok: false, error: expect.stringContaining(says) });
    expect(code).toBe(1);
  });

  it.each(COMMANDS)('points at a syntax error, and exits 1: %s', async (command) => {
    const { code, text, errors } = await folderOf({ ...SOUND, ...UNCLOSED }).policy(command);
    expect(text + errors).toContain('policies/p/unclosed.rego:4:0: unexpected eof token');
    expect(code).toBe(1);
  });

  it('points at a syntax error also where there is nothing else', async () => {
    const { code, text } = await folderOf(UNCLOSED).policy('mutate');
    expect(text).toContain('policies/p/unclosed.rego:4:0: unexpected eof token');
    expect(text).toContain('hint: a bracket or brace is not closed');
    expect(code).toBe(1);
  });

  it.each([
    ['an unknown option', ['check', '--nonsense']],
    ['an unknown command', ['nonsense']],
    ['a percentage that is none', ['test', '--threshold', 'most']],
    ['seconds that are none', ['test', '--timeout', 'soon']],
    ['nothing to judge', ['eval']],
    ['a cloud shape that nobody knows', ['new', 'x', '--cloud', 'elsewhere']],
  ])('exits 2 for %s', async (_name, argv) => {
    expect((await folderOf(SOUND).policy(...argv)).code).toBe(2);
  });
});

describe('sallyport policy check', TIMEOUT, () => {
  it.each([
    ['a type error', 'x := count(1)', 'count: invalid argument(s)', 'want: (any<'],
    [
      'a field that the input does not have',
      'x if input.tokn.scopes',
      'undefined ref: input.tokn',
      'did you mean token?',
    ],
    ['a rule that uses itself', 'x if not x', 'recursive', 'a rule may not use itself'],
    ['two kinds of rule of one name', 'x := 1\n\nx contains 2', 'conflicting rules', ''],
    ['two defaults', 'default x := 1\n\ndefault x := 2', 'multiple default rules', ''],
    ['a variable that is not used', 'x if {\n\ty := 1\n}', 'assigned var y unused', 'remove it'],
    [
      'a function that WASM does not have',
      'x := json.patch({}, [])',
      'undefined function json.patch',
      'capabilities.json',
    ],
    ['old syntax', 'x { true }', '`if` keyword is required', ''],
  ])('says where %s is', async (_name, rule, message, hint) => {
    const { code, text } = await folderOf({ 'p.rego': `package p\n\n${rule}\n` }).policy('check');
    expect(text).toMatch(/policies\/p\.rego:\d+:\d+: /);
    expect(text).toContain(message);
    expect(text).toContain(hint);
    expect(code).toBe(1);
  });
});

describe('sallyport policy lint', TIMEOUT, () => {
  it('says that an entrypoint has no default, and so may be undefined', async () => {
    const files = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true if input.operation\n' };
    const { code, text } = await folderOf(files).policy('lint');
    expect(text).toContain('default-missing');
    expect(code).toBe(1);
  });
});

const ENDLESS = {
  'p/endless_test.rego': `package endless_test

test_never if {
	list := numbers.range(1, 5000)
	some x in list
	some y in list
	some z in list
	x > y
	y > z
	z > x
}
`,
};

describe('sallyport policy test --timeout', TIMEOUT, () => {
  it('ends a test that takes too long, names it, and runs the others', async () => {
    const { code, text } = await folderOf({ ...SOUND, ...ENDLESS }).policy('test', '--timeout', '0.2');
    expect(text).toContain('ERROR data.endless_test.test_never (policies/p/endless_test.rego:3)');
    expect(text).toContain('the test took longer than 200ms and was ended');
    expect(text).toContain('2 tests passed, 1 failed');
    expect(text).toContain('nothing was compared with WASM: a test took too long');
    expect(code).toBe(1);
  });

  it('says so as JSON, and has no coverage then', async () => {
    const argv = ['test', '--timeout', '0.2', '--coverage', '--json'];
    const { code, text } = await folderOf({ ...SOUND, ...ENDLESS }).policy(...argv);
    const report = JSON.parse(text) as { results: { name: string; timedOut?: boolean }[] };
    expect(report).toMatchObject({ ok: false });
    expect(report).not.toHaveProperty('coverage');
    expect(report.results.filter(({ timedOut }) => timedOut === true)).toMatchObject([{ name: 'test_never' }]);
    expect(code).toBe(1);
  });
});

describe('sallyport policy eval', TIMEOUT, () => {
  it('tells a rule that does not hold from one that nobody wrote', async () => {
    const folder = folderOf({ ...SOUND, 'p/more.rego': 'package sallyport\n\nnever if input.x == 1\n' });
    writeFileSync(join(dirname(folder.path), 'input.json'), '{}');
    const ask = (rule: string) => folder.policy('eval', '--input', 'input.json', '--entrypoint', rule);
    expect(await ask('sallyport/never')).toMatchObject({
      code: 0,
      text: expect.stringMatching(/^refused: policy\.undef/),
    });
    const { code, text } = await ask('sallyport/decisoin');
    expect(text).toContain('no rule defines data.sallyport.decisoin: there is sallyport/decision');
    expect(code).toBe(1);
  });
});

describe('output that nobody reads to its end', TIMEOUT, () => {
  it('ends the command without a word', () => {
    const folder = folderOf(SOUND);
    const main = join(import.meta.dirname, '../../src/main.ts');
    const script = `'${process.execPath}' '${main}' policy inspect policies | true`;
    const { status, stderr } = spawnSync('sh', ['-c', script], { cwd: dirname(folder.path), encoding: 'utf8' });
    expect(stderr).not.toMatch(/EPIPE|at /);
    expect(status).toBe(0);
  });
});

describe('sallyport policy test --watch, with an editor that writes in its own way', TIMEOUT, () => {
  it('runs again when a file is renamed over, deleted and made again, broken in between', async () => {
    const folder = folderOf(SOUND);
    const file = join(folder.path, 'p/decision.rego');
    const program = runSallyport(dirname(folder.path), 'policy', 'test', '--watch');
    const passes = () => program.text().split('2 tests passed, 0 failed').length - 1;
    const again = (count: number) => eventually(`${count} runs that pass`, () => passes() >= count, 40);
    try {
      await again(1);
      // As vim does: a backup, and the new text under another name that is renamed over.
      writeFileSync(join(folder.path, 'p/.decision.rego.swp'), 'swap');
      writeFileSync(join(folder.path, 'p/4913'), '');
      rmSync(join(folder.path, 'p/4913'));
      writeFileSync(`${file}~`, SOUND['p/decision.rego']);
      writeFileSync(join(folder.path, 'p/new'), `${SOUND['p/decision.rego']}\n# once more\n`);
      renameSync(join(folder.path, 'p/new'), file);
      await again(2);
      writeFileSync(file, 'package sallyport\n\ndecision := {\n');
      await program.says('policies/p/decision.rego:4:0: unexpected eof token');
      rmSync(file);
      await program.says('not ok after');
      const before = passes();
      writeFileSync(file, SOUND['p/decision.rego']);
      await again(before + 1);
      program.child.kill('SIGINT');
      expect(await program.ended).toBe(0);
    } finally {
      program.child.kill('SIGKILL');
    }
  });
});
