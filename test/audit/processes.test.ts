import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { afterwards, folder, numbersIn, until } from './auditing.ts';
import { numbersOf, range } from './numbered.ts';
import type { Task } from './record_writer.ts';

const WRITER = join(import.meta.dirname, 'record_writer.ts');

interface Writer {
  readonly child: ChildProcess;
  /** What the process reported so far. */
  reports(): unknown[];
  stdout(): string;
  readonly ended: Promise<number | null>;
}

/** Starts a process that records. @param stdout where its standard output goes */
function write(task: Task, stdout: 'pipe' | 'ignore' | number = 'ignore'): Writer {
  return run([WRITER, JSON.stringify(task)], stdout);
}

function run(program: string[], stdout: 'pipe' | 'ignore' | number): Writer {
  const child = spawn(process.execPath, program, { stdio: ['ignore', stdout, 'pipe'] });
  let errors = '';
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  afterwards(async () => {
    child.kill('SIGKILL');
    child.stdout?.destroy();
    await ended;
  });
  if (stdout === 'pipe') {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const reports = () =>
    errors
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { report?: unknown }).report)
      .filter((report) => report !== undefined);
  return { child, reports, stdout: () => output, ended };
}

const toFile = (path: string): Task['config'] => ({ sinks: [{ type: 'file', path }], on_failure: 'block' });
const toStdout: Task['config'] = { sinks: [{ type: 'stdout' }], on_failure: 'block' };
const inOrder = (numbers: number[]) => numbers.sort((a, b) => a - b);

describe('several processes', () => {
  it('append 10,000 records to one file, none torn, none lost', async () => {
    const file = join(folder(), 'records.jsonl');
    const writers = range(0, 4).map((index) =>
      write({ config: toFile(file), first: index * 2500, count: 2500, bytes: 1000 + index * 3000 }),
    );
    expect(await Promise.all(writers.map((writer) => writer.ended))).toEqual([0, 0, 0, 0]);
    expect(inOrder(numbersIn(file))).toEqual(range(0, 10_000));
  }, 60_000);

  it('one that is killed leaves whole records, and spoils none of the next one', async () => {
    const file = join(folder(), 'records.jsonl');
    for (const round of range(0, 3)) {
      const writer = write({ config: toFile(file), first: 0, count: 1_000_000, bytes: 8000 });
      const size = () => readFileSync(file, { flag: 'a+' }).length;
      const before = size();
      await until(() => size() > before + 500_000);
      await delay(round);
      writer.child.kill('SIGKILL');
      await writer.ended;
    }
    const last = write({ config: toFile(file), first: 5_000_000, count: 10, bytes: 8000 });
    expect(await last.ended).toBe(0);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const torn = lines.filter((line) => !isRecord(line));
    // At most one for each process that was killed: the one that was being written.
    expect(torn.length).toBeLessThanOrEqual(3);
    expect(numbersOf(`${lines.slice(-10).join('\n')}\n`)).toEqual(range(5_000_000, 10));
  }, 60_000);
});

