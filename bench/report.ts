import type { Sample } from './measure.ts';

/** All samples of a run. */
export interface Measured {
  /** By the program's name and the kind of traffic; one sample for each round. */
  readonly samples: Map<string, { readonly name: string; readonly samples: Sample[] }>;
  /** Microseconds for one ES256 verification by openssl, in each round. */
  readonly verifyUs: number[];
  /** Requests that were answered in a second, sent by wrk; by the program's name, one for each round. */
  readonly throughputs: Map<string, { readonly name: string; readonly perSecond: number[] }>;
}

/** What a report is written from. */
export interface Findings {
  readonly measured: Measured;
  /** Milliseconds at a fixed rate, by contender. */
  readonly latencies: ReadonlyMap<string, readonly number[]>;
  readonly profile: readonly string[];
  readonly machine: readonly string[];
  readonly rounds: number;
  readonly requests: number;
  readonly connections: number;
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Writes the page. */
export function report(findings: Findings): string {
  const { machine, rounds, requests, connections, profile } = findings;
  return `# Benchmarks

Written by \`npm run bench\`. ${rounds} rounds after one to warm up; in each, every contender gets the same ${requests} requests over ${connections}
connections, one contender after the other, so that what else the machine does falls on all of them. Proofs are fresh, one for each request. After
each batch, 20 of its requests are sent again, and 20 each with a proof for another path, with a wrong signature, by another key, malformed, and
missing: one that is let through ends the run. The upstream answers 1 KB. A contender of one process has the first core; load, upstream and
Redis have the others, two processes have all.

CPU is what the operating system accounts to all processes of a contender, user and system: median (least–most) of the rounds. On a shared
machine compare the ratios, which are taken within each round, and not microseconds of different runs.

${machine.join('\n')}

## Ratios

${ratioTable(findings.measured)}

## Cost of a request

${costTable(findings.measured)}

One ES256 verification by openssl: ${spread(findings.measured.verifyUs)} µs.

## Requests per second

Sent by wrk over as many connections, which leaves more of the cores to the gateway than sending from here does; each request once, and every
answer must be good. One process has the first core, wrk, upstream and Redis the others; two processes share all with them.

${throughputTable(findings.measured)}

## Latency

All at the same rate, half of what one process of the gateway reached.

${latencyTable(findings.latencies)}

## Where the time goes

The whole gateway under the sampling profiler: share of the busy time, functions by their own time.

\`\`\`
${profile.join('\n')}
\`\`\`
`;
}

/** Microseconds of a sample, its Redis included. */
const cost = ({ cpuUs, redisUs }: Sample): number => cpuUs + redisUs;

/** What was measured in a round beside the samples. */
interface Beside {
  readonly verifyUs: number;
  perSecond(program: string): number;
}

interface Target {
  readonly what: string;
  readonly must: string;
  readonly aim: string;
  /** For one round. */
  ratio(of: (key: string) => Sample, beside: Beside): number;
}

const TARGETS: readonly Target[] = [
  {
    what: 'full chain : Apache + mod_oauth2, Redis counted in both',
    must: '≤ 0.50',
    aim: '≤ 0.33',
    ratio: (of) => cost(of('gateway-1 get')) / cost(of('apache get')),
  },
  {
    what: 'full chain : Apache + mod_oauth2, without Redis',
    must: '≤ 0.50',
    aim: '≤ 0.33',
    ratio: (of) => of('gateway-1 get').cpuUs / of('apache get').cpuUs,
  },
  {
    what: 'full chain : bare http-proxy',
    must: '≤ 2.5',
    aim: '≤ 1.8',
    ratio: (of) => of('gateway-1 get').cpuUs / of('http-proxy get').cpuUs,
  },
  {
    what: 'full chain : floor (bare nginx + one ES256 verification by openssl)',
    must: '≤ 2.8',
    aim: '≤ 1.9',
    ratio: (of, { verifyUs }) => of('gateway-1 get').cpuUs / (of('nginx get').cpuUs + verifyUs),
  },
  {
    what: 'refusal without credentials : allowed request',
    must: '≤ 0.5',
    aim: '≤ 0.25',
    ratio: (of) => of('gateway-1 no_credentials').cpuUs / of('gateway-1 get').cpuUs,
  },
  {
    what: 'refusal of a malformed proof : allowed request',
    must: '≤ 0.5',
    aim: '≤ 0.25',
    ratio: (of) => of('gateway-1 malformed').cpuUs / of('gateway-1 get').cpuUs,
  },
  {
    what: 'certificate-bound token over TLS : DPoP over TLS',
    must: '≤ 0.65',
    aim: '≤ 0.5',
    ratio: (of) => of('gateway-tls-mtls get').cpuUs / of('gateway-tls-dpop get').cpuUs,
  },
  {
    what: 'requests per second, 2 processes : 1 process',
    must: '≥ 1.6',
    aim: '≥ 1.9',
    ratio: (_of, { perSecond }) => perSecond('gateway-2') / perSecond('gateway-1'),
  },
];

function ratioTable({ samples, verifyUs: all, throughputs }: Measured): string {
  const rows = TARGETS.map(({ what, must, aim, ratio }) => {
    const values = all.map((verifyUs, round) =>
      ratio((key) => samples.get(key)?.samples[round] as Sample, {
        verifyUs,
        perSecond: (program) => throughputs.get(program)?.perSecond[round] ?? Number.NaN,
      }),
    );
    return `| ${what} | ${spread(values, 2)} | ${must} | ${aim} |`;
  });
  return ['| | measured | must | aim |', '|---|---|---|---|', ...rows].join('\n');
}

const TITLES: Readonly<Record<string, string>> = {
  get: 'GET, 1 KB answer',
  post: 'POST, 4 KB',
  no_credentials: 'refused: no credentials',
  malformed: 'refused: malformed proof',
};

function costTable({ samples }: Measured): string {
  const rows = [...samples].map(([key, { name, samples: all }]) => {
    const kind = TITLES[key.slice(key.lastIndexOf(' ') + 1)];
    const of = (pick: (sample: Sample) => number) => spread(all.map(pick));
    const redis = all.some(({ redisUs }) => redisUs > 0) ? of(({ redisUs }) => redisUs) : '–';
    // At the end: by then the process that compiled the policy is gone.
    const memory = Math.round((all.at(-1)?.rssBytes ?? Number.NaN) / 1e6);
    return `| ${name} | ${kind} | ${of(({ cpuUs }) => cpuUs)} | ${redis} | ${of(({ perSecond }) => perSecond)} | ${memory} |`;
  });
  const head = [
    '| contender | traffic | µs CPU | µs CPU of Redis | requests/s | MB resident |',
    '|---|---|---|---|---|---|',
  ];
  return [...head, ...rows].join('\n');
}

function throughputTable({ throughputs }: Measured): string {
  const rows = [...throughputs.values()].map(({ name, perSecond }) => `| ${name} | ${spread(perSecond)} |`);
  return ['| contender | requests/s |', '|---|---|', ...rows].join('\n');
}

function latencyTable(latencies: Findings['latencies']): string {
  const rows = [...latencies].map(([name, values]) => {
    const at = (share: number) => quantile(values, share).toFixed(2);
    return `| ${name} | ${at(0.5)} | ${at(0.99)} | ${at(0.999)} |`;
  });
  return ['| contender | p50 ms | p99 ms | p99.9 ms |', '|---|---|---|---|', ...rows].join('\n');
}

function spread(values: readonly number[], digits = 0): string {
  const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)].map((value) =>
    value.toFixed(digits),
  );
  return `${middle} (${low}–${high})`;
}
