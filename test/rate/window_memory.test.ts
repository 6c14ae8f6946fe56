import { hash } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { RateLimiterRes } from 'rate-limiter-flexible';
import { describe, expect, it } from 'vitest';
import { createMemoryCounter } from '../../src/rate/counter_memory.ts';
import { MemoryWindows } from '../../src/rate/window_memory.ts';

/** What a request of this key came to: passed, the milliseconds to wait, or that there was no room. */
async function consume(windows: MemoryWindows, key: string): Promise<'passed' | number | string> {
  try {
    await windows.consume(key);
    return 'passed';
  } catch (refused) {
    return refused instanceof RateLimiterRes ? refused.msBeforeNext : (refused as Error).message;
  }
}

describe('rate windows in memory', () => {
  it('so many pass in a window, which begins with the first request of its key', async () => {
    let now = 1000;
    const windows = new MemoryWindows({ points: 2, seconds: 10, keys: 100, now: () => now });
    expect([await consume(windows, 'a'), await consume(windows, 'a')]).toEqual(['passed', 'passed']);
    now += 4000;
    expect(await consume(windows, 'a')).toBe(6000);
    expect(await consume(windows, 'b')).toBe('passed');
    now += 6000;
    expect(await consume(windows, 'a')).toBe('passed');
  });

  it('full: new keys are refused, known ones go on, none is forgotten before its window ends', async () => {
    let now = 0;
    const windows = new MemoryWindows({ points: 1, seconds: 10, keys: 3, now: () => now });
    for (const key of ['a', 'b', 'c']) expect(await consume(windows, key)).toBe('passed');
    expect(await consume(windows, 'd')).toMatch(/limits\.rate_keys/);
    expect(await consume(windows, 'a')).toBe(10_000);
    now = 10_000;
    expect(await consume(windows, 'd')).toBe('passed');
    expect(windows.size).toBe(1);
  });

  it('properties: as a model of fixed windows says, whatever comes when', async () => {
    const step = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), wait: fc.nat({ max: 4000 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (steps, points) => {
        let now = 0;
        const windows = new MemoryWindows({ points, seconds: 5, keys: 3, now: () => now });
        let model: { key: string; ends: number; points: number }[] = [];
        for (const { key, wait } of steps) {
          now += wait;
          model = model.filter(({ ends }) => ends > now);
          const known = model.find((one) => one.key === key);
          const outcome = await consume(windows, key);
          if (known === undefined && model.length === 3) expect(outcome).toMatch(/limits\.rate_keys/);
          else if (known === undefined) {
            expect(outcome).toBe('passed');
            model.push({ key, ends: now + 5000, points: 1 });
          } else {
            known.points++;
            expect(outcome).toBe(known.points <= points ? 'passed' : known.ends - now);
          }
          expect(windows.size).toBe(model.length);
        }
      }),
    );
  });

  it('a million distinct keys: memory stays within the bound', { timeout: 120_000 }, async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const keys = 100_000;
    const counter = createMemoryCounter({ requests: 5, per_seconds: 600, lease_seconds: 15, concurrent: 1 }, keys);
    let counted = 0;
    let refused = 0;
    const count = async (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        // As a request: a place, the count, and the place given back.
        const key = hash('sha256', `${n}`, 'base64url');
        const place = await counter.hold(key);
        try {
          await counter.count(key);
          counted++;
        } catch (error) {
          if ((error as Error).message.includes('limits.rate_keys')) refused++;
        }
        place?.();
      }
    };
    await count(0, 1000);
    collect();
    const before = process.memoryUsage().heapUsed;
    await count(1000, 1_000_000);
    collect();
    expect([counted, refused]).toEqual([keys, 1_000_000 - keys]);
    // 250 bytes for each key that is counted; nothing for the others.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(keys * 250);
  });
});
