import { Command } from 'commander';
import { say } from './policy_session.ts';

/** `sallyport policy new NAME`. */
export function policyNewCommand(): Command {
  return new Command('new')
    .description('begin a policy of your own: a copy of the starter, its tests, and an operation catalogue')
    .argument('<name>', 'folder to make')
    .option('--cloud <shape>', 'the catalogue to begin with, by its name in catalogs/', 'demo_cloud')
    .action(async (name: string, { cloud }: { cloud: string }) => {
      const { copyStarter } = await import('../insight/starter.ts');
      await copyStarter(name, cloud);
      say(`made ${name}
  ${name}/starter/data.json      which jobs may do what: begin here
  ${name}/starter/decision.rego  how a decision is made
  ${name}/catalog.yaml           what each request means

next: sallyport policy test ${name} --watch
then, in the configuration: policy: { path: ${name} }, and operations: ${name}/catalog.yaml in the route`);
    });
}
