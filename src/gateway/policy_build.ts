import { describeDiagnostic, logRulesOf } from '../bundle/assemble.ts';
import { makeArtifact, type PolicyArtifact } from '../policy/artifact.ts';
import { readPolicyFolder } from '../policy/folder.ts';
import { buildPolicy } from '../rego/build.ts';

/** Milliseconds that one compilation may take. */
const BUILD_TIMEOUT_MS = 60_000;

/** A policy in a folder, as the configuration names it. */
export interface PolicyFolder {
  readonly path: string;
  readonly data: readonly string[];
  /** The rule that is asked, as a path below data. */
  readonly entrypoint: string;
}

/**
 * Compiles a policy in a folder, with OPA's own compiler.
 * @throws Error that says which file and line stand in the way, and why
 */
export async function buildConfiguredPolicy(policy: PolicyFolder): Promise<PolicyArtifact> {
  const { modules, data } = await readPolicyFolder(policy.path, policy.data);
  const entrypoints = [policy.entrypoint, ...logRulesOf(modules)];
  const built = await buildPolicy({ modules, entrypoints }, undefined, { timeoutMs: BUILD_TIMEOUT_MS });
  if (!built.ok) {
    const findings = built.diagnostics.map(describeDiagnostic).join('\n');
    throw new Error(`the policy in ${policy.path} does not compile:\n${findings}`);
  }
  return makeArtifact({ wasm: built.wasm, data, entrypoint: policy.entrypoint });
}
