/**
 * Measures the memory of one gateway process over a million requests with 100,000 keys and tokens in turn, and writes docs/benchmarks_memory.md:
 * `npm run bench:memory`, or `npm run bench:memory -- --requests 200000` for a part of it. Loopback only.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startGateway } from './contenders/gateway.ts';
import { startUpstream } from './contenders/nginx.ts';
import { shareCores } from './cores.ts';
import { describeMachine } from './machine.ts';
import { measure } from './measure.ts';
import { freePort, Place } from './place.ts';
import { makeCallers, makeRequests } from './requests.ts';

const { values: given } = parseArgs({ options: { requests: { type: 'string' }, callers: { type: 'string' } } });
const REQUESTS = Number(given.requests ?? 1_000_000);
const CALLERS = Number(given.callers ?? 100_000);
const BATCH = 20_000;
const ROWS = 10;
/** The process that compiled the policy ends when it had nothing to do for 30 s. */
const COMPILER_GONE_MS = 35_000;
const START_MUST_MB = 120;
const END_MUST_MB = 220;

interface Row {
  readonly requests: number;
  readonly residentMb: number;
  readonly cpuUs: number;
}

await main();

async function main(): Promise<void> {
  const place = new Place();
  try {
    const { own, others } = shareCores();
    const callers = makeCallers(await freePort(), CALLERS);
    const upstream = await startUpstream(place, others);
    const setting = { place, caller: callers[0]!, upstreamPort: upstream.port, cpus: own };
    const gateway = await startGateway(setting, { processes: 1, redisCpus: others });
    await sleep(COMPILER_GONE_MS);
    const rows: Row[] = [{ requests: 0, residentMb: residentMb(gateway.program.pid), cpuUs: Number.NaN }];
    let costs: number[] = [];
    for (let sent = 0; sent < REQUESTS; sent += BATCH) {
      const turn = Array.from({ length: BATCH }, (_, index) => callers[(sent + index) % CALLERS]!);
      const requests = await makeRequests(turn, 'get', BATCH);
      costs.push((await measure(gateway, requests, { connections: 32, status: 200 })).cpuUs);
      if ((sent + BATCH) % (REQUESTS / ROWS) >= BATCH) continue;
      const cpuUs = costs.reduce((sum, cost) => sum + cost, 0) / costs.length;
      costs = [];
      rows.push({ requests: sent + BATCH, residentMb: residentMb(gateway.program.pid), cpuUs });
      console.error(JSON.stringify(rows.at(-1)));
    }
    const text = page(rows);
    writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks_memory.md'), text);
    console.log(text);
  } finally {
    await place.close();
  }
}

/** Megabytes of one process that are in memory (VmRSS), without its children. */
function residentMb(pid: number): number {
  const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kilobytes) / 1000;
}

function page(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ requests, residentMb, cpuUs }) =>
      `| ${requests.toLocaleString('en')} | ${residentMb.toFixed(0)} | ${Number.isNaN(cpuUs) ? '–' : cpuUs.toFixed(0)} |`,
  );
  return `# Memory of a process

Written by \`npm run bench:memory\`: the whole gateway (DPoP, Redis, starter policy, record) in one process, ${REQUESTS.toLocaleString('en')} requests by
${CALLERS.toLocaleString('en')} callers in turn, each with a key and a token of its own. Resident memory (VmRSS) of the process, about 56 MB of which are the mapped
Node.js binary. Wanted: at most ${START_MUST_MB} MB at the start and ${END_MUST_MB} MB at the end.

${describeMachine().join('\n')}

| requests | MB resident | µs CPU for each since the row before |
|---|---|---|
${lines.join('\n')}
`;
}
