import { Command } from 'commander';
import type { PolicyProject } from '../insight/project.ts';
import type { DocumentPath, RegoDependencies } from '../rego/dependencies.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { visible } from '../telemetry/single_line.ts';
import { findingLines } from './policy_print.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface DepsFlags {
  readonly entrypoint: string;
  readonly data: readonly string[];
  readonly json?: true;
}

/** `sallyport policy deps [FOLDER]`. */
export function policyDepsCommand(): Command {
  return new Command('deps')
    .description('tell which paths of the input and of the data a decision reads, and which rules it can reach')
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--entrypoint <path>', 'the rule that is asked', 'sallyport/decision')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--json', 'for machines')
    .action((folder: string, flags: DepsFlags) =>
      withEngine({ json: flags.json === true }, (engine) => deps(folder, flags, engine)),
    );
}

async function deps(folder: string, flags: DepsFlags, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { policyDependencies } = await import('../rego/dependencies.ts');
  const project = await readProject(folder, flags.data);
  const { modules, data } = project;
  const query = `data.${flags.entrypoint.replaceAll('/', '.')}`;
  const found = await policyDependencies({ modules, data }, query, engine);
  const known = found.rules.some((rule) => rule === query || rule.startsWith(`${query}.`));
  if (!known && found.diagnostics === undefined) throw new Error(`${folder} has no rule ${query}`);
  const { diagnostics = [] } = found;
  if (flags.json) sayJson({ ok: diagnostics.length === 0, entrypoint: flags.entrypoint, ...found });
  else print(project, found);
  return diagnostics.length === 0 ? 0 : 1;
}

function print(project: PolicyProject, { input, data, rules, diagnostics }: RegoDependencies): void {
  if (diagnostics !== undefined) {
    for (const finding of diagnostics) say(findingLines(project, finding).join('\n'));
    return;
  }
  say('reads of the input:');
  for (const path of pathTexts('input', input)) say(`  ${path}`);
  say('reads of the data:');
  for (const path of pathTexts('data', data)) say(`  ${path}`);
  say('by the rules:');
  for (const rule of rules) say(`  ${visible(rule)}`);
  say(
    'A path stands for all that is below it: it ends where the policy looks further with something only a request tells.',
  );
}

/** Paths as Rego writes them, such as `input.token.claims["x-y"]`, in alphabetical order. */
function pathTexts(root: string, paths: readonly DocumentPath[]): readonly string[] {
  const texts = paths.map((path) => {
    const parts = path.map((key) =>
      typeof key === 'string' && /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`,
    );
    return visible(root + parts.join(''));
  });
  return texts.sort();
}
