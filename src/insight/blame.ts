import type { RegoEngine } from '../rego/engine_host.ts';
import type { EvaluatedRule } from '../rego/eval.ts';
import type { RegoPlace } from '../rego/policy_source.ts';
import type { Example } from './examples.ts';
import type { PolicyProject } from './project.ts';
import { ruleKey, traceDecision } from './trace_rules.ts';

/** A rule that holds in one of two evaluations only. */
export interface BlamedRule {
  readonly path: string;
  readonly file: string;
  readonly row: number;
  readonly column: number;
  /** `lost`: held for the denial, and does not any more. `gained`: holds only now. */
  readonly kind: 'lost' | 'gained';
  /** Of a lost rule: the expression at which it ends now. */
  readonly failedAt?: RegoPlace;
}

/** Finds the rules that hold for a denial and not for what became an allow, and the other way round, in the order of the source. */
export async function blame(
  project: PolicyProject,
  { entrypoint, denied, mutated }: { readonly entrypoint: string; readonly denied: Example; readonly mutated: Example },
  engine: RegoEngine,
): Promise<readonly BlamedRule[]> {
  const before = await traceDecision(project, { ...denied, entrypoint }, engine);
  const after = await traceDecision(project, { ...mutated, entrypoint }, engine);
  const then = new Map((before.rules ?? []).map((rule) => [ruleKey(rule), rule]));
  const now = new Map((after.rules ?? []).map((rule) => [ruleKey(rule), rule]));
  const held = (rule: EvaluatedRule | undefined) => rule !== undefined && rule.fired > 0;
  const own = (rule: EvaluatedRule) => rule.path !== `data.${entrypoint.replaceAll('/', '.')}`;
  const lost = [...then].filter(([key, rule]) => own(rule) && held(rule) && !held(now.get(key)));
  const gained = [...now].filter(([key, rule]) => own(rule) && held(rule) && !held(then.get(key)));
  return [
    ...lost.map(([key, rule]) => describe(rule, 'lost', now.get(key)?.failedAt)),
    ...gained.map(([, rule]) => describe(rule, 'gained')),
  ];
}

function describe(
  { path, file, row, column }: EvaluatedRule,
  kind: BlamedRule['kind'],
  failedAt?: RegoPlace,
): BlamedRule {
  return { path, file, row, column, kind, ...(failedAt === undefined ? {} : { failedAt }) };
}