describe('standard output', () => {
  it('as a pipe: carries whole records and nothing else', async () => {
    const writer = write({ config: toStdout, first: 0, count: 2000, bytes: 3000 }, 'pipe');
    expect(await writer.ended).toBe(0);
    expect(numbersOf(writer.stdout())).toEqual(range(0, 2000));
  }, 60_000);

  it('as a pipe whose reader is slow: waits, becomes unavailable at the bound, and loses nothing', async () => {
    const writer = write(
      { config: toStdout, first: 0, count: 11_000, bytes: 0, linger: 60_000, closeWithin: 30_000 },
      'pipe',
    );
    writer.child.stdout?.pause();
    await until(() => writer.reports().includes('unavailable'));
    writer.child.stdout?.resume();
    await until(() => writer.stdout().split('\n').length > 11_000);
    expect(numbersOf(writer.stdout())).toEqual(range(0, 11_000));
  }, 60_000);

  it('EPIPE: a reader that is gone makes it unavailable, the process lives, and close tells what is lost', async () => {
    const writer = write(
      { config: toStdout, first: 0, count: 100, bytes: 1000, linger: 300, closeWithin: 200 },
      'pipe',
    );
    writer.child.stdout?.destroy();
    expect(await writer.ended).toBe(0);
    expect(writer.reports()).toContain('unavailable');
    const last = writer.reports().at(-1) as { lost: number };
    expect(last.lost).toBe(100);
  }, 60_000);

  it('EPIPE with a spool: nothing is lost', async () => {
    const spool = join(folder(), 'spool');
    const config = { ...toStdout, on_failure: 'spool', spool_file: spool } as const;
    const writer = write({ config, first: 0, count: 100, bytes: 1000, linger: 100 }, 'pipe');
    writer.child.stdout?.destroy();
    expect(await writer.ended).toBe(0);
    expect(writer.reports()).not.toContain('unavailable');
    expect(writer.reports().at(-1)).toMatchObject({ lost: 0 });
    expect(numbersIn(spool)).toEqual(range(0, 100));

    const next = write({ config, first: 100, count: 10, bytes: 1000 }, 'pipe');
    expect(await next.ended).toBe(0);
    expect(numbersOf(next.stdout())).toEqual(range(0, 110));
  }, 60_000);

  it('as a file, shared with another process: whole records', async () => {
    const file = join(folder(), 'records.jsonl');
    const fd = openSync(file, 'a');
    const writers = [
      write({ config: toStdout, first: 0, count: 1000, bytes: 3000 }, fd),
      write({ config: toStdout, first: 1000, count: 1000, bytes: 5000 }, fd),
    ];
    closeSync(fd);
    expect(await Promise.all(writers.map((writer) => writer.ended))).toEqual([0, 0]);
    expect(inOrder(numbersIn(file))).toEqual(range(0, 2000));
  }, 60_000);

  it('as a disk that is full: unavailable, and close tells what is lost', async () => {
    const fd = openSync('/dev/full', 'a');
    const writer = write({ config: toStdout, first: 0, count: 50, bytes: 1000, linger: 100, closeWithin: 150 }, fd);
    closeSync(fd);
    expect(await writer.ended).toBe(0);
    expect(writer.reports()).toContain('unavailable');
    expect(writer.reports().at(-1)).toMatchObject({ lost: 50 });
  }, 60_000);
});

describe('standard output of several workers', () => {
  const PRIMARY = join(import.meta.dirname, 'merging_primary.ts');

  it('as one pipe whose reader is slow: whole records, each once', async () => {
    const primary = run([PRIMARY, '30000'], 'pipe');
    primary.child.stdout?.pause();
    await until(() => primary.reports().filter((report) => report === 'started').length === 2);
    // Read in small pieces, so that the pipe is full again and again.
    for (let turn = 0; turn < 100; turn++) {
      primary.child.stdout?.resume();
      await delay(1);
      primary.child.stdout?.pause();
      await delay(5);
    }
    primary.child.stdout?.resume();
    expect(await primary.ended).toBe(0);
    expect(inOrder(numbersOf(primary.stdout()))).toEqual(range(0, 4000));
  }, 60_000);

  it('EPIPE: the workers learn that the reader is gone', async () => {
    const primary = run([PRIMARY, '200'], 'pipe');
    await until(() => primary.stdout().length > 0);
    primary.child.stdout?.destroy();
    expect(await primary.ended).toBe(0);
    const lost = primary.reports().flatMap((report) => (report as { lost?: number }).lost ?? []);
    expect(lost).toHaveLength(2);
    expect(lost.every((count) => count > 0)).toBe(true);
    expect(primary.reports()).toContain('unavailable');
  }, 60_000);
});

function isRecord(line: string): boolean {
  try {
    return typeof (JSON.parse(line) as { decision_id?: unknown }).decision_id === 'string';
  } catch {
    return false;
  }
}
