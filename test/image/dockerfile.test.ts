import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NODE_FLAGS } from '../../src/memory/heap.ts';
import { copied, execForm, type Instruction, readDockerfile } from '../support/dockerfile.ts';

/** Rules for the image, of the kind that hadolint checks, and those that this project has set itself. What the image runs is tested in test/flow/image.test.ts. */

const ROOT = resolve(import.meta.dirname, '../..');
const read = (name: string) => readFileSync(join(ROOT, name), 'utf8');
const instructions = readDockerfile(read('Dockerfile'));
const all = (keyword: string): Instruction[] => instructions.filter((one) => one.keyword === keyword);
const last = Math.max(...instructions.map(({ stage }) => stage));
const final = instructions.filter(({ stage }) => stage === last);
const values = (list: readonly Instruction[], keyword: string) =>
  list.filter((one) => one.keyword === keyword).map(({ value }) => value);

describe('Dockerfile', () => {
  it('has only instructions that are known, in upper case', () => {
    const known = ['FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'EXPOSE', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'];
    expect(instructions.filter(({ keyword }) => !known.includes(keyword))).toEqual([]);
    expect(read('Dockerfile').match(/^[a-z]+ /gm)).toBeNull();
  });

  it('two stages: what builds is not in what runs', () => {
    const bases = all('FROM').map(({ value }) => value);
    expect(bases).toEqual([expect.stringMatching(/ AS build$/), expect.not.stringContaining(' AS ')]);
  });

  it('bases are pinned to the version of Node.js that the tests run on, never latest', () => {
    const { node } = (JSON.parse(read('package.json')) as { devDependencies: { node: string } }).devDependencies;
    for (const { value } of all('FROM')) {
      const image = value.split(' ')[0] ?? '';
      expect(image).toMatch(/^node:\d+\.\d+\.\d+-[a-z]+-slim(@sha256:[0-9a-f]{64})?$/);
      expect(image).toContain(`:${node}-`);
    }
  });

  it('no ADD, no downloads, no packages of the system, no sudo', () => {
    for (const { value } of all('RUN')) expect(value).not.toMatch(/\b(curl|wget|sudo|apt|apt-get|apk|git)\b|https?:/);
  });

  it('npm ci by the lock file; what only builds is taken out again', () => {
    const [install, build] = values(instructions, 'RUN');
    expect(install).toBe('npm ci');
    expect(build).toMatch(/^npm run build && npm prune --omit=dev\b/);
    const [first] = instructions.filter(({ keyword }) => keyword === 'COPY');
    expect(copied(first?.value ?? '').from).toEqual(['package.json', 'package-lock.json', '.npmrc']);
  });

  it('what npm ci runs at its end succeeds where the sources are not there yet', () => {
    const [first] = instructions.filter(({ keyword }) => keyword === 'COPY');
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-image-'));
    try {
      for (const name of copied(first?.value ?? '').from) copyFileSync(join(ROOT, name), join(folder, name));
      const { status, stderr } = spawnSync('npm', ['run', '--silent', 'prepare'], { cwd: folder, encoding: 'utf8' });
      expect([status, stderr]).toEqual([0, '']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('the last stage takes from the first one only, by name, owned by root but for the folder that is written', () => {
    const copies = values(final, 'COPY').map(copied);
    expect(copies.length).toBeGreaterThan(0);
    for (const { flags, from, to } of copies) {
      expect(flags).toContain('--from=build');
      const owner = to === '/var/lib/sallyport' ? '--chown=node:node' : '--chown=root:root';
      expect([from, flags]).toEqual([from, expect.arrayContaining([owner])]);
    }
    expect(values(final, 'RUN')).toEqual([]);
  });

  it('what it takes is what the package publishes, and node_modules', () => {
    const { files } = JSON.parse(read('package.json')) as { files: string[] };
    const taken = values(final, 'COPY').flatMap((value) => copied(value).from.map((path) => path.split('/')[2] ?? ''));
    const published = new Set(files.map((path) => path.split('/')[0] ?? ''));
    for (const folder of published) {
      if (folder !== 'README.md') expect(taken).toContain(folder);
    }
    for (const name of ['node_modules', 'package.json']) expect(taken).toContain(name);
  });

  it('runs as a user without rights, set after everything else that changes files', () => {
    const users = values(final, 'USER');
    expect(users).toHaveLength(1);
    expect(users[0]).not.toMatch(/^(root|0)(:|$)/);
    const position = final.findIndex(({ keyword }) => keyword === 'USER');
    expect(final.slice(position).filter(({ keyword }) => ['COPY', 'RUN'].includes(keyword))).toEqual([]);
  });

  it('absolute working directories', () => {
    for (const { value } of all('WORKDIR')) expect(value).toMatch(/^\//);
  });

  it('ENTRYPOINT and CMD in exec form, so that signals reach the program', () => {
    expect(execForm(values(final, 'ENTRYPOINT')[0] ?? '')).toEqual(['node', ...NODE_FLAGS, 'dist/main.js']);
    expect(execForm(values(final, 'CMD')[0] ?? '')?.[0]).toBe('gateway');
  });

  it('one health check, in exec form, with bounds, of the admin port', () => {
    const checks = values(final, 'HEALTHCHECK');
    expect(checks).toHaveLength(1);
    const [options = '', command = ''] = (checks[0] ?? '').split(/ CMD /);
    for (const option of ['--interval', '--timeout', '--start-period', '--retries']) expect(options).toContain(option);
    expect(execForm(command)?.[0]).toBe('node');
    expect(command).toContain('/livez');
  });

  it('exposes ports that need no privilege; sets no secret', () => {
    for (const port of values(final, 'EXPOSE').flatMap((value) => value.split(' '))) {
      expect(Number(port)).toBeGreaterThan(1023);
    }
    const set = values(instructions, 'ENV').join(' ');
    expect(set).toContain('NODE_ENV=production');
    expect(set).not.toMatch(/secret|token|password|passwd|key|credential/i);
  });

  it('the build does not see what it does not need, nor what nobody should', () => {
    const ignored = read('.dockerignore').split('\n').filter(Boolean);
    expect(ignored).toEqual(expect.arrayContaining(['.git', '.sallyport', 'node_modules', 'dist', 'test', 'examples']));
    for (const { value } of all('COPY').filter(({ stage }) => stage === 0)) {
      for (const path of copied(value).from) expect([path, existsSync(join(ROOT, path))]).toEqual([path, true]);
    }
  });
});
