import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import type { RegoDiagnostic, RegoModule } from './policy_source.ts';

/** What a policy does that its author will hardly have meant; `code` is the name of the lint rule. */
export interface RegoLintFinding extends RegoDiagnostic {
  /** `error`: a trap that opens a hole. `warning`: most likely a mistake. */
  readonly severity: 'error' | 'warning';
  readonly hint: string;
}

/** What was found, and what stood in the way of looking: modules that cannot be read. */
export interface RegoLintRun {
  readonly findings: readonly RegoLintFinding[];
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/**
 * Looks for the traps of authorization policies and for likely mistakes, in each module by itself; what strict mode refuses is not
 * repeated (docs/decisions/0048-lint.md). `# lint:ignore RULE: why` on a line, or above it, explains what is meant.
 */
export function lintPolicy(
  modules: readonly RegoModule[],
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoLintRun> {
  return engine.call('lint', { modules: modules.map(({ path, text }) => ({ path, text })) }, options);
}
