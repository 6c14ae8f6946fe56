import type { RegoEngine } from '../rego/engine_host.ts';
import { evalPolicy } from '../rego/eval.ts';
import { type RegoTestResult, testPolicy } from '../rego/test.ts';
import { type Finding, withHint } from './check.ts';
import type { RuleOutcome } from './compare_decisions.ts';
import { compileTests } from './compiled_tests.ts';
import { type PolicyCoverage, summarizeCoverage } from './coverage.ts';
import { type DecisionReport, tryDecisions } from './decisions.ts';
import { type Difference, differenceOf } from './difference.ts';
import type { PolicyProject } from './project.ts';

/** How tests are run. */
export interface TestOptions {
  /** A regular expression on the full name, such as `data.sallyport_test.test_denies`. */
  readonly filter?: string;
  readonly coverage?: boolean;
  /** Which part of a failing test's trace is wanted. */
  readonly explain?: 'notes' | 'fails' | 'full';
  /** How long one test may take, in milliseconds. */
  readonly timeoutMs?: number;
  /** Milliseconds since the Unix epoch, for `time.now_ns`. */
  readonly nowMs: number;
}

/** What the tests of a folder gave. */
export interface TestReport {
  readonly results: readonly RegoTestResult[];
  /** Files whose tests ran in the interpreter only; the decisions that they ask for were compared all the same. */
  readonly interpretedOnly: readonly string[];
  /** Rules and decisions that are another value in WASM than in OPA's interpreter. */
  readonly differences: readonly Difference[];
  /** Decisions asked for by tests and golden cases, evaluated in both. */
  readonly decisions: number;
  /** Golden cases that are decided in another way. */
  readonly broken: DecisionReport['broken'];
  readonly coverage?: PolicyCoverage;
  /** Why no test ran, or why none ran in WASM. */
  readonly diagnostics: readonly Finding[];
}

/** Whether everything passed, and nothing differed. */
export function allPassed({ results, differences, diagnostics, broken }: TestReport): boolean {
  const failed = results.some(({ outcome }) => outcome === 'fail' || outcome === 'error');
  return !failed && differences.length === 0 && diagnostics.length === 0 && broken.length === 0;
}

/**
 * Runs each test in OPA's interpreter and, compiled, in WASM; and each decision that a test or a golden case asks for, with the policy
 * compiled as the gateway has it. What is evaluated there must mean what the author tried here.
 */
export async function testProject(
  project: PolicyProject,
  options: TestOptions,
  engine: RegoEngine,
): Promise<TestReport> {
  const { nowMs, ...rest } = options;
  const { modules, tests, data } = project;
  const run = await testPolicy({ modules: [...modules, ...tests], data, ...rest }, engine);
  const coverage = run.coverage === undefined ? {} : { coverage: summarizeCoverage(run.coverage) };
  const nothing = { interpretedOnly: [], differences: [], decisions: 0, broken: [] };
  const report = { results: run.results, ...nothing, ...coverage };
  if (run.diagnostics !== undefined) return { ...report, diagnostics: run.diagnostics.map(withHint) };
  // Compiled, it may never end either, and nothing could end it.
  if (run.results.some(({ timedOut }) => timedOut === true)) return { ...report, diagnostics: [] };
  const compared = await compareRules(project, run.results, { engine, nowMs });
  if ('diagnostics' in compared) return { ...report, diagnostics: compared.diagnostics };
  const decided = await tryDecisions(project, options.filter === undefined ? {} : { filter: options.filter }, engine);
  const differences = [...compared.differences, ...decided.differences];
  const { decisions, broken, diagnostics } = decided;
  return { ...report, interpretedOnly: compared.leftOut, differences, decisions, broken, diagnostics };
}

interface Surroundings {
  readonly engine: RegoEngine;
  readonly nowMs: number;
}

async function compareRules(project: PolicyProject, results: readonly RegoTestResult[], around: Surroundings) {
  const rules = rulesOf(results);
  const compiled = await compileTests(project, rules, around.engine);
  if ('diagnostics' in compiled) return { diagnostics: compiled.diagnostics.map(withHint) };
  const compared = rules.filter(({ file }) => !compiled.leftOut.includes(file));
  const values = await interpret(
    project,
    compared.map(({ path }) => path),
    around,
  );
  const differences: Difference[] = [];
  for (const { path } of compared) {
    const interpreter = values.get(path) ?? {};
    const wasm = await compiled.evaluate(path, around.nowMs);
    const difference = differenceOf(path, interpreter, wasm);
    if (difference !== null) differences.push(difference);
  }
  return { differences, leftOut: compiled.leftOut };
}

/** Rules by full name. Several tests may share one; they are one rule then. */
function rulesOf(results: readonly RegoTestResult[]): readonly { readonly path: string; readonly file: string }[] {
  const rules = new Map<string, { path: string; file: string }>();
  for (const { path: name, file, outcome } of results) {
    const path = name.replace(/#\d+$/, '');
    if (outcome !== 'skip' && !rules.has(path)) rules.set(path, { path, file });
  }
  return [...rules.values()];
}

/** The values of rules in OPA's interpreter: all in one query, and in halves only where that fails. */
async function interpret(
  project: PolicyProject,
  rules: readonly string[],
  around: Surroundings,
): Promise<Map<string, RuleOutcome>> {
  if (rules.length === 0) return new Map();
  const { modules, tests, data } = project;
  const query = `{${rules.map((rule) => `${JSON.stringify(rule)}: [v | v := ${rule}]`).join(', ')}}`;
  const policy = { modules: [...modules, ...tests], data, query, nowMs: around.nowMs };
  const answer = await evalPolicy(policy, around.engine);
  const [evaluation] = answer.results;
  const failure = answer.diagnostics?.[0] ?? evaluation?.diagnostics?.[0];
  if (failure === undefined) {
    const values = evaluation?.result[0]?.expressions[0]?.value as Record<string, readonly unknown[]>;
    return new Map(Object.entries(values).map(([rule, [value]]) => [rule, value === undefined ? {} : { value }]));
  }
  if (rules.length === 1) return new Map([[rules[0] as string, { error: failure.message }]]);
  const half = Math.ceil(rules.length / 2);
  const first = await interpret(project, rules.slice(0, half), around);
  return new Map([...first, ...(await interpret(project, rules.slice(half), around))]);
}
