import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { afterwards, auditing, folder, recordMany, until } from './auditing.ts';
import { numbersOf, range } from './numbered.ts';

/** A named pipe, and a reader who reads when he is told to. */
function namedPipe() {
  const path = join(folder(), 'pipe');
  execFileSync('mkfifo', [path]);
  const open = () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let fd: number | null = open();
  const close = () => {
    if (fd !== null) closeSync(fd);
    fd = null;
  };
  afterwards(close);
  let text = '';
  const chunk = Buffer.alloc(65_536);
  return {
    path,
    close,
    openAgain: () => {
      fd = open();
      text = '';
    },
    /** Reads what there is. @returns everything read so far */
    read: () => {
      try {
        for (let length = 1; fd !== null && length > 0; ) {
          length = readSync(fd, chunk, 0, chunk.length, null);
          text += chunk.toString('latin1', 0, length);
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
      return text;
    },
  };
}

describe('a sink that is slow', () => {
  it('block: is waited for up to the bound of memory, then refused, and nothing is lost or torn', async () => {
    const pipe = namedPipe();
    const { auditor } = auditing({ sinks: [pipe.path], on_failure: 'block' });
    recordMany(auditor, 0, 5000, 0);
    await until(() => (auditor.stats().sinks[0]?.queued ?? 0) > 4000);
    expect(auditor.available()).toBe(true);
    recordMany(auditor, 5000, 10_000, 0);
    expect(auditor.available()).toBe(false);
    await until(() => {
      pipe.read();
      return auditor.stats().sinks[0]?.queued === 0;
    });
    expect(auditor.available()).toBe(true);
    expect(numbersOf(pipe.read())).toEqual(range(0, 15_000));
  });

  it('spool: overflows into the spool before memory is full, and stays available', async () => {
    const pipe = namedPipe();
    const { auditor } = auditing({ sinks: [pipe.path], on_failure: 'spool', spool_file: join(folder(), 'spool') });
    for (let first = 0; first < 20_000; first += 1000) {
      recordMany(auditor, first, 1000, 0);
      expect(auditor.available()).toBe(true);
      await until(() => (auditor.stats().sinks[0]?.queued ?? 0) < 6000);
    }
    expect(auditor.stats().sinks[0]?.spooled).toBeGreaterThan(10_000);
    await until(() => {
      pipe.read();
      return auditor.stats().sinks[0]?.written === 20_000;
    });
    expect(numbersOf(pipe.read())).toEqual(range(0, 20_000));
  });

  it('close does not wait for ever for a reader, and tells what is lost', async () => {
    const pipe = namedPipe();
    const { auditor } = auditing({ sinks: [pipe.path], on_failure: 'block' });
    recordMany(auditor, 0, 500);
    const lost = await auditor.close(100);
    expect(lost).toBeGreaterThan(0);
    const text = pipe.read();
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    expect(numbersOf(whole)).toEqual(range(0, 500 - lost));
  });
});

describe('a reader that goes away', () => {
  it('EPIPE: makes the sink unavailable until somebody reads again, and only whole records follow', async () => {
    const pipe = namedPipe();
    const { auditor } = auditing({ sinks: [pipe.path], on_failure: 'block' });
    recordMany(auditor, 0, 10);
    await until(() => numbersOf(pipe.read()).length === 10);
    pipe.close();
    recordMany(auditor, 10, 10);
    await until(() => !auditor.available());
    pipe.openAgain();
    await until(() => auditor.available());
    recordMany(auditor, 20, 10);
    await until(() => numbersOf(pipe.read()).length === 20);
    expect(numbersOf(pipe.read())).toEqual(range(10, 20));
  });

  it('refuses to start with a named pipe that nobody reads', () => {
    const pipe = namedPipe();
    pipe.close();
    expect(() => auditing({ sinks: [pipe.path], on_failure: 'block' })).toThrow(/nobody reads; start the reader first/);
  });
});
