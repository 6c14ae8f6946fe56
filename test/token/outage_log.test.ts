import { describe, expect, it } from 'vitest';
import { OutageLog } from '../../src/token/outage_log.ts';
import { within } from '../../src/token/within.ts';

describe('OutageLog', () => {
  it('one line when something fails, when it fails otherwise and when it works again, and no more than one in ten seconds', () => {
    let now = 0;
    const lines: unknown[] = [];
    const log = {
      info: (fields: object, message: string) => lines.push(['info', fields, message]),
      warn: (fields: object, message: string) => lines.push(['warn', fields, message]),
    };
    const outages = new OutageLog({ log, clock: () => now, fields: { issuer: 'i' }, subject: 'asking' });
    const report = (at: number, problem: string | null) => {
      now = at;
      outages.report(problem);
    };
    report(0, null);
    report(1, 'down');
    report(2, 'down');
    report(3, null);
    report(4, 'slow');
    report(10_001, 'slow');
    report(20_001, null);
    report(20_002, null);
    report(10_001, 'down');
    expect(lines).toEqual([
      ['warn', { issuer: 'i', problem: 'down' }, 'asking fails'],
      ['warn', { issuer: 'i', problem: 'slow' }, 'asking fails'],
      ['info', { issuer: 'i' }, 'asking works again'],
      ['warn', { issuer: 'i', problem: 'down' }, 'asking fails'],
    ]);
  });
});

describe('within', () => {
  it('gives the result, or what stands for it when it is late; a late failure is no failure', async () => {
    expect(await within(1000, Promise.resolve(1), 2)).toBe(1);
    expect(await within(1, new Promise<number>(() => undefined), 2)).toBe(2);
    await expect(within(1000, Promise.reject(new Error('failed')), 2)).rejects.toThrow('failed');
    const later = new Promise<number>((_, reject) => setTimeout(() => reject(new Error('late')), 50));
    const failed = expect(later).rejects.toThrow('late');
    expect(await within(1, later, 2)).toBe(2);
    await failed;
  });
});
