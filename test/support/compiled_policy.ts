import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildConfiguredPolicy } from '../../src/gateway/policy_build.ts';
import type { PolicyArtifact } from '../../src/policy/artifact.ts';

/** Compiles one file of Rego, with `data.sallyport.decision` in it, as the gateway does. */
export async function compilePolicy(rego: string): Promise<PolicyArtifact> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-policy-'));
  try {
    writeFileSync(join(folder, 'decision.rego'), rego);
    return await buildConfiguredPolicy({ path: folder, entrypoint: 'sallyport/decision', data: [] });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
