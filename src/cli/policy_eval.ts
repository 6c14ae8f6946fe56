import { Command } from 'commander';
import type { ExplainedDecision } from '../insight/evaluate.ts';
import type { PolicyProject } from '../insight/project.ts';
import { sameValue } from '../policy/same_value.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import type { EvaluatedRule } from '../rego/eval.ts';
import { visible } from '../telemetry/single_line.ts';
import { findingLines, lineOf, placeText, sourceLines } from './policy_print.ts';
import {
  collectDetail,
  collectHeader,
  collectMember,
  jsonOf,
  type Question,
  type QuestionFlags,
  readQuestion,
  secondsOf,
} from './policy_question.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface EvalFlags extends QuestionFlags {
  readonly entrypoint: string;
  readonly data: readonly string[];
  readonly json?: true;
}

/** UTF-16 units of an answer that are shown. */
const ANSWER_LENGTH = 2000;

/** `sallyport policy eval [FOLDER]`: the decision, the reasons, and the rules that hold. */
export function policyEvalCommand(): Command {
  return questionCommand('eval', 'judge an input, a recorded decision or a described request', false);
}

/** `sallyport policy explain [FOLDER]`: the same, and for each rule that does not hold where it ends. */
export function policyExplainCommand(): Command {
  return questionCommand(
    'explain',
    'as eval, and say of each rule that does not hold at which expression it ends',
    true,
  );
}

function questionCommand(name: string, description: string, whole: boolean): Command {
  const command = new Command(name)
    .description(`${description}; exits 0 whether it is allowed or refused`)
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--input <file>', 'an input document, JSON')
    .option('--record <file>', 'a file of records, with --decision')
    .option('--decision <id>', 'the decision in the file of records');
  return withDescription(command)
    .option('--entrypoint <path>', 'the rule that is asked', 'sallyport/decision')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--json', 'for machines')
    .action((folder: string, flags: EvalFlags) =>
      withEngine({ json: flags.json === true }, (engine) => answer({ folder, flags, whole }, engine)),
    );
}

/** The options of a described request. */
function withDescription(command: Command): Command {
  return command
    .option('--method <method>', 'of a described request, with --path and --catalogue')
    .option('--path <path>', 'path and query, as they would be sent')
    .option('--catalogue <file>', 'operation catalogue of the route')
    .option('--scope <scope>', 'scope of the token; may be given several times', collect, [])
    .option('--detail <json>', 'item of authorization_details; may be given several times', collectDetail, [])
    .option('--claim <name=value>', 'further claim of the token; may be given several times', collectMember, {})
    .option('--header <name=value>', 'header field of the request; may be given several times', collectHeader, {})
    .option('--job <name=value>', 'member of the job, such as environment=production; several times', collectMember)
    .option('--body <json>', 'body, where the route shows it', jsonOf)
    .option('--origin <origin>', 'scheme and authority that callers use', 'https://cloud.example.com')
    .option('--resource <uri>', 'audience of the token; default: the origin')
    .option('--time <time>', 'when the request arrives; default: now', secondsOf);
}

interface EvalRequest {
  readonly folder: string;
  readonly flags: EvalFlags;
  readonly whole: boolean;
}

async function answer({ folder, flags, whole }: EvalRequest, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { explainDecision } = await import('../insight/evaluate.ts');
  const question = await readQuestion(flags);
  const project = await readProject(folder, flags.data);
  const { entrypoint } = flags;
  const { trace, ...decision } = await explainDecision(project, { entrypoint, input: question.input }, engine);
  const { recorded } = question;
  if (flags.json) {
    sayJson({ ...decision, input: question.input, ...(recorded && { recorded }), ...(whole && { trace }) });
  } else print(project, { decision, question, whole });
  return decision.findings.length === 0 ? 0 : 1;
}

interface Told {
  readonly decision: Omit<ExplainedDecision, 'trace'>;
  readonly question: Question;
  readonly whole: boolean;
}

function print(project: PolicyProject, { decision, question: { recorded }, whole }: Told): void {
  for (const finding of decision.findings) say(findingLines(project, finding).join('\n'));
  say(decision.allow ? 'allowed' : `refused: ${decision.reason}`);
  for (const { code, message = '' } of decision.policyReasons) say(`  ${visible(code)}  ${visible(message)}`.trimEnd());
  say(`answer: ${visible(JSON.stringify(decision.answer) ?? 'none', ANSWER_LENGTH)}`);
  if (recorded !== undefined) {
    const { revision = 'unknown', masked } = recorded;
    const same = sameValue(recorded.result, decision.answer);
    say(`recorded with revision ${visible(revision)}: ${same ? 'the same answer' : 'another answer:'}`);
    if (!same) say(`  ${visible(JSON.stringify(recorded.result) ?? 'none', ANSWER_LENGTH)}`);
    if (masked.length > 0) say(`note: masked in the record, so not as it was: ${visible(masked.join(', '))}`);
  }
  say('rules that hold:');
  for (const rule of decision.rules) if (rule.fired > 0) say(`  ${ruleText(project, rule)}`);
  if (!whole) return;
  say('rules that do not hold, and where each ends:');
  for (const rule of decision.rules) if (rule.fired === 0) say(failureLines(project, rule).join('\n'));
}

function ruleText({ folder }: PolicyProject, rule: EvaluatedRule): string {
  return `${placeText(folder, rule)}: ${visible(rule.path)}`;
}

function failureLines(project: PolicyProject, rule: EvaluatedRule): string[] {
  const lines = [`  ${ruleText(project, rule)}`];
  const { failedAt } = rule;
  if (failedAt === undefined) return lines;
  const source = lineOf(project, failedAt) ?? failedAt.text;
  const length = (failedAt.text.split('\n')[0] ?? ' ').length;
  return [...lines, ...sourceLines(source, { row: failedAt.row, column: failedAt.column, length })];
}
