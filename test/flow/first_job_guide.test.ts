import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runSallyport } from '../support/program.ts';

/** docs/guides/first_job.md says what is there: its files are those that npm run demo:flow plays with. */

const ROOT = resolve(import.meta.dirname, '../..');
const GUIDE = join(ROOT, 'docs/guides/first_job.md');
const FILES = join(ROOT, 'examples/first_job');
const text = readFileSync(GUIDE, 'utf8');
const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', body = '']) => ({
  language,
  body,
}));
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ body }) => body.split('\n').filter(Boolean));

describe('the guide to a first job', () => {
  it('shows every configuration file of the example as it stands', () => {
    const shown = new Map(
      blocks.flatMap(({ language, body }) => {
        const name = /^# (\w+\.yaml): /.exec(body)?.[1];
        return language === 'yaml' && name !== undefined ? [[name, body] as const] : [];
      }),
    );
    const names = readdirSync(FILES).filter((name) => name.endsWith('.yaml'));
    expect([...shown.keys()].sort()).toEqual(names.sort());
    for (const name of names) expect(shown.get(name)).toBe(readFileSync(join(FILES, name), 'utf8'));
  });

  it('names npm scripts, commands, files and pages that exist', async () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const own = commands.flatMap((line) =>
      [...line.matchAll(/\bnpm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => name),
    );
    expect([...new Set(own)].sort()).toEqual(['demo:flow', 'first-job:surroundings', 'sallyport']);
    expect(own.filter((name) => !(name in scripts))).toEqual([]);
    const called = commands.flatMap((line) =>
      [...line.matchAll(/sallyport -- (\w+(?: \w+)?)/g)].map(([, words = '']) => words),
    );
    const asked = [...new Set(called)].map((words) => words.split(' '));
    expect(asked.length).toBeGreaterThan(6);
    for (const words of asked) {
      const help = runSallyport(ROOT, ...words, '--help');
      expect(await help.ended).toBe(0);
      expect(help.text().startsWith(`Usage: sallyport ${words.join(' ')} `)).toBe(true);
    }
    const files = commands.flatMap((line) =>
      [...line.matchAll(/examples\/first_job\/(?!state|policy)\S+\.\w+/g)].map(([file]) => file),
    );
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    const pages = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, page = '']) => page);
    expect(pages.filter((page) => !existsSync(resolve(dirname(GUIDE), page)))).toEqual([]);
  });
});
