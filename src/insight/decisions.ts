import type { RegoEngine } from '../rego/engine_host.ts';
import type { Finding } from './check.ts';
import { byData, compileProject, interpretAll } from './compare_decisions.ts';
import { type Difference, differenceOf } from './difference.ts';
import { entrypointsOf } from './entrypoints.ts';
import { examplesOfTests } from './examples.ts';
import { codesOf, type GoldenCase, readGolden } from './golden.ts';
import type { PolicyProject } from './project.ts';

/** What the decisions of a folder gave. */
export interface DecisionReport {
  readonly decisions: number;
  readonly differences: readonly Difference[];
  /** Golden cases whose codes are not those that are written; sorted. */
  readonly broken: readonly {
    readonly name: string;
    readonly expected: readonly string[];
    readonly got: readonly string[];
  }[];
  readonly diagnostics: readonly Finding[];
}

/** Asks each entrypoint of a folder what its tests and golden cases ask it, in the interpreter and in WASM. */
export async function tryDecisions(
  project: PolicyProject,
  { filter }: { readonly filter?: string },
  engine: RegoEngine,
): Promise<DecisionReport> {
  const golden = filter === undefined ? await readGolden(project) : [];
  const report = { decisions: 0, differences: [] as Difference[], broken: [] as DecisionReport['broken'][number][] };
  for (const entrypoint of await entrypointsOf(project, engine)) {
    const compiled = await compileProject(project, entrypoint, engine);
    if ('findings' in compiled) return { ...report, diagnostics: compiled.findings };
    const query = { entrypoint, ...(filter === undefined ? {} : { filter }) };
    const rows = golden.filter((row) => row.entrypoint === entrypoint);
    for (const examples of byData([...rows, ...(await examplesOfTests(project, query, engine))])) {
      const interpreted = await interpretAll(project, entrypoint, { examples, engine });
      for (const [index, { name, input, data }] of examples.entries()) {
        const wasm = await compiled.policy.ask(input, data);
        const difference = differenceOf(name, interpreted[index] ?? {}, wasm);
        if (difference !== null) report.differences.push(difference);
      }
      report.decisions += examples.length;
    }
    for (const row of rows) {
      const got = codesOf((await compiled.policy.ask(row.input, row.data)).value);
      if (got.join() !== sorted(row).join()) report.broken.push({ name: row.name, expected: sorted(row), got });
    }
  }
  return { ...report, diagnostics: [] };
}

function sorted({ codes }: GoldenCase): readonly string[] {
  return [...codes].sort();
}
