import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPolicyFolder } from '../../src/policy/folder.ts';

let base: string;
let count = 0;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'sallyport-policies-'));
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

/** A new folder with these files. */
function folderWith(files: Record<string, string | Uint8Array>): string {
  const folder = join(base, `case-${count++}`);
  mkdirSync(folder);
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  return folder;
}

const REGO = 'package a\n';

describe('a folder of policies', () => {
  it('is all its Rego but tests, in a fixed order, and its data by folder', async () => {
    const folder = folderWith({
      'z.rego': 'package z\n',
      'lib/b.rego': 'package b\n',
      'lib/b_test.rego': 'package b_test\n',
      'lib/data.json': '{"limit":3}',
      'starter/deep/data.yaml': 'names: [a, b]\n"1": x\n',
      'data.yml': 'top: true\n',
      'notes.md': 'not Rego',
      'schema/input.schema.json': '{"type":"object"}',
      '.hidden/x.rego': 'not Rego either',
      '.data.json': '{"hidden":true}',
    });
    expect(await readPolicyFolder(folder)).toEqual({
      modules: [
        { path: 'lib/b.rego', text: 'package b\n' },
        { path: 'z.rego', text: 'package z\n' },
      ],
      data: { top: true, lib: { limit: 3 }, starter: { deep: { names: ['a', 'b'], 1: 'x' } } },
    });
  });

  it('joins data that different files say of one place', async () => {
    const folder = folderWith({ 'a.rego': REGO, 'data.json': '{"lib":{"a":1}}', 'lib/data.json': '{"b":2}' });
    expect((await readPolicyFolder(folder)).data).toEqual({ lib: { a: 1, b: 2 } });
  });

  it('refuses two files that say different things of one place', async () => {
    const folder = folderWith({ 'a.rego': REGO, 'data.json': '{"lib":{"a":[1]}}', 'lib/data.json': '{"a":[2]}' });
    await expect(readPolicyFolder(folder)).rejects.toThrow(
      `${join(folder, 'lib/data.json')} says something of data/lib/a, and so does another file of ${folder}`,
    );
  });

  it('takes further data on top, where the later wins', async () => {
    const folder = folderWith({ 'a.rego': REGO, 'data.json': '{"jobs":{"a":1,"b":{"c":2}}}' });
    const more = folderWith({ 'jobs.json': '{"jobs":{"b":{"c":3,"d":4}}}', 'even.yaml': 'jobs: { b: { d: [5] } }\n' });
    const files = [join(more, 'jobs.json'), join(more, 'even.yaml')];
    expect((await readPolicyFolder(folder, files)).data).toEqual({ jobs: { a: 1, b: { c: 3, d: [5] } } });
  });

  it('drops a byte order mark', async () => {
    const folder = folderWith({ 'a.rego': `\ufeff${REGO}`, 'data.json': '\ufeff{}' });
    expect(await readPolicyFolder(folder)).toEqual({ modules: [{ path: 'a.rego', text: REGO }], data: {} });
  });

  it('follows links to files inside it, as mounted configuration has them', async () => {
    const folder = folderWith({ '..version-1/a.rego': REGO, '..version-1/data.json': '{"a":1}' });
    symlinkSync('..version-1', join(folder, '..data'));
    symlinkSync('..data/a.rego', join(folder, 'a.rego'));
    symlinkSync('..data/data.json', join(folder, 'data.json'));
    expect(await readPolicyFolder(folder)).toEqual({ modules: [{ path: 'a.rego', text: REGO }], data: { a: 1 } });
  });

  it('may itself be reached by a link', async () => {
    const link = join(base, 'link');
    symlinkSync(folderWith({ 'a.rego': REGO }), link);
    expect((await readPolicyFolder(link)).modules).toHaveLength(1);
  });
});

