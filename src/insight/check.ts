import { checkPolicy } from '../rego/check.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';
import { hintFor } from './hint.ts';
import { inputSchemaOf, type PolicyProject } from './project.ts';

/** A finding with what to do about it, where that is known. */
export interface Finding extends RegoDiagnostic {
  readonly hint?: string;
}

/**
 * Finds all that is wrong with the modules and tests of a folder, in OPA's strict mode: against the input's schema, the data, and what the
 * gateway can evaluate. The schema holds for the policy only: a test may hand it anything.
 */
export async function checkProject(project: PolicyProject, engine: RegoEngine): Promise<readonly Finding[]> {
  const { modules, tests, data, folder } = project;
  const found = [...(await checkPolicy({ modules, data, inputSchema: inputSchemaOf(folder) }, engine))];
  if (tests.length > 0) {
    const own = new Set(tests.map(({ path }) => path));
    const all = await checkPolicy({ modules: [...modules, ...tests], data }, engine);
    // What is wrong with the policy itself was said above.
    found.push(...all.filter(({ file }) => own.has(file) || (file === '' && found.length === 0)));
  }
  return found.map(withHint);
}

/** Adds what to do about a finding. */
export function withHint(diagnostic: RegoDiagnostic): Finding {
  const hint = hintFor(diagnostic);
  return hint === null ? diagnostic : { ...diagnostic, hint };
}
