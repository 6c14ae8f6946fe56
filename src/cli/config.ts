import { Command } from 'commander';

/** `sallyport config check FILE` and `sallyport config schema`. */
export function configCommand(): Command {
  return new Command('config')
    .description('look at a configuration without serving it')
    .addCommand(
      new Command('check')
        .description('read everything that a configuration names, compile the policy, and print what would be served')
        .argument('<file>', 'configuration file of the gateway')
        .option('--json', 'for machines')
        .action(async (file: string, options: { json?: true }) => {
          const { loadGatewayConfig } = await import('../config/load.ts');
          const { describeGateway, printDescription } = await import('../gateway/describe.ts');
          const description = await describeGateway(loadGatewayConfig(file));
          const text = options.json ? JSON.stringify(description, null, 2) : printDescription(description).join('\n');
          process.stdout.write(`${text}\n`);
        }),
    )
    .addCommand(
      new Command('schema')
        .description('print the JSON Schema of the configuration, for editors (# yaml-language-server: $schema=…)')
        .action(async () => {
          const { editorSchema } = await import('../config/schema.ts');
          process.stdout.write(`${JSON.stringify(editorSchema(), null, 2)}\n`);
        }),
    );
}
