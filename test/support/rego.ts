import { makeArtifact, type PolicyArtifact } from '../../src/policy/artifact.ts';
import { type ActivationOptions, activatePolicy, type LoadedPolicy } from '../../src/policy/load.ts';
import { buildPolicy } from '../../src/rego/build.ts';
import { RegoEngine } from '../../src/rego/engine_host.ts';

/** The engine of the tests of one file; to be closed when they are done. A busy machine takes its time for a folder of tests. */
export const regoEngine = new RegoEngine({ callTimeoutMs: 180_000 });

/** How a policy of a test is made. */
export interface TestPolicyOptions {
  readonly data?: Record<string, unknown>;
  /** Default `sallyport/decision`. */
  readonly entrypoint?: string;
  readonly capabilities?: 'gateway' | 'opa';
}

/** Compiles one Rego module; a mistake in it fails the test. */
export async function compileRego(text: string, options: TestPolicyOptions = {}): Promise<PolicyArtifact> {
  const { data = {}, entrypoint = 'sallyport/decision', capabilities = 'gateway' } = options;
  const modules = [{ path: 'test.rego', text }];
  const built = await buildPolicy({ modules, entrypoints: [entrypoint], capabilities }, regoEngine);
  if (!built.ok) throw new Error(JSON.stringify(built.diagnostics));
  return makeArtifact({ wasm: built.wasm, data, entrypoint });
}

/** Compiles one Rego module and makes it ready; `samples` is empty unless given. */
export async function loadRego(
  text: string,
  options: TestPolicyOptions & ActivationOptions = {},
): Promise<LoadedPolicy> {
  return activatePolicy(await compileRego(text, options), { samples: [], ...options });
}
