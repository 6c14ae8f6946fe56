import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { afterwards, auditing, folder, numbersIn, recordMany, until } from './auditing.ts';
import { unjudged } from './evidence.ts';
import { numbered, range } from './numbered.ts';
import { canMount, smallDisk } from './small_disk.ts';

describe('createAuditor with files', () => {
  it('writes exactly one record per request into every sink, in order', async () => {
    const files = [join(folder(), 'a.jsonl'), join(folder(), 'b.jsonl')];
    const { auditor } = auditing({ sinks: files, on_failure: 'block' });
    recordMany(auditor, 0, 3000);
    expect(await auditor.close()).toBe(0);
    for (const file of files) expect(numbersIn(file)).toEqual(range(0, 3000));
    expect(auditor.stats()).toMatchObject({
      available: true,
      sinks: [
        { name: 'file', up: true, queued: 0, written: 3000, failures: 0 },
        { name: 'file_2', up: true, queued: 0, written: 3000, failures: 0 },
      ],
    });
  });

  it('numbers the records of a process without a gap, under one id', async () => {
    const file = join(folder(), 'records.jsonl');
    const { auditor } = auditing({ sinks: [file], on_failure: 'block' });
    recordMany(auditor, 0, 20);
    await auditor.close();
    const events = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as never) as {
      req_id: number;
      labels: { id: string; app: string };
    }[];
    expect(events.map((event) => event.req_id)).toEqual(range(1, 20));
    expect(new Set(events.map((event) => event.labels.id)).size).toBe(1);
    expect(events[0]?.labels).toMatchObject({ app: 'test', id: expect.stringMatching(/^[\da-f-]{36}$/) as string });
  });

  it('writes without being closed', async () => {
    const file = join(folder(), 'records.jsonl');
    const { auditor } = auditing({ sinks: [file], on_failure: 'block' });
    recordMany(auditor, 0, 1);
    await until(() => auditor.stats().sinks[0]?.written === 1);
    expect(numbersIn(file)).toEqual([0]);
  });

  it('makes a file that only its owner can read, and appends to one that exists', async () => {
    const file = join(folder(), 'records.jsonl');
    for (const first of [0, 5]) {
      const { auditor } = auditing({ sinks: [file], on_failure: 'block' });
      recordMany(auditor, first, 5);
      await auditor.close();
    }
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(numbersIn(file)).toEqual(range(0, 10));
  });

  it('keeps a record of a request whose evidence is not what it should be', async () => {
    const file = join(folder(), 'records.jsonl');
    const { auditor, logged } = auditing({ sinks: [file], on_failure: 'block' });
    auditor.record(unjudged({ id: 'request-5', timings: undefined as never, status: 500 }));
    await auditor.close();
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      decision_id: 'request-5',
      erased: ['/input', '/result', '/custom/sallyport'],
      custom: { sallyport: { outcome: 'failed', status: 500 } },
    });
    expect(logged).toContainEqual(expect.objectContaining({ level: 'error', decision_id: 'request-5' }));
  });

  it('says so when a request ends after everything was closed', async () => {
    const file = join(folder(), 'records.jsonl');
    const { auditor, logged } = auditing({ sinks: [file], on_failure: 'block' });
    await auditor.close();
    recordMany(auditor, 5, 1);
    expect(logged.at(-1)).toMatchObject({ level: 'error', decision_id: 'request-5' });
    expect(numbersIn(file)).toEqual([]);
  });

  it.each([
    [
      'its folder does not exist',
      (path: string) => join(path, 'none', 'x'),
      /its folder does not exist; make it first/,
    ],
    ['it is a folder', (path: string) => path, /it is a folder; name a file/],
  ])('refuses to start when %s, and says which file', (_why, fileIn, message) => {
    const file = fileIn(folder());
    expect(() => auditing({ sinks: [file], on_failure: 'block' })).toThrow(message);
    expect(() => auditing({ sinks: [file], on_failure: 'block' })).toThrow(`audit.sinks[0].path: ${file}`);
  });

  it('ends an unfinished line that an earlier process left, so that it spoils no record', async () => {
    const file = join(folder(), 'records.jsonl');
    writeFileSync(file, '{"labels":{"app":"te');
    const { auditor, logged } = auditing({ sinks: [file], on_failure: 'block' });
    recordMany(auditor, 0, 3);
    await auditor.close();
    const [torn, ...whole] = readFileSync(file, 'utf8').split('\n');
    expect(torn).toBe('{"labels":{"app":"te');
    expect(
      whole.filter((line) => line !== '').map((line) => (JSON.parse(line) as { decision_id: string }).decision_id),
    ).toEqual(['request-0', 'request-1', 'request-2']);
    expect(logged).toContainEqual(expect.objectContaining({ level: 'warn', file }));
  });

  it('log rotation: writes to the new file after reopen, and loses nothing', async () => {
    const path = folder();
    const file = join(path, 'records.jsonl');
    const { auditor } = auditing({ sinks: [file], on_failure: 'block' });
    for (let turn = 0; turn < 5; turn++) {
      recordMany(auditor, turn * 100, 50);
      // Once between two writes, once while one may be under way.
      if (turn % 2 === 0) await until(() => auditor.stats().sinks[0]?.queued === 0);
      renameSync(file, join(path, `records.${turn}`));
      auditor.reopen();
      recordMany(auditor, turn * 100 + 50, 50);
      await until(() => statSync(file, { throwIfNoEntry: false }) !== undefined);
    }
    await auditor.close();
    const rotated = range(0, 5).flatMap((turn) => numbersIn(join(path, `records.${turn}`)));
    expect([...rotated, ...numbersIn(file)]).toEqual(range(0, 500));
    expect(numbersIn(file).length).toBeGreaterThan(0);
  });

  it('log rotation: keeps the old file when the new one cannot be opened, and says so', async () => {
    const path = folder();
    const file = join(path, 'records.jsonl');
    const { auditor, logged } = auditing({ sinks: [file], on_failure: 'block' });
    renameSync(file, join(path, 'old'));
    mkdirSync(file);
    auditor.reopen();
    recordMany(auditor, 0, 1);
    await until(() => auditor.stats().sinks[0]?.failures === 1);
    expect(logged).toContainEqual(expect.objectContaining({ level: 'error', file }));
    rmSync(file, { recursive: true });
    await until(() => auditor.stats().sinks[0]?.written === 1);
    expect(numbersIn(file)).toEqual([0]);
  });
});

