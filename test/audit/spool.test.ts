import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Spool } from '../../src/audit/spool.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { afterwards, auditing, folder, numbersIn, recordMany, until } from './auditing.ts';
import { range } from './numbered.ts';
import { canMount, smallDisk } from './small_disk.ts';

/** A sink that is down, and comes up once the folder in its place is removed. */
function sinkThatIsDown() {
  const path = folder();
  const file = join(path, 'records.jsonl');
  const start = () => auditing({ sinks: [file], on_failure: 'spool', spool_file: join(path, 'spool.jsonl') });
  return {
    file,
    spool: join(path, 'spool.jsonl'),
    start,
    /** Starts an auditor, and takes its file away by a rotation that goes wrong. */
    startDown: () => {
      const auditing = start();
      rmSync(file);
      mkdirSync(file);
      auditing.auditor.reopen();
      return auditing;
    },
    up: () => rmSync(file, { recursive: true }),
  };
}

describe('on_failure: spool', () => {
  it('keeps records in the spool file while the sink is down, stays available, and delivers them in order', async () => {
    const { file, spool, startDown, up } = sinkThatIsDown();
    const { auditor } = startDown();
    recordMany(auditor, 0, 50);
    await until(() => auditor.stats().sinks[0]?.spooled === 50);
    recordMany(auditor, 50, 50);
    await until(() => auditor.stats().sinks[0]?.spooled === 100);
    expect(auditor.available()).toBe(true);
    expect(numbersIn(spool)).toEqual(range(0, 100));
    expect(statSync(spool).mode & 0o777).toBe(0o600);
    up();
    await until(() => auditor.stats().sinks[0]?.written === 100);
    recordMany(auditor, 100, 10);
    await until(() => auditor.stats().sinks[0]?.written === 110);
    expect(numbersIn(file)).toEqual(range(0, 110));
    expect(statSync(spool).size).toBe(0);
    expect(await auditor.close()).toBe(0);
    expect(existsSync(spool)).toBe(false);
  });

  it('delivers in order what comes while it is still delivering the spool', async () => {
    const { file, startDown, up } = sinkThatIsDown();
    const { auditor } = startDown();
    recordMany(auditor, 0, 3000);
    await until(() => auditor.stats().sinks[0]?.spooled === 3000);
    up();
    let next = 3000;
    await until(() => {
      recordMany(auditor, next, 20);
      next += 20;
      return (auditor.stats().sinks[0]?.written ?? 0) > 3000;
    });
    expect(await auditor.close()).toBe(0);
    expect(numbersIn(file)).toEqual(range(0, next));
  });

  it('loses nothing when it is closed while the sink is down: the next run delivers first what the last one left', async () => {
    const { file, spool, start, startDown, up } = sinkThatIsDown();
    const first = startDown();
    recordMany(first.auditor, 0, 30);
    await until(() => first.auditor.stats().sinks[0]?.spooled === 30);
    recordMany(first.auditor, 30, 10);
    expect(await first.auditor.close()).toBe(0);
    expect(numbersIn(spool)).toEqual(range(0, 40));
    up();
    const second = start();
    recordMany(second.auditor, 40, 10);
    expect(await second.auditor.close()).toBe(0);
    expect(numbersIn(file)).toEqual(range(0, 50));
    expect(second.logged[0]).toMatchObject({ level: 'warn', files: [spool] });
  });

  it('keeps records in memory when no spool file is named', async () => {
    const { auditor } = auditing({ sinks: ['/dev/full'], on_failure: 'spool' });
    recordMany(auditor, 0, 9999);
    await until(() => auditor.stats().sinks[0]?.up === false);
    expect(auditor.available()).toBe(true);
    // Those of the batch that failed are in memory too.
    recordMany(auditor, 9999, 10_000);
    expect(auditor.available()).toBe(false);
    expect(await auditor.close(50)).toBe(19_999);
  });

  it('gives each sink a spool of its own', async () => {
    const path = folder();
    const file = join(path, 'records.jsonl');
    const spool = join(path, 'spool');
    const { auditor } = auditing({ sinks: [file, '/dev/full'], on_failure: 'spool', spool_file: spool });
    recordMany(auditor, 0, 10);
    await until(() => auditor.stats().sinks[1]?.spooled === 10);
    expect(await auditor.close()).toBe(0);
    expect(numbersIn(file)).toEqual(range(0, 10));
    expect(numbersIn(`${spool}.file_2`)).toEqual(range(0, 10));
  });

  it('refuses to start when the spool cannot be used', () => {
    const path = folder();
    const spool = join(path, 'none', 'spool');
    expect(() => auditing({ sinks: [join(path, 'x')], on_failure: 'spool', spool_file: spool })).toThrow(
      `audit.spool_file: ${spool} cannot be used`,
    );
  });

  it.runIf(canMount)(
    'a full disk under the spool too: memory holds records up to its bound, then requests are refused',
    async () => {
      const disk = smallDisk(64) ?? expect.unreachable();
      afterwards(() => disk.remove());
      const spool = join(disk.path, 'spool');
      const { auditor, logged } = auditing({ sinks: ['/dev/full'], on_failure: 'spool', spool_file: spool });
      recordMany(auditor, 0, 300);
      await until(() => logged.some((entry) => entry['msg'] === 'records cannot be spooled; they are kept in memory'));
      expect(auditor.available()).toBe(true);
      // Whole records only.
      numbersIn(spool);
      recordMany(auditor, 300, 10_000);
      expect(auditor.available()).toBe(false);
      disk.resize(32_768);
      await until(() => auditor.available() && auditor.stats().sinks[0]?.spooled === 10_300);
      expect(await auditor.close()).toBe(0);
      expect(numbersIn(spool)).toEqual(range(0, 10_300));
    },
  );
});

