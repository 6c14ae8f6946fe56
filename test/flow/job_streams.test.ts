import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CountedCheck, countedBlocks } from '../../bench/counted_stream.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** Runs the program of `npm run bench:agent` with less: tool, agent, gateway, authorization server and upstream, each a process of its own. */
function streamThroughAll(megabytes: number): Promise<{ code: number | null; text: string; errors: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'bench/agent.ts'), '--megabytes', String(megabytes)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 170_000,
  });
  const read = { text: '', errors: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    read.text += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    read.errors += chunk;
  });
  return new Promise((done) => child.once('close', (code) => done({ code, ...read })));
}

describe('large bodies of a job stream through agent and gateway', { timeout: 180_000 }, () => {
  it('up and down, byte for byte, and no process grows by what passes', async () => {
    const { code, text, errors } = await streamThroughAll(400);
    expect([code, errors]).toEqual([0, '']);
    const rows = [...text.matchAll(/^\| (before|up, to \d+ MB|down, to \d+ MB) \| (\d+) \| (\d+) \|$/gm)];
    expect(rows.map(([, name]) => name)).toEqual(
      ['before'].concat(...['up', 'down'].map((way) => [80, 160, 240, 320, 400].map((to) => `${way}, to ${to} MB`))),
    );
    const [before] = rows;
    for (const [, , agent, gateway] of rows) {
      expect(Number(agent) - Number(before?.[2])).toBeLessThan(200);
      expect(Number(gateway) - Number(before?.[3])).toBeLessThan(200);
    }
  });

  it('what compares the bytes sees one that is changed, missing or doubled', () => {
    const all = Buffer.concat([...countedBlocks(200_000)]);
    const pieces = (bytes: Buffer, size: number) =>
      Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size));
    const check = (bytes: Buffer, size: number) => {
      const found = new CountedCheck();
      for (const piece of pieces(bytes, size)) found.take(piece);
      return found.bytes;
    };
    for (const size of [1000, 65_536, 65_537, 200_000]) expect(check(all, size)).toBe(200_000);
    const changed = Buffer.from(all);
    changed[100_000] = 0;
    const block = 65_536;
    const missing = Buffer.concat([all.subarray(0, block), all.subarray(2 * block)]);
    const doubled = Buffer.concat([all.subarray(0, block), all]);
    for (const wrong of [changed, missing, doubled]) expect(() => check(wrong, 5000)).toThrow('other bytes');
  });
});
