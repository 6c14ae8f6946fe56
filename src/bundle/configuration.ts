import { evalPolicy } from '../rego/eval.ts';
import type { RegoDiagnostic } from '../rego/policy_source.ts';
import { describeDiagnostic } from './assemble.ts';
import { type Bundle, BundleRefused } from './bundle.ts';

/** What a discovery bundle is asked. */
export interface ConfigurationQuestion {
  /** Path below data, segments with `.` or `/`; empty: all of data. */
  readonly decision: string;
  /** What Rego in it finds under `opa.runtime().config.labels`: what tells this gateway from others. */
  readonly labels: Readonly<Record<string, string>>;
  /** What `time.now_ns` says, in milliseconds since the Unix epoch. */
  readonly nowMs: number;
}

/** What one evaluation may take: a configuration is some kilobytes, made of tables. */
const BOUNDS = { milliseconds: 5000, bytes: 268_435_456 } as const;
/** Milliseconds for compiling and evaluating; then OPA's process is ended. */
const TIMEOUT_MS = 30_000;

/**
 * What a discovery bundle says, as OPA finds it: the value of the decision, be it data or made by rules, in OPA's own interpreter. Rules
 * have the functions of other policies here, and `opa.runtime`, which knows the labels and nothing else: no environment, no configuration.
 * @throws BundleRefused that says why there is no value
 */
export async function configurationOf(bundle: Bundle, question: ConfigurationQuestion): Promise<unknown> {
  const { modules, data, regoVersion } = bundle;
  const names = question.decision.split(/[./]/).filter(Boolean);
  const query = `data${names.map((name) => `[${JSON.stringify(name)}]`).join('')}`;
  const { results, diagnostics } = await evalPolicy(
    {
      modules,
      data,
      regoVersion,
      capabilities: 'discovery',
      query,
      nowMs: question.nowMs,
      runtime: { config: { labels: question.labels }, env: {} },
      bounds: BOUNDS,
    },
    undefined,
    { timeoutMs: TIMEOUT_MS },
  );
  if (diagnostics !== undefined) throw refused('its Rego does not compile', diagnostics);
  const [evaluation] = results;
  if (evaluation?.diagnostics !== undefined) throw refused('its Rego cannot be evaluated', evaluation.diagnostics);
  const found = evaluation?.result[0]?.expressions[0];
  const where = ['data', ...names].join('.');
  if (found === undefined)
    throw new BundleRefused('content', `${where} is undefined in it: expected the configuration`);
  return found.value;
}

function refused(what: string, diagnostics: readonly RegoDiagnostic[]): BundleRefused {
  return new BundleRefused('content', `${what}:\n${diagnostics.map(describeDiagnostic).join('\n')}`);
}
