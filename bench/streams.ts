/**
 * Streams a gigabyte up and down through the gateway and through a bare undici proxy, and writes docs/benchmarks_streams.md:
 * `npm run bench:streams`, or `npm run bench:streams -- --megabytes 100`, which writes nothing. Loopback only.
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Contender } from './contenders/contender.ts';
import { startGateway } from './contenders/gateway.ts';
import { startNodeProxy } from './contenders/node_proxies.ts';
import { shareCores } from './cores.ts';
import { usageOf, usedBetween } from './cpu.ts';
import { describeMachine } from './machine.ts';
import { freePort, Place } from './place.ts';
import { median } from './report.ts';
import { type Caller, makeCaller, makeRequests } from './requests.ts';

const { values: given } = parseArgs({ options: { megabytes: { type: 'string' }, rounds: { type: 'string' } } });
const BYTES = Number(given.megabytes ?? 1000) * 1_000_000;
const ROUNDS = Number(given.rounds ?? 3);
const UPSTREAM = fileURLToPath(new URL('./programs/stream_upstream.ts', import.meta.url));
const CHUNK = Buffer.alloc(65_536, 'x');
const LOOK_MS = 50;
const STREAM_LIMIT_MS = 120_000;

type Direction = 'down' | 'up';

interface Streamed {
  readonly seconds: number;
  readonly cpuMs: number;
  /** Most resident memory while it streamed, in MB. */
  readonly residentMb: number;
}

await main();

async function main(): Promise<void> {
  const place = new Place();
  try {
    const { own, others } = shareCores();
    const upstreamPort = await freePort();
    const args = [UPSTREAM, String(upstreamPort), String(BYTES)];
    await place.start({ name: 'upstream', command: process.execPath, args, port: upstreamPort, cpus: others });
    const caller = makeCaller(await freePort());
    const setting = { place, caller, upstreamPort, cpus: own };
    const limits = { body_bytes: 10_000_000_000, request_timeout_ms: STREAM_LIMIT_MS };
    const change = (config: object) => ({ ...config, limits });
    const contenders = [
      await startNodeProxy('undici', setting),
      await startGateway(setting, { processes: 1, redisCpus: others, change }),
    ];
    const rows: string[] = [];
    for (const direction of ['down', 'up'] as const) {
      const all = new Map<string, Streamed[]>(contenders.map(({ name }) => [name, []]));
      for (let round = 0; round <= ROUNDS; round++) {
        for (const contender of contenders) {
          const streamed = await stream(contender, caller, direction);
          if (round > 0) all.get(contender.name)?.push(streamed);
        }
      }
      rows.push(...[...all].map(([name, streamed]) => row(name, direction, streamed)));
    }
    const text = page(rows);
    if (given.megabytes === undefined) {
      writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks_streams.md'), text);
    }
    console.log(text);
  } finally {
    await place.close();
  }
}

async function stream({ program }: Contender, caller: Caller, direction: Direction): Promise<Streamed> {
  const [request] = await makeRequests(caller, direction === 'down' ? 'get' : 'post', 1);
  const before = usageOf(program.pid);
  let residentMb = 0;
  const look = setInterval(() => {
    residentMb = Math.max(residentMb, residentOf(program.pid));
  }, LOOK_MS);
  const started = performance.now();
  try {
    await exchange(program.port, request as Buffer, direction);
  } finally {
    clearInterval(look);
  }
  const seconds = (performance.now() - started) / 1000;
  return { seconds, cpuMs: usedBetween(before, usageOf(program.pid)) / 1000, residentMb };
}

/** Sends one request and reads the whole answer; upwards, the body of the request is replaced by a long one. */
async function exchange(port: number, request: Buffer, direction: Direction): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, signal: AbortSignal.timeout(STREAM_LIMIT_MS) });
  await once(socket, 'connect');
  const answered = read(socket, direction === 'down' ? BYTES : 2);
  if (direction === 'down') socket.write(request);
  else {
    const head = request.toString('latin1', 0, request.indexOf('\r\n\r\n'));
    socket.write(`${head.replace(/content-length: \d+/i, `Content-Length: ${BYTES}`)}\r\n\r\n`);
    for (let left = BYTES; left > 0; left -= CHUNK.length) {
      if (!socket.write(CHUNK.subarray(0, Math.min(left, CHUNK.length)))) await once(socket, 'drain');
    }
  }
  await answered;
  socket.destroy();
}

function read(socket: ReturnType<typeof connect>, bodyBytes: number): Promise<void> {
  return new Promise((done, failed) => {
    let head = '';
    let missing = Number.NaN;
    socket.on('data', (chunk: Buffer) => {
      let { length } = chunk;
      if (Number.isNaN(missing)) {
        head += chunk.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (!head.startsWith('HTTP/1.1 200')) return failed(new Error(head.slice(0, 300)));
        missing = bodyBytes;
        length = head.length - end - 4;
      }
      missing -= length;
      if (missing <= 0) done();
    });
    socket.once('error', failed).once('close', () => failed(new Error('the connection was closed early')));
  });
}

function residentOf(pid: number): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1000;
}

function row(name: string, direction: Direction, all: readonly Streamed[]): string {
  const of = (pick: (streamed: Streamed) => number) => median(all.map(pick));
  const speed = BYTES / 1e6 / of(({ seconds }) => seconds);
  const cpu = (of(({ cpuMs }) => cpuMs) * 1e9) / BYTES;
  return `| ${name} | ${direction} | ${speed.toFixed(0)} | ${cpu.toFixed(0)} | ${of(({ residentMb }) => residentMb).toFixed(0)} |`;
}

function page(rows: readonly string[]): string {
  return `# Streams

Written by \`npm run bench:streams\`: ${(BYTES / 1e9).toFixed(1)} GB in one request, down (GET) and up (POST), through the whole gateway and through a bare proxy on
undici, in turn; median of ${ROUNDS} after one to warm up. Wanted: memory flat, and speed within 15 % of the bare proxy.

${describeMachine().join('\n')}

| through | direction | MB/s | ms CPU for each GB | most MB resident |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
