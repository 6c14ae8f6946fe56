import { Command } from 'commander';
import type { PolicyContents } from '../insight/inspect.ts';
import type { PolicyProject } from '../insight/project.ts';
import type { RegoEngine } from '../rego/engine_host.ts';
import { visible } from '../telemetry/single_line.ts';
import { count, findingLines, placeText } from './policy_print.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface InspectFlags {
  readonly data: readonly string[];
  readonly json?: true;
}

/** `sallyport policy inspect [FOLDER]`. */
export function policyInspectCommand(): Command {
  return new Command('inspect')
    .description(
      'list what is in a folder: packages, rules, entrypoints, titles, data, and the functions that it calls',
    )
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--json', 'for machines')
    .action((folder: string, flags: InspectFlags) =>
      withEngine({ json: flags.json === true }, (engine) => inspect(folder, flags, engine)),
    );
}

async function inspect(folder: string, flags: InspectFlags, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { inspectProject } = await import('../insight/inspect.ts');
  const project = await readProject(folder, flags.data);
  const contents = await inspectProject(project, engine);
  const ok = contents.findings.length === 0;
  if (flags.json) sayJson({ ok, ...contents });
  else print(project, contents);
  return ok ? 0 : 1;
}

function print(project: PolicyProject, contents: PolicyContents): void {
  for (const finding of contents.findings) say(findingLines(project, finding).join('\n'));
  for (const { name, title, files, rules } of contents.packages) {
    say(`package ${visible(name)}${title === undefined ? '' : `: ${visible(title)}`}`);
    for (const file of files) say(`  ${placeText(project.folder, { file, row: 0 })}`);
    for (const rule of rules) {
      const marks = [
        ...(rule.entrypoint ? ['entrypoint'] : []),
        ...(rule.function ? ['function'] : []),
        ...(rule.default ? ['has a default'] : []),
      ];
      const said = rule.title === undefined ? '' : `: ${visible(rule.title)}`;
      say(`    ${visible(rule.name)}${marks.length === 0 ? '' : ` (${marks.join(', ')})`}${said}`);
    }
  }
  say(`data: ${contents.data.length === 0 ? 'none' : contents.data.map((name) => visible(name)).join(', ')}`);
  say(
    `functions: ${contents.builtins.length === 0 ? 'none' : contents.builtins.map((name) => visible(name)).join(', ')}`,
  );
  say(`${count(project.modules.length, 'module')}, ${count(project.tests.length, 'test file')}`);
}
