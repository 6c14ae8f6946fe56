import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Program } from './place.ts';

const FEED = fileURLToPath(new URL('./programs/feed.lua', import.meta.url));
const PATIENCE_MS = 60_000;

/** How wrk sends. */
export interface WrkOptions {
  /** Where the requests are put meanwhile. */
  readonly folder: string;
  readonly connections: number;
  readonly seconds: number;
}

/**
 * How many requests a program answers in a second when nobody waits but for answers: from wrk, which takes a tenth of the time that sending
 * from here does, so that on a machine of few cores the program can have them.
 * @param requests more than can be answered in that time, since each is sent once
 * @throws Error when one was refused or failed, or there were too few
 */
export async function answeredPerSecond(
  { name, port }: Program,
  requests: readonly Buffer[],
  { folder, connections, seconds }: WrkOptions,
): Promise<number> {
  const file = join(folder, 'requests');
  const messages = requests.flatMap((request) => [Buffer.from(String(request.length).padStart(8, '0')), request]);
  writeFileSync(file, Buffer.concat(messages));
  try {
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', FEED, `http://127.0.0.1:${port}`, '--', file];
    const wrk = spawn('wrk', args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: PATIENCE_MS });
    let printed = '';
    wrk.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    await once(wrk, 'close');
    const line = /^\{.*\}$/m.exec(printed)?.[0];
    if (line === undefined) throw new Error(`wrk said nothing of ${name}: ${printed}`);
    const { answered, refused, failed, microseconds } = JSON.parse(line) as Record<string, number>;
    if (refused !== 0 || failed !== 0 || answered! > requests.length) {
      throw new Error(`${name}: expected good answers to at most ${requests.length} requests, got ${line}`);
    }
    return (answered! * 1e6) / microseconds!;
  } finally {
    rmSync(file);
  }
}
