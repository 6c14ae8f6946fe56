import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { buildPolicy } from '../../src/rego/build.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';
import { type ConformanceCase, conformanceModules } from './conformance_case.ts';
import { type EvaluateRule, loadWasmPolicy } from './wasm_policy.ts';

/** Cases that OPA itself excepts for its WASM target, with its reasons. */
const EXCEPTED: Readonly<Record<string, string>> = {
  'data/toplevel integer': 'open-policy-agent/opa issue 3711',
  'data/nested integer': 'open-policy-agent/opa issue 3711',
  'jsonbuiltins/unmarshal number beyond the supported exponent is undefined': 'WASM has no limit of exponents',
  'jsonbuiltins/unmarshal number with too big an exponent is undefined': 'WASM has no limit of exponents',
};

const BATCH = 40;

const compressed = readFileSync(new URL('conformance_cases.json.br', import.meta.url));
const { cases } = JSON.parse(brotliDecompressSync(compressed).toString()) as { cases: readonly ConformanceCase[] };

const engine = new RegoEngine();
afterAll(() => engine.close());

/** The text of a value in which members stand in order: what is a set in Rego is a list in no order here. */
function unordered(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(unordered).sort().join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}:${unordered(member)}`);
  return `{${entries.sort().join()}}`;
}

/** What goes wrong with a case; undefined where nothing does. */
function failureOf(conformance: ConformanceCase, evaluate: EvaluateRule, entrypoint: string): string | undefined {
  let solutions: unknown;
  try {
    solutions = evaluate(entrypoint, conformance.input);
  } catch (error) {
    return conformance.fails ? undefined : `${conformance.note}: ${String(error)}`;
  }
  if (conformance.fails) return `${conformance.note}: no error`;
  const [have, want] = [unordered(solutions ?? []), unordered(conformance.want)];
  return have === want ? undefined : `${conformance.note}: ${have} instead of ${want}`;
}

/** Many cases in one build, each below a name of its own. What fails there is tried alone before it counts. */
async function failuresOf(batch: readonly ConformanceCase[]): Promise<readonly string[]> {
  const prefixes = batch.map((_, index) => `case${index}`);
  const modules = batch.flatMap((conformance, index) => conformanceModules(conformance, prefixes[index]));
  const entrypoints = prefixes.map((prefix) => `${prefix}/query/result`);
  const built = await buildPolicy({ modules, entrypoints }, engine);
  let suspects = batch;
  if (built.ok) {
    const data = Object.fromEntries(batch.map((conformance, index) => [prefixes[index], conformance.data ?? {}]));
    const evaluate = await loadWasmPolicy(built.wasm, { nowMs: Date.now() }, data);
    suspects = batch.filter((conformance, index) => failureOf(conformance, evaluate, `case${index}/query/result`));
  } else if (batch.length > 1) {
    const middle = batch.length >> 1;
    return [...(await failuresOf(batch.slice(0, middle))), ...(await failuresOf(batch.slice(middle)))];
  }
  const failures: string[] = [];
  for (const suspect of suspects) failures.push(...(await failuresAlone(suspect)));
  return failures;
}

/** A case as it is: some speak of `data` as a whole, or of their own package's name. */
async function failuresAlone(conformance: ConformanceCase): Promise<readonly string[]> {
  const modules = conformanceModules(conformance);
  const built = await buildPolicy({ modules, entrypoints: ['query/result'] }, engine);
  if (!built.ok) return [`${conformance.note}: ${JSON.stringify(built.diagnostics)}`];
  const evaluate = await loadWasmPolicy(built.wasm, { nowMs: Date.now() }, conformance.data);
  const failure = failureOf(conformance, evaluate, 'query/result');
  return failure === undefined ? [] : [failure];
}

describe("OPA's own conformance cases, compiled to WASM with the gateway's built-in functions", () => {
  it(`all ${cases.length} that use what the gateway has`, { timeout: 300_000 }, async () => {
    const tried = cases.filter(({ note }) => EXCEPTED[note] === undefined);
    const failures: string[] = [];
    for (let start = 0; start < tried.length; start += BATCH) {
      failures.push(...(await failuresOf(tried.slice(start, start + BATCH))));
    }
    expect(failures).toEqual([]);
    expect(tried.length).toBeGreaterThan(1600);
  });
});
