import { readFile, writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { findingLines } from './policy_print.ts';
import { collect, say, sayJson, withEngine } from './policy_session.ts';

interface BundleFlags {
  readonly output: string;
  readonly entrypoint: string;
  readonly revision?: string;
  readonly root: readonly string[];
  readonly data: readonly string[];
  readonly sign?: string;
  readonly algorithm: string;
  readonly keyId?: string;
  readonly scope?: string;
  readonly json?: true;
}

const ALGORITHMS = 'ES256 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA HS256 HS384 HS512'.split(' ');

/** `sallyport policy bundle [FOLDER]`. */
export function policyBundleCommand(): Command {
  return new Command('bundle')
    .description(
      'compile a folder, try it as the gateway does, and write it as a bundle of OPA, signed where a key is given',
    )
    .argument('[folder]', 'folder of Rego', 'policies')
    .option('--output <file>', 'the bundle', 'bundle.tar.gz')
    .option('--entrypoint <path>', 'the rule that the gateway asks', 'sallyport/decision')
    .option('--revision <text>', 'number, time, version or any text; default: a digest of all that is in it')
    .option('--root <path>', 'part of data that belongs to the bundle; may be given several times', collect, [])
    .option('--data <file>', 'data merged over that of the folder; may be given several times', collect, [])
    .option('--sign <key file>', 'private key in PEM form, or the secret for HS256 and its like')
    .addOption(new Option('--algorithm <name>', 'of the signature').choices(ALGORITHMS).default('ES256'))
    .option('--key-id <id>', 'names the key in the signature (kid)')
    .option('--scope <text>', 'scope in the signature, for verifiers that ask for one')
    .option('--json', 'for machines')
    .action((folder: string, flags: BundleFlags) =>
      withEngine({ json: flags.json === true }, async (engine) => {
        const { readProject } = await import('../insight/project.ts');
        const { packagePolicy } = await import('../insight/package_policy.ts');
        const { output, entrypoint, revision, root: roots } = flags;
        const project = await readProject(folder, flags.data);
        const signing = await signingOf(flags);
        const request = {
          entrypoint,
          form: 'bundle',
          ...(revision === undefined ? {} : { revision }),
          ...(roots.length === 0 ? {} : { roots }),
          ...(signing === undefined ? {} : { signing }),
        } as const;
        const result = await packagePolicy(project, request, engine);
        if (!result.ok) {
          if (flags.json) sayJson({ ok: false, findings: result.findings });
          else for (const finding of result.findings) say(findingLines(project, finding).join('\n'));
          return 1;
        }
        await writeFile(output, result.bytes);
        const signed = signing !== undefined;
        if (flags.json)
          sayJson({ ok: true, file: output, bytes: result.bytes.length, revision: result.revision, signed });
        else
          say(
            `${output}: ${result.bytes.length} bytes, revision ${result.revision}, ${signed ? 'signed' : 'not signed'}`,
          );
        return 0;
      }),
    );
}

async function signingOf({ sign: file, algorithm, keyId, scope }: BundleFlags) {
  if (file === undefined) return undefined;
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${file}: cannot be read (${error.code ?? 'unknown error'})`);
  });
  const secret = algorithm.startsWith('HS');
  if (!secret && !text.includes('PRIVATE KEY-----')) throw new Error(`${file}: expected a private key in PEM form`);
  const key = secret ? text.replace(/\r?\n$/, '') : text;
  return { key, algorithm, ...(keyId === undefined ? {} : { keyId }), ...(scope === undefined ? {} : { scope }) };
}
