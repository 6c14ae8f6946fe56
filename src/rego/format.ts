import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import type { RegoDiagnostic, RegoModule } from './policy_source.ts';

/** A module laid out as OPA does it. */
export interface FormattedModule extends RegoModule {
  /** Whether `text` differs from what was given. */
  readonly changed: boolean;
  /** Why the module could not be parsed; `text` is then what was given. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

/** Lays modules out as `opa fmt` does, in the order given. */
export function formatModules(
  modules: readonly RegoModule[],
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<readonly FormattedModule[]> {
  return engine.call('format', { modules: modules.map(({ path, text }) => ({ path, text })) }, options);
}