describe('a folder that is refused', () => {
  const refusal = (folder: string, dataFiles: string[] = []) =>
    readPolicyFolder(folder, dataFiles).then(
      () => 'read',
      (error: Error) => error.message,
    );

  it('is not there, or is a file', async () => {
    expect(await refusal(join(base, 'none'))).toBe(`${join(base, 'none')} cannot be read: there is no such folder`);
    const file = join(folderWith({ 'a.rego': REGO }), 'a.rego');
    expect(await refusal(file)).toBe(`${file} is not a folder: give a folder of Rego files`);
  });

  it('has no policy', async () => {
    const folder = folderWith({ 'a_test.rego': REGO, 'data.json': '{}' });
    expect(await refusal(folder)).toBe(`${folder} has no .rego files: start with a copy of the folder policies`);
  });

  it('has a link that leads out of it, or nowhere', async () => {
    const outside = join(folderWith({ 'secret.rego': REGO }), 'secret.rego');
    for (const target of [outside, `../${outside.split('/').slice(-2).join('/')}`, '/etc/hostname']) {
      const folder = folderWith({ 'a.rego': REGO });
      symlinkSync(target, join(folder, 'b.rego'));
      expect(await refusal(folder)).toBe(
        `${join(folder, 'b.rego')} is a link out of ${folder}: put the file itself there`,
      );
    }
    const folder = folderWith({ 'a.rego': REGO });
    symlinkSync('none.rego', join(folder, 'b.rego'));
    expect(await refusal(folder)).toBe(`${join(folder, 'b.rego')} is a link that leads nowhere`);
  });

  it('has a link to a folder, whose rules would be left out without a word', async () => {
    const outside = folderWith({ 'outside.rego': 'package outside\n' });
    for (const [name, target] of [
      ['linked', outside],
      ['loop', '.'],
    ] as const) {
      const folder = folderWith({ 'a.rego': REGO });
      symlinkSync(target, join(folder, name));
      expect(await refusal(folder)).toBe(
        `${join(folder, name)} is a link to a folder, and these are not followed: put the folder itself there`,
      );
    }
    const folder = folderWith({ 'a.rego': REGO });
    symlinkSync('.', join(folder, 'b.rego'));
    expect(await refusal(folder)).toContain('b.rego is a link out of');
  });

  it('has a file that is not UTF-8', async () => {
    const folder = folderWith({ 'a.rego': new Uint8Array([0x70, 0xff, 0xfe]) });
    expect(await refusal(folder)).toBe(`${join(folder, 'a.rego')} is not UTF-8 text`);
  });

  it('has a file that is too large', async () => {
    const folder = folderWith({ 'a.rego': `${REGO}#${'x'.repeat(1_048_576)}` });
    expect(await refusal(folder)).toMatch(/a\.rego has \d+ bytes; at most 1048576 are read$/);
  });

  it('has too many files', async () => {
    const files = Object.fromEntries(Array.from({ length: 2001 }, (_, index) => [`p${index}.rego`, REGO]));
    const folder = folderWith(files);
    expect(await refusal(folder)).toBe(`${folder} has more than 2000 policy files`);
  });

  it('is too deep', async () => {
    const folder = folderWith({ [`${'d/'.repeat(17)}a.rego`]: REGO });
    expect(await refusal(folder)).toContain('lies more than 16 folders deep');
  });

  it('has data that cannot be what is written there', async () => {
    const cases: [string, string, RegExp][] = [
      ['data.json', '[1]', /is not an object: data has names at its top$/],
      ['data.json', '"text"', /is not an object/],
      ['data.json', '{"a":', /is not JSON: /],
      ['data.json', '{"a":{"b":12345678901234567890}}', /: \/a\/b has too many digits: write it as a text in quotes$/],
      ['data.json', '{"a":[1e400]}', /: \/a\/0 is not a number that JSON has$/],
      ['data.json', '{"a":{"__proto__":1}}', /: \/a\/__proto__ cannot be a name$/],
      ['data.json', '{"a":"\\ud800"}', /: \/a has half a surrogate pair$/],
      ['data.json', `{"a":${'['.repeat(70)}${']'.repeat(70)}}`, /is nested too deeply$/],
      ['data.json', `{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, /is nested too deeply$/],
      ['data.yaml', 'a: [1', /is not YAML: /],
      ['data.yaml', 'a: 1\na: 2\n', /is not YAML: /],
      ['data.yaml', 'a: .inf\n', /: \/a is not a number that JSON has$/],
      ['data.yaml', 'a: 12345678901234567890\n', /: \/a has too many digits/],
      [
        'data.yaml',
        'a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c]\n',
        /is not YAML: /,
      ],
    ];
    for (const [name, text, expected] of cases) {
      const folder = folderWith({ 'a.rego': REGO, [name]: text });
      const message = await refusal(folder);
      expect(message).toMatch(expected);
      expect(message.startsWith(join(folder, name))).toBe(true);
    }
  });

  it('is given data that is not there', async () => {
    const folder = folderWith({ 'a.rego': REGO });
    const missing = join(folder, 'jobs.json');
    expect(await refusal(folder, [missing])).toBe(`${missing} cannot be read: there is no such file`);
  });
});
