import { Command, InvalidArgumentError } from 'commander';
import type { PolicyCoverage } from '../insight/coverage.ts';
import type { TestReport } from '../insight/policy_test.ts';
import type { PolicyProject } from '../insight/project.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import type { RegoTestResult } from '../rego/test.ts';
import { visible } from '../telemetry/single_line.ts';
import { count, findingLines, lineOf, placeText, sourceLines } from './policy_print.ts';
import { collect, say, sayJson, whileWatching, withEngine } from './policy_session.ts';

interface TestFlags {
  readonly json?: true;
  readonly watch?: true;
  readonly coverage?: true;
  readonly threshold?: number;
  readonly run?: string;
  readonly explain?: 'notes' | 'fails' | 'full';
  readonly timeout: number;
  readonly data: readonly string[];
}

/** Lines of a failing test's trace that are shown. */
const TRACE_LINES = 60;
const EXPLANATIONS = ['notes', 'fails', 'full'] as const;

/** `sallyport policy test [FOLDER]`. */
export function policyTestCommand(): Command {
  return new Command('test')
    .description("run each test in OPA's interpreter and in WASM; both must give the same")
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--run <pattern>', 'only tests whose full name matches this regular expression')
    .option('--coverage', 'tell which lines of the policy no test evaluates')
    .option('--threshold <percent>', 'with --coverage: exit 1 below this', percentOf)
    .option('--explain <what>', 'what is shown of failing tests: fails, notes or full', explanationOf, 'fails')
    .option('--timeout <seconds>', 'how long one test may take; it ends with an error then', secondsOf, 5)
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--watch', 'run again after each change, until Ctrl-C')
    .option('--json', 'for machines')
    .action((folder: string, flags: TestFlags) =>
      withEngine({ json: flags.json === true }, (engine) => {
        const work = () => test(folder, flags, engine);
        return flags.watch ? whileWatching([folder, ...flags.data], work) : work();
      }),
    );
}

async function test(folder: string, flags: TestFlags, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { allPassed, testProject } = await import('../insight/policy_test.ts');
  const project = await readProject(folder, flags.data);
  const { run, explain, threshold } = flags;
  const coverage = flags.coverage === true || threshold !== undefined;
  const options = {
    coverage,
    nowMs: Date.now(),
    timeoutMs: flags.timeout * 1000,
    ...(run === undefined ? {} : { filter: run }),
  };
  const report = await testProject(project, { ...options, ...(explain === undefined ? {} : { explain }) }, engine);
  const enough = threshold === undefined || (report.coverage?.percent ?? 0) >= threshold;
  const ok = allPassed(report) && enough && report.results.length > 0;
  if (flags.json) sayJson({ ok, ...report });
  else {
    print(project, report);
    if (!enough) say(`coverage is below ${threshold} %`);
  }
  return ok ? 0 : 1;
}

function print(project: PolicyProject, report: TestReport): void {
  for (const finding of report.diagnostics) say(findingLines(project, finding).join('\n'));
  for (const result of report.results) if (result.outcome !== 'pass') say(resultLines(project, result).join('\n'));
  for (const { name, interpreter, wasm } of report.differences) {
    say(`DIFFERS ${visible(name)}`);
    say(`      interpreter: ${visible(interpreter)}\n      WASM:        ${visible(wasm)}`);
  }
  for (const { name, expected, got } of report.broken) {
    say(`GOLDEN ${visible(name)}\n      expected: ${codes(expected)}\n      got:      ${visible(codes(got))}`);
  }
  for (const file of report.interpretedOnly) {
    say(`note: ${visible(file)} does not compile to WASM; the decisions that its tests ask for were compared instead`);
  }
  if (report.coverage !== undefined) printCoverage(project, report.coverage);
  if (report.results.length === 0 && report.diagnostics.length === 0) say('no test found');
  const of = (wanted: string) => report.results.filter(({ outcome }) => outcome === wanted).length;
  const failed = of('fail') + of('error');
  const skipped = of('skip') === 0 ? '' : `, ${of('skip')} skipped`;
  say(`${count(of('pass'), 'test')} passed, ${failed} failed${skipped}`);
  const { differences, decisions } = report;
  if (report.diagnostics.length > 0) return;
  if (report.results.some(({ timedOut }) => timedOut === true)) {
    say('nothing was compared with WASM: a test took too long');
    return;
  }
  const same =
    differences.length === 0 ? 'the same in the interpreter and in WASM' : `${differences.length} differ in WASM`;
  say(`${count(decisions, 'decision')} asked for: ${same}`);
}

function codes(list: readonly string[]): string {
  return list.length === 0 ? 'allowed' : `refused: ${list.join(', ')}`;
}

function resultLines(project: PolicyProject, result: RegoTestResult): string[] {
  const { outcome, path, failedAt, error, output = '', cases = [], trace = [] } = result;
  const lines = [`${outcome.toUpperCase()} ${visible(path)} (${placeText(project.folder, result)})`];
  for (const line of error?.split('\n') ?? []) lines.push(`      ${visible(line)}`);
  for (const { name, failed } of cases) if (failed) lines.push(`      case: ${visible(name)}`);
  if (failedAt !== undefined) {
    const source = lineOf(project, failedAt) ?? failedAt.text;
    lines.push(...sourceLines(source, { ...failedAt, length: (failedAt.text.split('\n')[0] ?? '').length }));
  }
  for (const line of output.split('\n')) if (line !== '') lines.push(`      printed: ${visible(line)}`);
  for (const line of trace.slice(0, TRACE_LINES)) lines.push(`      ${visible(line)}`);
  if (trace.length > TRACE_LINES) lines.push(`      ... ${trace.length - TRACE_LINES} lines more: --json has all`);
  return lines;
}

function printCoverage({ folder }: PolicyProject, coverage: PolicyCoverage): void {
  for (const { file, from, to } of coverage.notCovered) {
    say(`not covered: ${placeText(folder, { file, row: from })}${to > from ? `-${to}` : ''}`);
  }
  say(`coverage: ${coverage.percent.toFixed(1)} % (${coverage.coveredLines} of ${coverage.lines} lines)`);
}

function percentOf(text: string): number {
  const percent = /^\d{1,3}(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (percent <= 100) return percent;
  throw new InvalidArgumentError('expected a percentage, 0 to 100');
}

function secondsOf(text: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= 0.001 && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('expected seconds, 0.001 to 3600');
}

function explanationOf(text: string): (typeof EXPLANATIONS)[number] {
  const found = EXPLANATIONS.find((name) => name === text);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`expected one of: ${EXPLANATIONS.join(', ')}`);
}
