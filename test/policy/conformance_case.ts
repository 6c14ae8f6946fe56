import type { RegoModule } from '../../src/rego/policy_source.ts';

/** One of OPA's conformance cases. */
export interface ConformanceCase {
  readonly note: string;
  readonly query: string;
  readonly modules: readonly string[];
  readonly data: Record<string, unknown> | undefined;
  readonly input: unknown;
  /** Whether the evaluation ends with an error. */
  readonly fails: boolean;
  /** The bindings of the query's variables, one object for each solution. */
  readonly want: readonly Record<string, unknown>[];
}

/**
 * The modules of a case, with one more: `query/result` lists the solutions of the query. With `prefix`, everything the
 * case calls `data` lies below `data.<prefix>`, so that many cases fit into one build.
 */
export function conformanceModules(conformance: ConformanceCase, prefix?: string): readonly RegoModule[] {
  const { query, modules, want } = conformance;
  const variables = [...new Set(want.flatMap((bindings) => Object.keys(bindings)))];
  const bindings = variables.map((name) => `${JSON.stringify(name)}: ${name}`).join(', ');
  const text = `package query\n\nresult := [{${bindings}} | ${query}]\n`;
  return [...modules, text].map((source, index) => ({
    path: `${prefix ?? ''}/m${index}.rego`,
    text: prefix === undefined ? source : movedBelow(source, prefix),
  }));
}

function movedBelow(source: string, prefix: string): string {
  return source.replace(/^(\s*package\s+)/m, `$1${prefix}.`).replace(/\bdata\b(?=[.[])/g, `data.${prefix}`);
}
