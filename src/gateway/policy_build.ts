import type { GatewayConfig } from '../config/schema.ts';
import { makeArtifact, type PolicyArtifact } from '../policy/artifact.ts';
import { readPolicyFolder } from '../policy/folder.ts';
import { buildPolicy } from '../rego/build.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';

/** Milliseconds that one compilation may take. */
const BUILD_TIMEOUT_MS = 60_000;

/**
 * Compiles the policy that the configuration names, with OPA's own compiler.
 * @throws Error that says which file and line stand in the way, and why
 */
export async function buildConfiguredPolicy(policy: GatewayConfig['policy']): Promise<PolicyArtifact> {
  const { modules, data } = await readPolicyFolder(policy.path, policy.data);
  const built = await buildPolicy({ modules, entrypoints: [policy.entrypoint] }, undefined, {
    timeoutMs: BUILD_TIMEOUT_MS,
  });
  if (!built.ok)
    throw new Error(`the policy in ${policy.path} does not compile:\n${built.diagnostics.map(describe).join('\n')}`);
  return makeArtifact({ wasm: built.wasm, data, entrypoint: policy.entrypoint });
}

function describe(diagnostic: RegoDiagnostic): string {
  const place = diagnostic.file === '' ? '' : `${diagnostic.file}:${diagnostic.row}:${diagnostic.column}: `;
  const source = diagnostic.text === undefined ? '' : `\n    ${diagnostic.text.trim()}`;
  return `  ${place}${diagnostic.message} (${diagnostic.code})${source}`;
}
