import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { findingLines } from './policy_print.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface BuildFlags {
  readonly output: string;
  readonly entrypoint: string;
  readonly revision?: string;
  readonly data: readonly string[];
  readonly json?: true;
}

/** `sallyport policy build [FOLDER]`. */
export function policyBuildCommand(): Command {
  return new Command('build')
    .description('compile a folder, try it as the gateway does, and write it as a bundle of OPA or as a WASM module')
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--output <file>', 'a name that ends in .wasm: the module alone, without data', 'bundle.tar.gz')
    .option('--entrypoint <path>', 'the rule that the gateway asks', 'sallyport/decision')
    .option('--revision <text>', 'revision of the bundle; default: a digest of all that is in it')
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--json', 'for machines')
    .action((folder: string, flags: BuildFlags) =>
      withEngine({ json: flags.json === true }, async (engine) => {
        const { readProject } = await import('../insight/project.ts');
        const { packagePolicy } = await import('../insight/package_policy.ts');
        const { output, entrypoint, revision } = flags;
        const project = await readProject(folder, flags.data);
        const form = output.endsWith('.wasm') ? 'wasm' : 'bundle';
        const request = { entrypoint, form, ...(revision === undefined ? {} : { revision }) } as const;
        const result = await packagePolicy(project, request, engine);
        if (!result.ok) {
          if (flags.json) sayJson({ ok: false, findings: result.findings });
          else for (const finding of result.findings) say(findingLines(project, finding).join('\n'));
          return 1;
        }
        await writeFile(output, result.bytes);
        const bytes = result.bytes.length;
        if (flags.json) sayJson({ ok: true, file: output, bytes, revision: result.revision });
        else say(`${output}: ${bytes} bytes, revision ${result.revision}`);
        return 0;
      }),
    );
}
