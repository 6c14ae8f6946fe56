/**
 * Measures what honest callers notice of floods, and writes docs/benchmarks_floods.md: `npm run bench:floods`, or
 * `npm run bench:floods -- --rounds N --rate N --only 'part of a name'` (then nothing is written). Loopback only; ends by itself.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Contender } from './contenders/contender.ts';
import { startGateway } from './contenders/gateway.ts';
import { type IssuerEndpoints, startIssuer } from './contenders/gateway_variants.ts';
import { startUpstream } from './contenders/nginx.ts';
import { shareCores } from './cores.ts';
import { usageOf, usedBetween } from './cpu.ts';
import { beginFlood } from './floods/flood.ts';
import { FLOODS, type Flood } from './floods/kinds.ts';
import { describeFloods, type Sample } from './floods/page.ts';
import { type LoadResult, sendAll } from './load.ts';
import { describeMachine } from './machine.ts';
import { freePort, Place } from './place.ts';
import { type Caller, makeCallers, makeRequests } from './requests.ts';

const { values: given } = parseArgs({
  options: { rounds: { type: 'string' }, rate: { type: 'string' }, only: { type: 'string' } },
});
const ROUNDS = Number(given.rounds ?? 3);
const FLOOD_RATE = Number(given.rate ?? 1000);
/** Of a flood that is sent as fast as it is answered. */
const FLOOD_CONNECTIONS = 64;
const HONEST_RATE = 200;
const HONEST_CONNECTIONS = 16;
const SECONDS = 2;
const OPAQUE_CALLERS = 20;
/** Milliseconds that the issuer takes for an answer about a token. */
const ISSUER_DELAY_MS = 10;
/** Seconds that an answer is remembered: short, so that honest tokens are asked about again during a flood. */
const CACHE_SECONDS = 1;

interface Scene {
  readonly gateway: Contender;
  readonly issuer: IssuerEndpoints;
  readonly honest: readonly Caller[];
}

await main();

async function main(): Promise<void> {
  const place = new Place();
  try {
    const scene = await start(place);
    await measureHonest(scene, await makeHonest(scene, HONEST_RATE * 10)); // Warm.
    const chosen = FLOODS.filter(({ name }) => given.only === undefined || name.includes(given.only));
    const samples: Sample[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const one of chosen)
        for (const rate of [FLOOD_RATE, undefined]) samples.push(await sample(scene, one, rate));
    }
    const terms = {
      rounds: ROUNDS,
      rate: FLOOD_RATE,
      connections: FLOOD_CONNECTIONS,
      honest: HONEST_RATE,
      seconds: SECONDS,
    };
    const page = describeFloods(samples, { ...terms, delayMs: ISSUER_DELAY_MS, machine: describeMachine() });
    console.log(page);
    if (given.only === undefined)
      writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks_floods.md'), page);
  } finally {
    await place.close();
  }
}

/** One gateway, one issuer that it asks about opaque tokens and for keys, and honest callers of both kinds of tokens. */
async function start(place: Place): Promise<Scene> {
  const { own, others } = shareCores();
  const port = await freePort();
  const [jwtCaller] = makeCallers(port, 1) as [Caller];
  const opaque = makeCallers(port, OPAQUE_CALLERS, { opaque: true });
  const honest = [jwtCaller, ...opaque];
  const upstream = await startUpstream(place, others);
  const issuer = await startIssuer(place, { callers: honest, delayMs: ISSUER_DELAY_MS, cpus: others });
  const introspection = { ...issuer.introspection, cache_seconds: CACHE_SECONDS };
  const setting = { place, caller: jwtCaller, upstreamPort: upstream.port, cpus: own };
  const gateway = await startGateway(setting, {
    processes: 1,
    redisCpus: others,
    change: (config) => ({
      ...config,
      issuers: config.issuers.map(({ issuer: name }) => ({
        issuer: name,
        jwks_uri: `${issuer.origin}/jwks`,
        introspection,
        keys: { cooldown_seconds: 1 },
      })),
    }),
  });
  return { gateway, issuer, honest };
}

/** Half of the requests come with a JWT, half with opaque tokens. */
function makeHonest({ honest }: Scene, count = HONEST_RATE * SECONDS): Promise<Buffer[]> {
  const [jwtCaller, ...opaque] = honest as [Caller, ...Caller[]];
  return makeRequests(
    opaque.flatMap((caller) => [jwtCaller, caller]),
    'get',
    count,
  );
}

/** @throws Error when one of them is not answered 200 */
async function measureHonest(
  { gateway }: Scene,
  requests: readonly Buffer[],
): Promise<{ load: LoadResult; core: number }> {
  const { port, pid } = gateway.program;
  const before = usageOf(pid);
  const result = await sendAll(requests, { port, connections: HONEST_CONNECTIONS, rate: HONEST_RATE });
  const others = [...result.statuses].filter(([status]) => status !== 200);
  if (others.length > 0) throw new Error(`honest requests were answered with ${JSON.stringify(others)}`);
  return { load: result, core: usedBetween(before, usageOf(pid)) / (result.seconds * 1e6) };
}

/** Honest traffic alone, then the same beside a flood that has begun before and lasts longer. */
async function sample(scene: Scene, one: Flood, rate: number | undefined): Promise<Sample> {
  const quiet = await measureHonest(scene, await makeHonest(scene));
  const [caller] = scene.honest as [Caller];
  const options = { port: scene.gateway.program.port, connections: FLOOD_CONNECTIONS, rate };
  const [honest, requests] = await Promise.all([
    makeHonest(scene),
    one.make(caller, (rate ?? FLOOD_RATE) * (SECONDS + 1)),
  ]);
  const asked = await countsOf(scene.issuer);
  const flooding = await beginFlood(requests, options);
  const flooded = await measureHonest(scene, honest);
  const { statuses, seconds } = await flooding.result;
  const unexpected = [...statuses.keys()].filter((status) => status !== one.status && status !== 503);
  if (unexpected.length > 0) throw new Error(`${one.name}: answered with ${unexpected}`);
  const after = await countsOf(scene.issuer);
  return {
    name: one.name,
    rate: rate ?? null,
    quiet: quiet.load,
    flooded: flooded.load,
    cpu: { quiet: quiet.core, flooded: flooded.core },
    flood: { perSecond: requests.length / seconds, overloaded: statuses.get(503) ?? 0 },
    introspections: (after.introspections - asked.introspections) / seconds,
    keySets: (after.key_sets - asked.key_sets) / seconds,
  };
}

async function countsOf({ origin }: IssuerEndpoints): Promise<{ introspections: number; key_sets: number }> {
  const answer = await fetch(`${origin}/counts`);
  return (await answer.json()) as { introspections: number; key_sets: number };
}
