import { Command } from 'commander';
import { say, sayJson } from './policy_session.ts';
import { UsageError } from './usage_error.ts';

/** `sallyport policy new NAME`. */
export function policyNewCommand(): Command {
  return new Command('new')
    .description(
      'begin a policy of your own: a copy of the starter for a shape of cloud API, its tests, and its operation catalogues',
    )
    .argument('<name>', 'folder to make')
    .option('--cloud <shape>', 'rest, kubernetes or aws', 'rest')
    .option('--json', 'for machines')
    .action(async (name: string, { cloud, json }: { cloud: string; json?: true }) => {
      const { CLOUD_SHAPES, copyStarter } = await import('../insight/starter.ts');
      if (!Object.hasOwn(CLOUD_SHAPES, cloud)) {
        const known = Object.entries(CLOUD_SHAPES).map(([shape, { title }]) => `\n  ${shape.padEnd(12)}${title}`);
        throw new UsageError(`there is no starter for ${cloud}; there are:${known.join('')}`);
      }
      const catalogues = await copyStarter(name, cloud);
      if (json) {
        sayJson({ ok: true, folder: name, cloud, catalogues });
        return;
      }
      const files = catalogues.map((file) => `${name}/${file}`);
      say(`made ${name}
  ${name}/starter/data.json      which jobs may do what: begin here
  ${name}/starter/decision.rego  how a decision is made
  ${files.join(', ')}: what each request means

next: sallyport policy test ${name} --watch
then, in the configuration: policy: { path: ${name} }, and in a route: operations: ${files.join(', in another: ')}`);
    });
}
