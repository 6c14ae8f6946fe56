/**
 * Streams five gigabytes up and five down through agent and gateway, with a token of the authorization server, each a process of its own, and
 * writes docs/benchmarks_agent.md: `npm run bench:agent`, or `npm run bench:agent -- --megabytes 400`, which writes nothing. Loopback only.
 * Fails when a byte is lost or changed, or when a process grows by more than GROWTH_MUST_MB.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request as sendRequest } from 'node:http';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { type JobChain, startJobChain } from './contenders/job_chain.ts';
import { CountedCheck, countedBlocks } from './counted_stream.ts';
import { describeMachine } from './machine.ts';
import { Place } from './place.ts';

const { values: given } = parseArgs({ options: { megabytes: { type: 'string' } } });
const BYTES = Number(given.megabytes ?? 5000) * 1_000_000;
const PART_BYTES = Math.max(BYTES / 5, 1);
const LOOK_MS = 20;
const LIMIT_MS = 600_000;
/** Less than what passes in a short run, and no more in a long one. */
const GROWTH_MUST_MB = 200;
const PARTIES = ['agent', 'gateway'] as const;

type Party = (typeof PARTIES)[number];
type Direction = 'up' | 'down';

/** Most resident memory of each process while one part passed, in MB. */
interface Part {
  readonly direction: Direction;
  readonly megabytes: number;
  readonly residentMb: Record<Party, number>;
}

await main();

async function main(): Promise<void> {
  const place = new Place();
  try {
    const chain = await startJobChain(place, { bytes: BYTES, limitMs: LIMIT_MS });
    const idle = residentMb(chain);
    const parts: Part[] = [];
    const seconds = { up: await stream(chain, 'up', parts), down: await stream(chain, 'down', parts) };
    const growth = (party: Party) => Math.max(...parts.map((part) => part.residentMb[party])) - idle[party];
    const text = page(idle, parts, seconds);
    if (given.megabytes === undefined)
      writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks_agent.md'), text);
    console.log(text);
    for (const party of PARTIES) {
      if (growth(party) > GROWTH_MUST_MB)
        throw new Error(`the ${party} grew by ${growth(party).toFixed(0)} MB while ${BYTES / 1e6} MB passed each way`);
    }
  } finally {
    await place.close();
  }
}

/** Lets all bytes pass in one request and compares them at the other end. @returns seconds */
async function stream(chain: JobChain, direction: Direction, parts: Part[]): Promise<number> {
  const look = () => {
    const now = residentMb(chain);
    const peak = parts.at(-1)?.residentMb ?? now;
    for (const party of PARTIES) peak[party] = Math.max(peak[party], now[party]);
  };
  const begin = (passed: number) => {
    const megabytes = Math.round((Math.floor(passed / PART_BYTES) + 1) * PART_BYTES) / 1e6;
    parts.push({ direction, megabytes, residentMb: residentMb(chain) });
  };
  const watching = setInterval(look, LOOK_MS);
  const started = performance.now();
  let passed = 0;
  const pass = (bytes: number) => {
    if (passed === 0 || Math.floor(passed / PART_BYTES) < Math.floor(Math.min(passed + bytes, BYTES - 1) / PART_BYTES))
      begin(passed === 0 ? 0 : passed + bytes);
    passed += bytes;
  };
  try {
    await (direction === 'up' ? sendAll(chain.url, pass) : takeAll(chain.url, pass));
  } finally {
    clearInterval(watching);
  }
  return (performance.now() - started) / 1000;
}

async function sendAll(url: string, pass: (bytes: number) => void): Promise<void> {
  const request = sendRequest(`${url}/projects/p1/builds`, { method: 'POST', headers: { 'content-length': BYTES } });
  const answered = answerOf(request);
  const blocks = function* () {
    for (const block of countedBlocks(BYTES)) {
      pass(block.length);
      yield block;
    }
  };
  await Promise.all([pipeline(Readable.from(blocks(), { objectMode: false }), request), answered]);
  const answer = await answered;
  const text = (await answer.toArray()).join('');
  if (answer.statusCode !== 200 || text !== String(BYTES))
    throw new Error(`sent ${BYTES}: ${answer.statusCode} ${text}`);
}

async function takeAll(url: string, pass: (bytes: number) => void): Promise<void> {
  const request = sendRequest(`${url}/projects/p1`);
  request.end();
  const answer = await answerOf(request);
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${(await answer.toArray()).join('')}`);
  const check = new CountedCheck();
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    check.take(chunk);
    pass(chunk.length);
  }
  if (check.bytes !== BYTES) throw new Error(`${check.bytes} bytes arrived of ${BYTES}`);
}

function answerOf(request: ReturnType<typeof sendRequest>): Promise<IncomingMessage> {
  request.setTimeout(LIMIT_MS, () => request.destroy(new Error('nothing came for too long')));
  return new Promise((resolve, reject) => request.once('response', resolve).once('error', reject));
}

function residentMb({ agentPid, gatewayPid }: JobChain): Record<Party, number> {
  const of = (pid: number) =>
    Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1000;
  return { agent: of(agentPid), gateway: of(gatewayPid) };
}

function page(idle: Record<Party, number>, parts: readonly Part[], seconds: Record<Direction, number>): string {
  const row = (name: string, { agent, gateway }: Record<Party, number>) =>
    `| ${name} | ${agent.toFixed(0)} | ${gateway.toFixed(0)} |`;
  const rows = parts.map((part) => row(`${part.direction}, to ${part.megabytes} MB`, part.residentMb));
  const speed = (direction: Direction) =>
    `${direction} ${seconds[direction].toFixed(1)} s (${(BYTES / 1e6 / seconds[direction]).toFixed(0)} MB/s)`;
  return `# Streams of a job

Written by \`npm run bench:agent\`: ${BYTES / 1e6} MB in one request up (POST), then as many in one down (GET), from a tool through \`sallyport agent exec\` and
\`sallyport gateway\` (DPoP with single use, starter policy, record) to an upstream, with a token of \`sallyport authserver\`; each a process of its own. Every byte is compared at the
other end. Wanted: memory that stays flat however much passes; the run fails when a process grows by more than ${GROWTH_MUST_MB} MB.

${describeMachine().join('\n')}

${speed('up')}, ${speed('down')}.

| | agent, most MB resident | gateway, most MB resident |
|---|---|---|
${[row('before', idle), ...rows].join('\n')}
`;
}
