import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EndedList } from '../../src/ended_jobs/ended_keys.ts';
import { MemoryEndedKeys } from '../../src/ended_jobs/ended_keys_memory.ts';
import { StateFile } from '../../src/net/state_file.ts';
import { endedKey, thumbprint } from './fixture.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-ended-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('EndedList', () => {
  it('knows a key until it has expired, and the later expiry counts', () => {
    const list = new EndedList(10);
    const key = thumbprint();
    expect(list.add([{ thumbprint: key, expiresAt: 2000 }], 1000)).toBe(1);
    expect(list.add([{ thumbprint: key, expiresAt: 5000 }], 1000)).toBe(0);
    expect(list.add([{ thumbprint: key, expiresAt: 3000 }], 1000)).toBe(0);
    expect(list.entries(4999)).toEqual([{ thumbprint: key, expiresAt: 5000 }]);
    expect(list.entries(5000)).toEqual([]);
    expect(list.has(key)).toBe(false);
  });

  it('is bounded: takes no more when it is full, forgets nothing early, and has room again for what expired', () => {
    const list = new EndedList(2);
    const [a, b, c] = [thumbprint(), thumbprint(), thumbprint()];
    expect(
      list.add(
        [
          { thumbprint: a, expiresAt: 2000 },
          { thumbprint: b, expiresAt: 9000 },
        ],
        1000,
      ),
    ).toBe(2);
    expect(list.add([{ thumbprint: c, expiresAt: 9000 }], 1000)).toBeNull();
    expect([a, b, c].map((key) => list.has(key))).toEqual([true, true, false]);
    expect(list.add([{ thumbprint: c, expiresAt: 9000 }], 2000)).toBe(1);
    expect([a, b, c].map((key) => list.has(key))).toEqual([false, true, true]);
  });

  it('property: whatever is added, exactly the keys whose latest expiry lies ahead are listed', () => {
    const entry = fc.record({
      thumbprint: fc.constantFrom('a', 'b', 'c', 'd'),
      expiresAt: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(entry), fc.integer({ min: 0, max: 50 }), (entries, now) => {
        const list = new EndedList(100);
        for (const one of entries) list.add([one], 0);
        const expected = new Map<string, number>();
        for (const { thumbprint: key, expiresAt } of entries) {
          expected.set(key, Math.max(expiresAt, expected.get(key) ?? 0));
        }
        const live = [...expected].filter(([, expiresAt]) => expiresAt > now).map(([key]) => key);
        expect(
          list
            .entries(now)
            .map((key) => key.thumbprint)
            .sort(),
        ).toEqual(live.sort());
      }),
    );
  });
});

describe('the memory store', () => {
  const store = (stateFile?: string, limit = 1000) => new MemoryEndedKeys({ limit, clock: Date.now, stateFile });

  it('is told, tells its listeners, counts what it refuses', async () => {
    const keys = store();
    await keys.start();
    const ended = endedKey();
    let told = 0;
    keys.onChange(() => told++);
    expect(keys.judge(ended.thumbprint)).toBe('live');
    await keys.end([ended]);
    expect(told).toBe(1);
    expect([keys.judge(ended.thumbprint), keys.peek(ended.thumbprint), keys.judge(thumbprint())]).toEqual([
      'ended',
      'ended',
      'live',
    ]);
    expect(keys.stats()).toMatchObject({ kind: 'memory', up: true, entries: 1, refused: 1 });
  });

  it('full: says so, to the caller and to readiness, and keeps what it has', async () => {
    const keys = store(undefined, 1);
    const first = endedKey();
    await keys.end([first]);
    await expect(keys.end([endedKey()])).rejects.toThrow('the list of ended jobs is full (1 keys)');
    expect(keys.health().healthy).toBe(false);
    expect(keys.judge(first.thumbprint)).toBe('ended');
  });

  it('state_file: a restart forgets nothing; mode 0600; no parts left behind', async () => {
    const file = join(folder, 'ended.json');
    const keys = store(file);
    await keys.start();
    const many = Array.from({ length: 50 }, () => endedKey());
    await Promise.all(many.map((key) => keys.end([key])));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['ended.json']);
    // Without close: what end() acknowledged is on the disk.
    const again = store(file);
    await again.start();
    expect(many.every((key) => again.judge(key.thumbprint) === 'ended')).toBe(true);
  });

  it.each([
    ['torn', '{"version":1,"ended_ke', 'expected one JSON document'],
    ['another', '{"version":2,"ended_keys":[]}', 'not a list that this program wrote'],
    ['foreign entries', '{"version":1,"ended_keys":[["x",1]]}', 'an entry is not a thumbprint'],
    ['an array', '[]', 'not a list'],
    ['null', 'null', 'null'],
  ])('state_file %s: does not start, since what it forgot could not be refused', async (_name, text, words) => {
    const file = join(folder, 'ended.json');
    writeFileSync(file, text);
    await expect(store(file).start()).rejects.toThrow(words);
  });

  it('state_file that cannot be written: end() says so, and the key is refused all the same', async () => {
    const inner = mkdtempSync(join(folder, 'inner-'));
    const keys = store(join(inner, 'ended.json'));
    await keys.start();
    rmSync(inner, { recursive: true });
    const ended = endedKey();
    await expect(keys.end([ended])).rejects.toThrow('cannot be written (ENOENT)');
    expect(keys.judge(ended.thumbprint)).toBe('ended');
  });
});

describe('StateFile', () => {
  it('writes asked for at the same time become one, and each waits for what it asked for', async () => {
    const path = join(folder, 'state.json');
    const file = new StateFile(path);
    let written = 0;
    let value = 0;
    const writes = Array.from({ length: 100 }, () => {
      value++;
      return file.write(() => {
        written++;
        return value;
      });
    });
    await Promise.all(writes);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toBe(100);
    expect(written).toBeLessThanOrEqual(3);
  });

  it('nothing there is undefined; unreadable is an error that names the file', () => {
    const path = join(folder, 'state.json');
    expect(new StateFile(path).read()).toBeUndefined();
    writeFileSync(path, '{');
    expect(() => new StateFile(path).read()).toThrow(path);
    chmodSync(path, 0o600);
  });
});
