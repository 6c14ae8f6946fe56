import { makeArtifact } from '../policy/artifact.ts';
import { PolicyEngine } from '../policy/engine.ts';
import { buildPolicy } from '../rego/build.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';
import type { RuleOutcome } from './compare_decisions.ts';
import type { PolicyProject } from './project.ts';

/** Tests in compiled form. */
export interface CompiledTests {
  /** Files of tests that are not among them: OPA's build refuses them, though its interpreter takes them. */
  readonly leftOut: readonly string[];
  /** The value of a test's rule, such as `data.p_test.test_a`. */
  evaluate(rule: string, nowMs: number): Promise<RuleOutcome>;
}

/** Compiles tests to WASM, each rule to be evaluated by itself; or says what is wrong with the policy itself. */
export async function compileTests(
  { modules, tests, data }: PolicyProject,
  rules: readonly { readonly path: string; readonly file: string }[],
  engine: RegoEngine,
): Promise<CompiledTests | { readonly diagnostics: readonly RegoDiagnostic[] }> {
  const leftOut = new Set<string>();
  for (;;) {
    const kept = rules.filter(({ file }) => !leftOut.has(file));
    if (kept.length === 0) return { leftOut: [...leftOut], evaluate: async () => ({}) };
    const all = [...modules, ...tests.filter(({ path }) => !leftOut.has(path))];
    const entrypoints = kept.map(({ path }) => entrypointOf(path));
    const built = await buildPolicy({ modules: all, data, entrypoints }, engine);
    if (built.ok) return { leftOut: [...leftOut], evaluate: evaluator(built.wasm, data) };
    // Each turn leaves out one file at least, so this ends.
    const files = built.diagnostics.map(({ file }) => file).filter((file) => tests.some(({ path }) => path === file));
    if (files.length === 0) return { diagnostics: built.diagnostics };
    for (const file of files) leftOut.add(file);
  }
}

function evaluator(wasm: Uint8Array<ArrayBuffer>, data: PolicyProject['data']): CompiledTests['evaluate'] {
  return async (rule, nowMs) => {
    try {
      const engine = await PolicyEngine.load(makeArtifact({ wasm, data, entrypoint: entrypointOf(rule) }));
      const [value] = engine.evaluate('null', nowMs);
      return value === undefined ? {} : { value };
    } catch (error) {
      return { error: (error as Error).message };
    }
  };
}

/** `data.a.b` as entrypoints are written: `a/b`. */
function entrypointOf(rule: string): string {
  return rule.replace(/^data\./, '').replaceAll('.', '/');
}