describe('on_failure: block', () => {
  it('gateway.record_unavailable: a sink that cannot be written makes the auditor unavailable, and close tells what is lost', async () => {
    const { auditor, logged } = auditing({ sinks: ['/dev/full'], on_failure: 'block' });
    expect(auditor.available()).toBe(true);
    recordMany(auditor, 0, 10);
    await until(() => !auditor.available());
    recordMany(auditor, 10, 5);
    expect(auditor.stats()).toMatchObject({ available: false, sinks: [{ up: false, queued: 15, written: 0 }] });
    expect(await auditor.close(300)).toBe(15);
    expect(logged.at(-1)).toMatchObject({ level: 'error', records: 15 });
  });

  it('one sink that is down is enough, and the other one goes on', async () => {
    const file = join(folder(), 'records.jsonl');
    const { auditor } = auditing({ sinks: ['/dev/full', file], on_failure: 'block' });
    recordMany(auditor, 0, 10);
    await until(() => !auditor.available() && auditor.stats().sinks[1]?.written === 10);
    expect(numbersIn(file)).toEqual(range(0, 10));
    await auditor.close(100);
  });

  it.runIf(canMount)('full disk: nothing is dropped or torn, and it goes on when there is room', async () => {
    const disk = smallDisk(64) ?? expect.unreachable();
    afterwards(() => disk.remove());
    const file = join(disk.path, 'records.jsonl');
    const { auditor, logged } = auditing({ sinks: [file], on_failure: 'block' });
    recordMany(auditor, 0, 200);
    await until(() => !auditor.available());
    // Whole records only, as many as there was room for.
    const fitted = numbersIn(file);
    expect(fitted.length).toBeGreaterThan(20);
    expect(fitted).toEqual(range(0, fitted.length));
    recordMany(auditor, 200, 10);
    await until(() => (auditor.stats().sinks[0]?.failures ?? 0) >= 2);
    expect(numbersIn(file)).toEqual(fitted);

    disk.resize(4096);
    await until(() => auditor.available());
    expect(await auditor.close()).toBe(0);
    expect(numbersIn(file)).toEqual(range(0, 210));
    expect(logged.map((entry) => entry['msg'])).toContain('records can be written again');
  });

  it.runIf(canMount)('full disk under two auditors of one file: whole records only, each once', async () => {
    const disk = smallDisk(64) ?? expect.unreachable();
    afterwards(() => disk.remove());
    const file = join(disk.path, 'records.jsonl');
    const both = [auditing({ sinks: [file], on_failure: 'block' }), auditing({ sinks: [file], on_failure: 'block' })];
    for (let turn = 0; turn < 20; turn++) {
      for (const [index, { auditor }] of both.entries())
        recordMany(auditor, index * 1000 + turn * 10, 10, 700 + turn * 37);
      await until(() => both.every(({ auditor }) => !auditor.available() || auditor.stats().sinks[0]?.queued === 0));
    }
    expect(both.some(({ auditor }) => !auditor.available())).toBe(true);
    numbersIn(file);
    disk.resize(4096);
    for (const { auditor } of both) expect(await auditor.close()).toBe(0);
    expect(numbersIn(file).sort((a, b) => a - b)).toEqual([...range(0, 200), ...range(1000, 200)]);
  });

  it.runIf(canMount)('memory is bounded: refusals past the limit are told in one record', async () => {
    const disk = smallDisk(64) ?? expect.unreachable();
    afterwards(() => disk.remove());
    const file = join(disk.path, 'records.jsonl');
    const { auditor } = auditing({ sinks: [file], on_failure: 'block' });
    recordMany(auditor, 0, 500);
    await until(() => !auditor.available());
    const refusal = () =>
      auditor.record(unjudged({ id: 'request-1', denial: { reason: 'gateway.record_unavailable' }, status: 503 }));
    for (let i = 0; i < 10_000; i++) refusal();
    const kept = 10_000 - auditor.stats().summarized;
    expect(auditor.stats().summarized).toBeGreaterThan(100);
    // A request that was under way is recorded all the same.
    auditor.record(numbered(500));
    disk.resize(32_768);
    await until(() => auditor.available() && auditor.stats().sinks[0]?.queued === 0);
    await auditor.close();
    const events = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as never) as {
      decision_id: string;
      custom: { sallyport: { reason?: string; count?: number } };
    }[];
    const summaries = events.filter((event) => event.custom.sallyport.count !== undefined);
    expect(summaries.map((event) => event.custom.sallyport.count)).toEqual([10_000 - kept]);
    expect(summaries[0]?.custom.sallyport.reason).toBe('gateway.record_unavailable');
    expect(events).toHaveLength(501 + kept + 1);
    expect(events.filter((event) => event.decision_id === 'request-500')).toHaveLength(1);
  });
});