describe('Spool', () => {
  const log = createLog({ level: 'fatal' });
  const lines = (...texts: string[]) => Buffer.from(texts.map((text) => `${text}\n`).join(''));
  const spoolAt = (path: string, isWorker = false) => {
    const spool = new Spool({ path, isWorker, log });
    return spool;
  };

  it('gives lines back in order, and again until they are delivered', async () => {
    const spool = spoolAt(join(folder(), 'spool'));
    expect(spool.empty).toBe(true);
    expect(await spool.peek()).toHaveLength(0);
    await spool.append(lines('a', 'b'));
    await spool.append(lines('c'));
    expect((await spool.peek()).toString()).toBe('a\nb\nc\n');
    await spool.advance(2);
    expect((await spool.peek()).toString()).toBe('b\nc\n');
    await spool.append(lines('d'));
    await spool.advance(4);
    expect((await spool.peek()).toString()).toBe('d\n');
    await spool.advance(2);
    expect(spool.empty).toBe(true);
    await spool.append(lines('e'));
    expect((await spool.peek()).toString()).toBe('e\n');
    spool.close();
  });

  it('a next run delivers only what was not delivered', async () => {
    const path = join(folder(), 'spool');
    const first = spoolAt(path);
    await first.append(lines('a', 'b', 'c'));
    await first.peek();
    await first.advance(4);
    // No close: as if the process had been killed.
    const second = spoolAt(path);
    expect((await second.peek()).toString()).toBe('c\n');
    first.close();
    second.close();
  });

  it('cuts off an unfinished record that a killed process left', async () => {
    const path = join(folder(), 'spool');
    writeFileSync(path, 'a\nb\n{"unfinis');
    const spool = spoolAt(path);
    await spool.append(lines('c'));
    expect((await spool.peek()).toString()).toBe('a\nb\nc\n');
    spool.close();
  });

  it('passes over more blanks than it reads at once', async () => {
    const path = join(folder(), 'spool');
    writeFileSync(path, `${'\n'.repeat(600_000)}a\n`);
    const spool = spoolAt(path);
    expect((await spool.peek()).toString()).toBe('a\n');
    await spool.advance(2);
    expect(spool.empty).toBe(true);
    spool.close();
  });

  it('gives more than it reads at once in whole lines', async () => {
    const path = join(folder(), 'spool');
    const spool = spoolAt(path);
    const texts = range(0, 40).map((number) => `${number}:${'x'.repeat(30_000)}`);
    await spool.append(lines(...texts));
    const seen: string[] = [];
    while (!spool.empty) {
      const chunk = await spool.peek();
      expect(chunk.at(-1)).toBe(0x0a);
      seen.push(...chunk.toString().trimEnd().split('\n'));
      await spool.advance(chunk.length);
    }
    expect(seen).toEqual(texts);
    spool.close();
  });

  it('takes over the spools of processes that are gone, the unfinished end of one included, and not those of others', async () => {
    const path = join(folder(), 'spool');
    // Process numbers stop well below this.
    writeFileSync(`${path}.999999991`, 'a\n');
    writeFileSync(`${path}.999999992.0`, 'b\nc');
    writeFileSync(`${path}.${process.ppid}`, 'other\n');
    writeFileSync(`${path}.notes`, 'mine\n');
    writeFileSync(path, 'own\n');
    const spool = spoolAt(path);
    const seen: string[] = [];
    while (!spool.empty) {
      const chunk = await spool.peek();
      seen.push(chunk.toString());
      await spool.advance(chunk.length);
    }
    expect(seen).toEqual(['a\n', 'b\n', 'own\n']);
    spool.close();
    expect(readFileSync(`${path}.${process.ppid}`, 'utf8')).toBe('other\n');
    expect(readFileSync(`${path}.notes`, 'utf8')).toBe('mine\n');
    expect(existsSync(`${path}.999999991`)).toBe(false);
  });

  it('a worker spools into a file of its own, and takes over that of a run without workers', async () => {
    const path = join(folder(), 'spool');
    writeFileSync(path, 'a\n');
    const spool = spoolAt(path, true);
    await spool.append(lines('b'));
    expect(readFileSync(`${path}.${process.pid}`, 'utf8')).toBe('b\n');
    const first = await spool.peek();
    expect(first.toString()).toBe('a\n');
    await spool.advance(first.length);
    expect((await spool.peek()).toString()).toBe('b\n');
    expect(existsSync(path)).toBe(false);
    spool.close();
    expect(existsSync(`${path}.${process.pid}`)).toBe(true);
  });
});
