import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Finding } from '../insight/check.ts';
import type { Flip, MutateReport } from '../insight/mutate.ts';
import type { PolicyProject } from '../insight/project.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { visible } from '../telemetry/single_line.ts';
import { count, findingLines, lineOf, placeText, sourceLines } from './policy_print.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface MutateFlags {
  readonly entrypoint?: string;
  readonly run?: string;
  readonly explained?: string;
  readonly data: readonly string[];
  readonly json?: true;
}

/** Rules that are shown of one flip: first those of which the failing expression is known. */
const RULES_SHOWN = 4;

/** `sallyport policy mutate [FOLDER]`. */
export function policyMutateCommand(): Command {
  return new Command('mutate')
    .description('take away each field of each example in turn, and report every denial that becomes an allow by that')
    .argument('[folder]', 'folder of Rego', 'policies')
    .option(
      '--entrypoint <path>',
      'the rule that is asked; default: each that is annotated as an entrypoint or has golden cases',
    )
    .option('--run <pattern>', 'examples of the tests whose full name matches this regular expression only')
    .option('--explained <file>', 'flips that are meant, with why (default: explained_flips.yaml of the folder)')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--json', 'for machines')
    .action((folder: string, flags: MutateFlags) =>
      withEngine({ json: flags.json === true }, (engine) => mutate(folder, flags, engine)),
    );
}

async function mutate(folder: string, flags: MutateFlags, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const project = await readProject(folder, flags.data);
  try {
    return await mutateProject(project, flags, engine);
  } catch (error) {
    // What does not compile is told with its place, whatever it kept from being found.
    const { checkProject } = await import('../insight/check.ts');
    const findings = await checkProject(project, engine);
    if (findings.length === 0) throw error;
    return refuse(project, findings, flags);
  }
}

async function mutateProject(project: PolicyProject, flags: MutateFlags, engine: RegoEngine): Promise<number> {
  const { folder } = project;
  const { entrypointsOf } = await import('../insight/entrypoints.ts');
  const { mutatePolicy } = await import('../insight/mutate.ts');
  const explained = await explanations(folder, flags.explained);
  const entrypoints = flags.entrypoint === undefined ? await entrypointsOf(project, engine) : [flags.entrypoint];
  if (entrypoints.length === 0)
    throw new Error(`${folder} has no rule that is annotated "entrypoint: true": name one with --entrypoint`);
  const reports: (MutateReport & { entrypoint: string })[] = [];
  for (const entrypoint of entrypoints) {
    const examples = await examplesFor(project, { entrypoint, flags }, engine);
    const about = explained.filter((flip) => flip.entrypoint === undefined || flip.entrypoint === entrypoint);
    const report = await mutatePolicy(project, { entrypoint, examples, explained: about }, engine);
    if ('findings' in report) return refuse(project, report.findings, flags);
    reports.push({ entrypoint, ...report });
  }
  const tried = reports.every(({ allowed, denied }) => allowed + denied > 0);
  const ok = tried && reports.every(({ flips }) => flips.every(({ because }) => because !== undefined));
  if (flags.json) sayJson({ ok, reports });
  else {
    for (const report of reports) print(project, report);
    const unused = reports[0]?.unused.filter((flip) => reports.every((report) => report.unused.includes(flip))) ?? [];
    const stale = [
      ...unused,
      ...reports.flatMap((report) => report.unused.filter((flip) => flip.entrypoint !== undefined)),
    ];
    for (const { path, change } of new Set(stale))
      say(`note: nothing here needs the explanation of ${visible(path)} ${change}`);
  }
  return ok ? 0 : 1;
}

function refuse(project: PolicyProject, findings: readonly Finding[], { json }: MutateFlags): number {
  if (json) sayJson({ ok: false, findings });
  else for (const finding of findings) say(findingLines(project, finding).join('\n'));
  return 1;
}

async function explanations(folder: string, given: string | undefined) {
  const { readExplanations } = await import('../insight/explained.ts');
  const usual = join(folder, 'explained_flips.yaml');
  if (given !== undefined) return readExplanations(given);
  return existsSync(usual) ? readExplanations(usual) : [];
}

async function examplesFor(
  project: PolicyProject,
  { entrypoint, flags }: { readonly entrypoint: string; readonly flags: MutateFlags },
  engine: RegoEngine,
) {
  const { examplesOfTests } = await import('../insight/examples.ts');
  const { readGolden } = await import('../insight/golden.ts');
  const golden = flags.run === undefined ? await readGolden(project) : [];
  const filter = flags.run === undefined ? {} : { filter: flags.run };
  const asked = await examplesOfTests(project, { entrypoint, ...filter }, engine);
  return [...golden.filter((row) => row.entrypoint === entrypoint), ...asked];
}

function print(project: PolicyProject, report: MutateReport & { entrypoint: string }): void {
  const { entrypoint, allowed, denied, mutants, flips } = report;
  const open = flips.filter(({ because }) => because === undefined);
  for (const flip of open) say(flipLines(project, flip).join('\n'));
  say(`${entrypoint}: ${count(allowed, 'allowed example')}, ${denied} denied; ${count(mutants, 'evaluation')}`);
  if (allowed + denied === 0) say('no example: write a test that asks this rule, or a golden.json');
  else say(`${count(open.length, 'unexplained flip')}, ${flips.length - open.length} explained`);
}

function flipLines(project: PolicyProject, flip: Flip): string[] {
  const more = flip.count > 1 ? `, and ${flip.count - 1} more` : '';
  const lines = [`FLIP ${visible(flip.path)} ${flip.change}: a denial becomes an allow`];
  lines.push(`      example: ${visible(flip.example)}${more}`);
  const known = flip.rules.filter(({ failedAt }) => failedAt !== undefined);
  const others = flip.rules.filter(({ failedAt }) => failedAt === undefined);
  for (const rule of [...known, ...others].slice(0, RULES_SHOWN)) {
    const what = rule.kind === 'lost' ? 'does not hold any more' : 'holds only now';
    lines.push(`  ${placeText(project.folder, rule)}: ${visible(rule.path)} ${what}`);
    const place = rule.failedAt ?? rule;
    const source = lineOf(project, place);
    const length = (rule.failedAt?.text.split('\n')[0] ?? ' ').length;
    if (source !== undefined) lines.push(...sourceLines(source, { row: place.row, column: place.column, length }));
  }
  return lines;
}
