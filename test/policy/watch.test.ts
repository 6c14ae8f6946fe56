import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type PolicyWatch, watchPolicyFiles } from '../../src/policy/watch.ts';

let folder: string;
let changes: number;
let watches: PolicyWatch[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-watch-'));
  mkdirSync(join(folder, 'lib'));
  writeFileSync(join(folder, 'a.rego'), 'package a\n');
  writeFileSync(join(folder, 'lib/data.json'), '{}');
  changes = 0;
  watches = [];
});

afterEach(() => {
  for (const watch of watches) watch.close();
  rmSync(folder, { recursive: true, force: true });
});

async function watchIt(paths: string[], pollMs: number): Promise<PolicyWatch> {
  const watch = watchPolicyFiles(paths, () => changes++, { settleMs: 10, pollMs });
  watches.push(watch);
  await watch.ready;
  return watch;
}

/** Waits for word of a change; one write may be seen in two steps. */
async function changed(): Promise<void> {
  await vi.waitFor(() => expect(changes).toBeGreaterThan(0), { timeout: 10_000, interval: 10 });
  await sleep(100);
  changes = 0;
}

describe('watching the files of a policy', () => {
  it('tells of each change, by notices of the system alone', async () => {
    await watchIt([folder], 600_000);
    writeFileSync(join(folder, 'a.rego'), 'package a\n\nallow := true\n');
    await changed();
    writeFileSync(join(folder, 'lib/b.rego'), 'package b\n');
    await changed();
    writeFileSync(join(folder, 'lib/data.json'), '{"a":1}');
    await changed();
    rmSync(join(folder, 'lib/b.rego'));
    await changed();
    renameSync(join(folder, 'a.rego'), join(folder, 'c.rego'));
    await changed();
  });

  it('tells of a change where the system gives no notice, by looking from time to time', async () => {
    // What a link leads to is watched by nobody.
    mkdirSync(join(folder, '.hidden'));
    writeFileSync(join(folder, '.hidden/d.rego'), 'package d\n');
    const link = join(folder, 'lib/link');
    symlinkSync(folder, link);
    await watchIt([join(link, '.hidden')], 20);
    writeFileSync(join(folder, '.hidden/d.rego'), 'package d\n\nallow := true\n');
    await changed();
  });

  it('tells of a single file, also when another takes its place', async () => {
    const file = join(folder, 'lib/data.json');
    await watchIt([file], 600_000);
    writeFileSync(join(folder, 'lib/new'), '{"b":2}');
    renameSync(join(folder, 'lib/new'), file);
    await changed();
    writeFileSync(file, '{"c":3}');
    await changed();
  });

  it('says nothing where nothing that counts changed', async () => {
    await watchIt([folder], 20);
    writeFileSync(join(folder, 'notes.md'), 'notes');
    writeFileSync(join(folder, 'a_test.rego'), 'package a_test\n');
    await sleep(300);
    expect(changes).toBe(0);
  });

  it('takes a folder that vanishes and one that returns for changes', async () => {
    await watchIt([folder], 20);
    renameSync(folder, `${folder}-away`);
    await changed();
    renameSync(`${folder}-away`, folder);
    await changed();
  });

  it('watches what is not there yet', async () => {
    const later = join(folder, 'later');
    await watchIt([later], 20);
    mkdirSync(later);
    writeFileSync(join(later, 'a.rego'), 'package a\n');
    await changed();
  });

  it('is silent once it is closed', async () => {
    const watch = await watchIt([folder], 20);
    watch.close();
    writeFileSync(join(folder, 'a.rego'), 'package a\n\nallow := false\n');
    await sleep(200);
    expect(changes).toBe(0);
  });
});
