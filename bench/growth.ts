/**
 * Measures how the cost of a request grows with what is configured and in use, and writes docs/benchmarks_growth.md with its plots:
 * `npm run bench:growth`, or `npm run bench:growth -- --only operations,routes`. All sizes of a dimension run side by side and are
 * measured in turn. Loopback only; everything that it starts, it ends.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startUpstream } from './contenders/nginx.ts';
import { shareCores } from './cores.ts';
import type { Dimension, Sized } from './growth/dimension.ts';
import { DIMENSIONS } from './growth/dimensions.ts';
import { type PlotPoint, plot } from './growth/plot.ts';
import { describeMachine } from './machine.ts';
import { measure } from './measure.ts';
import { freePort, Place } from './place.ts';
import { median } from './report.ts';
import { makeCaller, makeRequests } from './requests.ts';

const { values: given } = parseArgs({
  options: { only: { type: 'string' }, rounds: { type: 'string' }, requests: { type: 'string' } },
});
const ROUNDS = Number(given.rounds ?? 5);
const REQUESTS = Number(given.requests ?? 4000);
const WARM_UP = 12_000;
const CONNECTIONS = 32;
const DOCS = join(resolve(import.meta.dirname, '..'), 'docs');

await main();

async function main(): Promise<void> {
  const only = given.only?.split(',');
  const chosen = DIMENSIONS.filter(({ name }) => only === undefined || only.includes(name));
  const sections: string[] = [];
  for (const dimension of chosen) {
    const points = await growthOf(dimension);
    const section = describe(dimension, points);
    console.log(section);
    sections.push(section);
    if (only !== undefined) continue;
    mkdirSync(join(DOCS, 'benchmarks'), { recursive: true });
    writeFileSync(join(DOCS, 'benchmarks', `${dimension.name}.svg`), plot(dimension.title, dimension.unit, points));
  }
  if (only === undefined) writeFileSync(join(DOCS, 'benchmarks_growth.md'), page(sections));
}

/** Starts a gateway for each size and measures them in turn, so that what else the machine does falls on all of them. */
async function growthOf(dimension: Dimension): Promise<PlotPoint[]> {
  const place = new Place();
  const sized: Sized[] = [];
  try {
    const { own, others } = shareCores();
    const caller = makeCaller(await freePort());
    const upstream = await startUpstream(place, others);
    const setting = { place, caller, upstreamPort: upstream.port, cpus: own };
    for (const size of dimension.sizes) sized.push(await dimension.start(size, setting, others));
    const costs = new Map<number, number[]>(dimension.sizes.map((size) => [size, []]));
    for (let round = 0; round <= ROUNDS; round++) {
      for (const { size, contender, callers } of sized) {
        const requests = await makeRequests(callers, 'get', round === 0 ? WARM_UP : REQUESTS);
        const { cpuUs } = await measure(contender, requests, { connections: CONNECTIONS, status: 200 });
        if (round > 0) costs.get(size)?.push(cpuUs);
      }
    }
    return [...costs].map(([size, all]) => ({ size, values: [median(all), Math.min(...all), Math.max(...all)] }));
  } finally {
    for (const { ended } of sized) ended?.();
    await place.close();
  }
}

function describe({ name, title, unit, atMost }: Dimension, points: readonly PlotPoint[]): string {
  const first = points[0]?.values[0] ?? Number.NaN;
  const last = points.at(-1)?.values[0] ?? Number.NaN;
  const rows = points.map(
    ({ size, values: [middle, low, high] }) =>
      `| ${size.toLocaleString('en')} | ${middle.toFixed(0)} (${low.toFixed(0)}–${high.toFixed(0)}) | ${(middle / first).toFixed(2)} |`,
  );
  const wanted = atMost === null ? '' : `, at most ${atMost.toFixed(2)} is wanted`;
  return `## ${title}

The largest costs ${(last / first).toFixed(2)} times the smallest${wanted}.

| ${unit} | µs CPU | : smallest |
|---|---|---|
${rows.join('\n')}

![${title}](benchmarks/${name}.svg)
`;
}

function page(sections: readonly string[]): string {
  return `# How the cost of a request grows

Written by \`npm run bench:growth\`: the whole gateway (DPoP, Redis, starter policy, record), one process, ${ROUNDS} rounds of ${REQUESTS} requests for
each size after ${WARM_UP} to warm up, sizes in turn. Median (least–most) of the CPU that the operating system accounts to the gateway.

${describeMachine().join('\n')}

${sections.join('\n')}`;
}
