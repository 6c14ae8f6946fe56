import type { RegoEngine } from '../rego/engine_host.ts';
import { type EvaluatedRule, evalPolicy, type RegoEvaluation } from '../rego/eval.ts';
import { timeOf } from './compare_decisions.ts';
import type { Example } from './examples.ts';
import type { PolicyProject } from './project.ts';

/** Evaluates the decision rule in OPA's interpreter, with every rule that was tried and where it stopped. */
export async function traceDecision(
  { modules }: PolicyProject,
  { entrypoint, input, data }: Omit<Example, 'name'> & { readonly entrypoint: string },
  engine: RegoEngine,
): Promise<RegoEvaluation> {
  const query = `data.${entrypoint.replaceAll('/', '.')}`;
  const request = { modules, data, query, inputs: [input], explain: 'fails', nowMs: timeOf(input) } as const;
  const { results, diagnostics } = await evalPolicy(request, engine);
  const [evaluation] = results;
  if (evaluation !== undefined) return evaluation;
  return { result: [], ...(diagnostics === undefined ? {} : { diagnostics }) };
}

/** Names a rule as it stands in its file. */
export function ruleKey({ path, file, row, column }: EvaluatedRule): string {
  return `${path} ${file}:${row}:${column}`;
}
