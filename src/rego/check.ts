import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPolicy } from './policy_source.ts';

/** A policy to check; test modules may be among the modules. */
export interface RegoCheckRequest extends RegoPolicy {
  /** The JSON Schema of `input`: with it, a misspelt input field is found. */
  readonly inputSchema?: object;
  /** Leave out what only OPA's strict mode refuses: unused variables and imports, deprecated built-ins and so on. */
  readonly lenient?: boolean;
}

/** Finds all that is wrong with a policy without building it; an empty list means nothing is. */
export async function checkPolicy(
  request: RegoCheckRequest,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<readonly RegoDiagnostic[]> {
  const { inputSchema, lenient } = request;
  const call = { ...policyRequest(request, engine), inputSchema, lenient };
  const answer = await engine.call<{ diagnostics: readonly RegoDiagnostic[] | null }>('check', call, options);
  return answer.diagnostics ?? [];
}
