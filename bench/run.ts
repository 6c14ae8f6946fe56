/**
 * Measures the gateway beside other programs on this machine and writes docs/benchmarks.md: `npm run bench`, or `npm run bench -- --quick`
 * for a minute's look. Loopback only; everything that it starts, it ends. Exits with 1 when a contender lets something through that
 * it should refuse.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startApache } from './contenders/apache.ts';
import type { Contender, Setting } from './contenders/contender.ts';
import { compileStarterPolicy, type Layer, startGateway, startLayer } from './contenders/gateway.ts';
import { startIntrospectingGateway, startTlsGateway } from './contenders/gateway_variants.ts';
import { startNginxProxy, startUpstream } from './contenders/nginx.ts';
import { startNodeProxy } from './contenders/node_proxies.ts';
import { shareCores } from './cores.ts';
import { sendAll } from './load.ts';
import { describeMachine, verifyCostUs } from './machine.ts';
import { expectRefusals, measure } from './measure.ts';
import { freePort, Place } from './place.ts';
import { profileGateway } from './profile.ts';
import { type Measured, median, report } from './report.ts';
import { type Caller, type Kind, makeCaller, makeRequests } from './requests.ts';
import { answeredPerSecond } from './wrk.ts';

const OPTIONS = {
  /** A minute's look at the main contenders; nothing is written. */
  quick: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  /** In each batch. */
  requests: { type: 'string' },
} as const;
const given = parseArgs({ options: OPTIONS }).values;
const QUICK = given.quick;
const ROUNDS = Number(given.rounds ?? (QUICK ? 2 : 4));
const REQUESTS = Number(given.requests ?? (QUICK ? 3000 : 8000));
/** In the first batch of each contender: V8 has compiled what is hot by then. */
const WARM_UP = 16_000;
const CONNECTIONS = 32;
/** Whose throughput is compared. */
const PROCESSES = ['gateway-1', 'gateway-2'];
const WRK_SECONDS = 3;
/** More than any answers. */
const MOST_PER_SECOND = 12_000;
const LAYERS: readonly Layer[] = ['token', 'dpop', 'memory', 'redis', 'policy', 'record'];
/** Kinds of traffic, the status that is right for each, and who gets it. */
const TRAFFIC: readonly { kind: Kind; status: number; to(contender: Contender): boolean }[] = [
  { kind: 'get', status: 200, to: () => true },
  {
    kind: 'post',
    status: 200,
    to: ({ caller, program: { name } }) => caller === undefined && !LAYERS.includes(name as Layer),
  },
  { kind: 'no_credentials', status: 401, to: ({ program: { name } }) => name === 'gateway-1' },
  { kind: 'malformed', status: 401, to: ({ program: { name } }) => name === 'gateway-1' },
];

await main();

async function main(): Promise<void> {
  const place = new Place();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void place.close().finally(() => process.exit(1)));
  }
  try {
    const caller = makeCaller(await freePort());
    const { own, others } = shareCores();
    const upstream = await startUpstream(place, others);
    const setting = { place, caller, upstreamPort: upstream.port, cpus: own };
    const contenders = await startAll(setting, others);
    const measured = await rounds(contenders, caller, place);
    const latencies = await measureLatencies(contenders, caller, measured);
    const profile = await profileGateway({
      caller,
      upstreamPort: upstream.port,
      cpus: setting.cpus,
      redisCpus: others,
    });
    const text = report({
      measured,
      latencies,
      profile,
      machine: describeMachine(),
      rounds: ROUNDS,
      requests: REQUESTS,
      connections: CONNECTIONS,
    });
    if (!QUICK) writeFileSync(join(resolve(import.meta.dirname, '..'), 'docs/benchmarks.md'), text);
    console.log(text);
  } finally {
    await place.close();
  }
}

async function startAll(setting: Setting, others: string | undefined): Promise<Contender[]> {
  const contenders = [
    await startNginxProxy(setting),
    await startNodeProxy('undici', setting),
    await startNodeProxy('http-proxy', setting),
    await startApache(setting, others),
  ];
  if (!QUICK) {
    const policyFile = await compileStarterPolicy(setting.place);
    for (const layer of LAYERS) contenders.push(await startLayer(layer, setting, { policyFile, redisCpus: others }));
  }
  if (!QUICK) contenders.push(await startIntrospectingGateway(setting, others));
  for (const binding of ['dpop', 'mtls'] as const) contenders.push(await startTlsGateway(binding, setting, others));
  for (const processes of [1, 2] as const)
    contenders.push(await startGateway(setting, { processes, redisCpus: others }));
  return contenders;
}

/** The first round warms up and is not counted; it is where every contender must refuse what is wrong. */
async function rounds(contenders: readonly Contender[], caller: Caller, place: Place): Promise<Measured> {
  const measured: Measured = { samples: new Map(), verifyUs: [], throughputs: new Map() };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { kind, status, to } of TRAFFIC) {
      const count = round === 0 && kind === 'get' ? WARM_UP : REQUESTS;
      const everybodys = await makeRequests(caller, kind, count);
      for (const contender of contenders.filter(to)) {
        const own = contender.caller;
        const requests = own === undefined ? everybodys : await makeRequests(own, kind, count);
        const sample = await measure(contender, requests, { connections: CONNECTIONS, status });
        if (kind === 'get') await expectRefusals(contender, own ?? caller, requests);
        const key = `${contender.program.name} ${kind}`;
        const row = measured.samples.get(key) ?? { name: contender.name, samples: [] };
        measured.samples.set(key, row);
        if (round > 0) row.samples.push(sample);
      }
    }
    if (round > 0) {
      measured.verifyUs.push(verifyCostUs());
      await measureThroughputs(contenders, { caller, place, measured });
    }
    console.error(`round ${round} of ${ROUNDS}`);
  }
  return measured;
}

/** What one process and two of them answer in a second. */
async function measureThroughputs(
  contenders: readonly Contender[],
  { caller, place, measured }: { caller: Caller; place: Place; measured: Measured },
): Promise<void> {
  for (const { program, name } of contenders.filter(({ program }) => PROCESSES.includes(program.name))) {
    const requests = await makeRequests(caller, 'get', WRK_SECONDS * MOST_PER_SECOND);
    const perSecond = await answeredPerSecond(program, requests, {
      folder: place.folder,
      connections: CONNECTIONS,
      seconds: WRK_SECONDS,
    });
    const row = measured.throughputs.get(program.name) ?? { name, perSecond: [] };
    measured.throughputs.set(program.name, row);
    row.perSecond.push(perSecond);
  }
}

/** Latency at half of what the gateway can do on this machine, for everyone. */
async function measureLatencies(
  contenders: readonly Contender[],
  caller: Caller,
  { samples }: Measured,
): Promise<Map<string, readonly number[]>> {
  const rate = Math.round(median((samples.get('gateway-1 get')?.samples ?? []).map(({ perSecond }) => perSecond)) / 2);
  const latencies = new Map<string, number[]>();
  for (let round = 0; round < (QUICK ? 1 : 3); round++) {
    const requests = await makeRequests(caller, 'get', Math.min(REQUESTS, rate * 3));
    for (const { program, name } of contenders.filter(
      (contender) => contender.caller === undefined && !LAYERS.includes(contender.program.name as Layer),
    )) {
      const { latenciesMs } = await sendAll(requests, { port: program.port, connections: CONNECTIONS, rate });
      latencies.set(name, [...(latencies.get(name) ?? []), ...latenciesMs]);
    }
  }
  return latencies;
}
