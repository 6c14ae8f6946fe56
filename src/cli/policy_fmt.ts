import { join } from 'node:path';
import { Command } from 'commander';
import { count, findingLines } from './policy_print.ts';
import { say, sayJson, withEngine } from './policy_session.ts';

interface FmtFlags {
  readonly json?: true;
  readonly check?: true;
  readonly write?: true;
}

/** `sallyport policy fmt [FOLDER] --check | --write`. */
export function policyFmtCommand(): Command {
  return new Command('fmt')
    .description('lay files out as opa fmt does')
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--check', 'change nothing; exit 1 when a file would change (the default)')
    .option('--write', 'write the files that change')
    .option('--json', 'for machines')
    .action((folder: string, flags: FmtFlags, command: Command) => {
      if (flags.check && flags.write) command.error('error: --check and --write exclude each other');
      return withEngine({ json: flags.json === true }, async (engine) => {
        const { readProject } = await import('../insight/project.ts');
        const { formatProject } = await import('../insight/format.ts');
        const project = await readProject(folder);
        const write = flags.write === true;
        const { changed, diagnostics } = await formatProject(project, write, engine);
        const ok = diagnostics.length === 0 && (write || changed.length === 0);
        const paths = changed.map(({ path }) => path);
        if (flags.json) sayJson({ ok, changed: paths, written: write, findings: diagnostics });
        else {
          for (const finding of diagnostics) say(findingLines(project, finding).join('\n'));
          for (const path of paths) say(join(folder, path));
          if (paths.length > 0)
            say(`${count(paths.length, 'file')} ${write ? 'written' : 'would change: --write does it'}`);
          else if (ok) say('nothing to change');
        }
        return ok ? 0 : 1;
      });
    });
}
