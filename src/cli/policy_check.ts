import { Command } from 'commander';
import type { RegoEngine } from '../rego/engine_host.ts';
import { count, findingLines } from './policy_print.ts';
import { collect, say, sayJson, whileWatching, withEngine } from './policy_session.ts';

interface CheckFlags {
  readonly json?: true;
  readonly watch?: true;
  readonly data: readonly string[];
}

/** `sallyport policy check [FOLDER]`. */
export function policyCheckCommand(): Command {
  return new Command('check')
    .description(
      'find mistakes without running anything: strict mode, fields of the input, functions the gateway lacks',
    )
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--watch', 'check again after each change, until Ctrl-C')
    .option('--json', 'for machines')
    .action((folder: string, flags: CheckFlags) =>
      withEngine({ json: flags.json === true }, (engine) => {
        const work = () => check(folder, flags, engine);
        return flags.watch ? whileWatching([folder, ...flags.data], work) : work();
      }),
    );
}

async function check(folder: string, flags: CheckFlags, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { checkProject } = await import('../insight/check.ts');
  const project = await readProject(folder, flags.data);
  const findings = await checkProject(project, engine);
  if (flags.json) sayJson({ ok: findings.length === 0, findings });
  else if (findings.length > 0) {
    for (const finding of findings) say(findingLines(project, finding).join('\n'));
    say(count(findings.length, 'problem'));
  } else say(`${count(project.modules.length, 'module')} and ${count(project.tests.length, 'test file')}: no problem`);
  return findings.length === 0 ? 0 : 1;
}
