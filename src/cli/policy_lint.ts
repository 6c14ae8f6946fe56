import { Command } from 'commander';
import type { RegoEngine } from '../rego/engine_host.ts';
import { count, findingLines } from './policy_print.ts';
import { say, sayJson, withEngine } from './policy_session.ts';

/** `sallyport policy lint [FOLDER]`. */
export function policyLintCommand(): Command {
  return new Command('lint')
    .description('find the traps that open a hole silently, and likely mistakes')
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--json', 'for machines')
    .action((folder: string, flags: { readonly json?: true }) =>
      withEngine({ json: flags.json === true }, (engine) => lint(folder, flags.json === true, engine)),
    );
}

async function lint(folder: string, json: boolean, engine: RegoEngine): Promise<number> {
  const { readProject } = await import('../insight/project.ts');
  const { lintPolicy } = await import('../rego/lint.ts');
  const project = await readProject(folder);
  const { withHint } = await import('../insight/check.ts');
  const linted = await lintPolicy([...project.modules, ...project.tests], engine);
  const { findings } = linted;
  const diagnostics = (linted.diagnostics ?? []).map(withHint);
  const ok = findings.length === 0 && diagnostics.length === 0;
  if (json) sayJson({ ok, findings: [...diagnostics, ...findings] });
  else {
    for (const diagnostic of diagnostics) say(findingLines(project, diagnostic).join('\n'));
    for (const finding of findings) {
      const message = `${finding.severity}: ${finding.message}`;
      say(findingLines(project, { ...finding, message }).join('\n'));
    }
    const files = project.modules.length + project.tests.length;
    say(ok ? `${count(files, 'file')}: nothing found` : count(findings.length + diagnostics.length, 'finding'));
  }
  return ok ? 0 : 1;
}
