import { mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { versionOf } from '../../src/files/version.ts';
import { type FileWatch, watchFiles } from '../../src/files/watch.ts';
import { eventually } from '../support/eventually.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function write(content: string): string {
  const file = join(folder, `file-${files++}`);
  writeFileSync(file, content);
  return file;
}

function turn(link: string, target: string): void {
  symlinkSync(target, `${link}.new`);
  renameSync(`${link}.new`, link);
}

describe('the version of files', () => {
  it('changes when one is written, replaced, removed, put back, given to others, or its link is turned', () => {
    const [one, two] = [write('one'), write('two')];
    const link = join(folder, 'link');
    symlinkSync(one, link);
    const seen = [versionOf(link, two)];
    const note = (act: () => void) => {
      act();
      seen.push(versionOf(link, two));
    };
    note(() => turn(link, two));
    note(() => writeFileSync(two, 'longer'));
    note(() => unlinkSync(two));
    note(() => writeFileSync(two, 'longer'));
    note(() => turn(link, one));
    note(() => renameSync(write('same size'), two));
    expect(new Set(seen).size).toBe(seen.length);
    expect(versionOf(link, two)).toBe(seen.at(-1));
  });

  it('changes when a copy keeps size and time of the original', () => {
    const time = new Date(1_700_000_000_000);
    const [one, two] = [write('one'), write('two')];
    for (const file of [one, two]) utimesSync(file, time, time);
    const before = versionOf(one);
    renameSync(two, one);
    expect(versionOf(one)).not.toBe(before);
  });
});

describe('watching files', () => {
  const watches: FileWatch[] = [];
  afterEach(() => {
    for (const watch of watches.splice(0)) watch.close();
  });

  it('a change between reading and the first look is seen, each time', async () => {
    const seen = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const [one, two, link] = [write('one'), write('two'), join(folder, `link-${i}`)];
      symlinkSync(one, link);
      const version = versionOf(link);
      // Here it would be read; whatever happens before the watch begins belongs to what comes after.
      if (i % 2 === 0) turn(link, two);
      watches.push(watchFiles({ files: [link], version, everyMs: 20 }, () => seen.add(i)));
      if (i % 2 === 1) turn(link, two);
    }
    await eventually('all are seen', () => seen.size === 50);
  });

  it('tells each change once, looks at once when asked to, and not after it was closed', async () => {
    let told = 0;
    const file = write('one');
    const watch = watchFiles({ files: [file], version: versionOf(file), everyMs: 3_600_000 }, () => told++);
    watches.push(watch);
    watch.look();
    expect(told).toBe(0);
    writeFileSync(file, 'two, longer');
    watch.look();
    watch.look();
    expect(told).toBe(1);
    unlinkSync(file);
    watch.look();
    expect(told).toBe(2);
  });
});
