import type { PolicyReason } from '../kernel/denial.ts';
import { readAnswer } from '../policy/output.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import type { EvaluatedRule } from '../rego/eval.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';
import { type Finding, withHint } from './check.ts';
import { entrypointsOf } from './entrypoints.ts';
import type { PolicyProject } from './project.ts';
import { traceDecision } from './trace_rules.ts';

/** A decision, and how it came about. */
export interface ExplainedDecision {
  readonly allow: boolean;
  /** Of a refusal: the reason that the gateway would give, such as `policy.denied`. */
  readonly reason?: string;
  /** What the policy says about it. */
  readonly policyReasons: readonly PolicyReason[];
  /** The answer as the policy gives it; undefined where it gives none. */
  readonly answer?: unknown;
  /** Rules that were tried; `fired` says how often each held. */
  readonly rules: readonly EvaluatedRule[];
  readonly trace: readonly string[];
  /** Why the policy could not be evaluated. */
  readonly findings: readonly Finding[];
}

function isWithin(path: string, name: string): boolean {
  return path === name || path.startsWith(`${name}.`) || path.startsWith(`${name}[`);
}

/** Undefined is what a rule is that does not hold, and one that nobody wrote: only the second is a mistake of who asks. */
async function unknownRule(project: PolicyProject, name: string, engine: RegoEngine): Promise<RegoDiagnostic> {
  const entrypoints = await entrypointsOf(project, engine);
  const present = entrypoints.length === 0 ? 'name one with --entrypoint' : `there is ${entrypoints.join(', ')}`;
  const place = { file: '', row: 0, column: 0, length: 0 };
  return { ...place, code: 'no_entrypoint', message: `no rule defines ${name}: ${present}` };
}

/** Evaluates a decision and reads the answer as strictly as the gateway does. */
export async function explainDecision(
  project: PolicyProject,
  { entrypoint, input }: { readonly entrypoint: string; readonly input: unknown },
  engine: RegoEngine,
): Promise<ExplainedDecision> {
  const {
    result,
    rules = [],
    trace = [],
    diagnostics: found = [],
  } = await traceDecision(project, { entrypoint, input, data: project.data }, engine);
  const diagnostics = [...found];
  const name = `data.${entrypoint.replaceAll('/', '.')}`;
  const known = result.length > 0 || diagnostics.length > 0 || rules.some(({ path }) => isWithin(path, name));
  if (!known) diagnostics.push(await unknownRule(project, name, engine));
  const values = result.map(({ expressions }) => expressions[0]?.value);
  const explained = { answer: values[0], rules, trace, findings: diagnostics.map(withHint) };
  if (diagnostics.length > 0) return { allow: false, reason: 'policy.failed', policyReasons: [], ...explained };
  const read = readAnswer(values);
  if (read.ok) return { allow: true, policyReasons: read.value.reasons, ...explained };
  const { reason, policyReasons = [] } = read.denial;
  return { allow: false, reason, policyReasons, ...explained };
}
