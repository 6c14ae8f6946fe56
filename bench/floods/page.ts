import type { LoadResult } from '../load.ts';
import { median } from '../report.ts';

/** Honest traffic without and beside one flood, in one round. */
export interface Sample {
  readonly name: string;
  /** Requests per second of the flood; null: as fast as it is answered. */
  readonly rate: number | null;
  readonly quiet: LoadResult;
  readonly flooded: LoadResult;
  readonly flood: { readonly perSecond: number; readonly overloaded: number };
  /** Part of a core that the gateway's process had, without and beside the flood. */
  readonly cpu: { readonly quiet: number; readonly flooded: number };
  /** What the issuer was asked, per second, meanwhile. */
  readonly introspections: number;
  readonly keySets: number;
}

/** Under which terms samples were taken. */
export interface Terms {
  readonly rounds: number;
  readonly rate: number;
  readonly connections: number;
  readonly honest: number;
  readonly seconds: number;
  readonly delayMs: number;
  readonly machine: readonly string[];
}

/** Writes the page. */
export function describeFloods(samples: readonly Sample[], terms: Terms): string {
  const { rounds, rate, connections, honest, seconds, delayMs, machine } = terms;
  return `# Honest traffic beside floods

Written by \`npm run bench:floods\`. One process of the gateway (DPoP, Redis, starter policy, record) on a core of its own; everything else has the
others. Honest callers send ${honest} requests a second, half with a JWT, half with one of 20 opaque tokens, which the issuer is asked about again
every second and answers after ${delayMs} ms. ${rounds} rounds: ${seconds} s without a flood, ${seconds} s beside it. Milliseconds are quantiles of the honest requests of
all rounds together; the ratio is that of the two p99, and in brackets what single rounds had (least–most). Every honest request was answered 200.
Where the load average is above the number of cores, others had the machine too, and p99 tells more of them than of the flood; the part of a core that
the gateway had does not.

${machine.join('\n')}

## At ${rate.toLocaleString('en')} requests a second

${table(samples.filter((sample) => sample.rate !== null))}

## As fast as it is answered, over ${connections} connections

${table(samples.filter((sample) => sample.rate === null))}
`;
}

function table(samples: readonly Sample[]): string {
  const names = [...new Set(samples.map(({ name }) => name))];
  return `| flood | p50 quiet | beside | p99 quiet | beside | ratio of p99 | core quiet | beside | refused /s | of them 503 | the issuer was asked /s | key sets /s |
|---|---|---|---|---|---|---|---|---|---|---|---|
${names.map((name) => row(name, samples)).join('\n')}`;
}

function row(name: string, all: readonly Sample[]): string {
  const samples = all.filter((sample) => sample.name === name);
  const of = (pick: (sample: Sample) => number) => median(samples.map(pick));
  const quiet = samples.flatMap((sample) => sample.quiet.latenciesMs);
  const flooded = samples.flatMap((sample) => sample.flooded.latenciesMs);
  const ratios = samples.map((sample) => ratioOfP99(sample.quiet.latenciesMs, sample.flooded.latenciesMs));
  const cells = [
    name,
    quantile(quiet, 0.5).toFixed(1),
    quantile(flooded, 0.5).toFixed(1),
    quantile(quiet, 0.99).toFixed(1),
    quantile(flooded, 0.99).toFixed(1),
    `${ratioOfP99(quiet, flooded).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`,
    of(({ cpu }) => cpu.quiet).toFixed(2),
    of(({ cpu }) => cpu.flooded).toFixed(2),
    of(({ flood }) => flood.perSecond).toFixed(0),
    of(({ flood }) => flood.overloaded).toFixed(0),
    of(({ introspections }) => introspections).toFixed(0),
    of(({ keySets }) => keySets).toFixed(1),
  ];
  return `| ${cells.join(' | ')} |`;
}

function ratioOfP99(quiet: readonly number[], flooded: readonly number[]): number {
  return quantile(flooded, 0.99) / quantile(quiet, 0.99);
}

function quantile(latenciesMs: readonly number[], share: number): number {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
