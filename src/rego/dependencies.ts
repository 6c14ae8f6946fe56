import { type RegoCallOptions, type RegoEngine, sharedRegoEngine } from './engine_host.ts';
import { policyRequest, type RegoDiagnostic, type RegoPolicy } from './policy_source.ts';

/** A path into a document: its keys from the root. It stands for everything below it too. */
export type DocumentPath = readonly (string | number | boolean | null)[];

/** What a query reads. */
export interface RegoDependencies {
  /** Paths of `input`; the empty path is the whole document. */
  readonly input: readonly DocumentPath[];
  /** Paths of the base document. */
  readonly data: readonly DocumentPath[];
  /** Full names of the rules that the query can reach, sorted. */
  readonly rules: readonly string[];
  /** Why nothing could be said; the lists are then empty. */
  readonly diagnostics?: readonly RegoDiagnostic[];
}

type Answer = { readonly [K in keyof RegoDependencies]?: RegoDependencies[K] | null };

/**
 * Tells what `query`, such as `data.sallyport.decision`, can read. A path ends where the policy goes on with something
 * only known at evaluation, or hands the value to a function: `object.get(input.token, "x", 0)` reads `input.token`.
 */
export async function policyDependencies(
  policy: RegoPolicy,
  query: string,
  engine: RegoEngine = sharedRegoEngine(),
  options?: RegoCallOptions,
): Promise<RegoDependencies> {
  const answer = await engine.call<Answer>('deps', { ...policyRequest(policy, engine), query }, options);
  const { input, data, rules, diagnostics } = answer;
  return { input: input ?? [], data: data ?? [], rules: rules ?? [], ...(diagnostics ? { diagnostics } : {}) };
}
