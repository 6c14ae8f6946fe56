import { Command, Option } from 'commander';

/** `sallyport config check FILE` and `sallyport config schema`. */
export function configCommand(): Command {
  return new Command('config')
    .description('look at a configuration without serving it')
    .addCommand(
      new Command('check')
        .description(
          'read everything that a configuration of the gateway or the broker names, and print what would be served; the policy is compiled',
        )
        .argument('<file>', 'configuration file')
        .option('--json', 'for machines')
        .action(async (file: string, options: { json?: true }) => {
          const { kindOf } = await import('../config/kind.ts');
          const { value, lines } = kindOf(file) === 'broker' ? await describeBroker(file) : await describeGateway(file);
          process.stdout.write(`${options.json ? JSON.stringify(value, null, 2) : lines.join('\n')}\n`);
        }),
    )
    .addCommand(
      new Command('schema')
        .description('print the JSON Schema of a configuration, for editors (# yaml-language-server: $schema=…)')
        .addOption(
          new Option('--of <file>', 'which file').choices(['gateway', 'broker', 'workflows']).default('gateway'),
        )
        .action(async ({ of }: { of: 'gateway' | 'broker' | 'workflows' }) => {
          process.stdout.write(`${JSON.stringify(await SCHEMAS[of](), null, 2)}\n`);
        }),
    );
}

const SCHEMAS = {
  gateway: async () => (await import('../config/schema.ts')).editorSchema(),
  broker: async () => (await import('../config/broker_schema.ts')).brokerEditorSchema(),
  workflows: async () => (await import('../config/workflows_schema.ts')).workflowsEditorSchema(),
};

interface Description {
  readonly value: unknown;
  readonly lines: readonly string[];
}

async function describeGateway(file: string): Promise<Description> {
  const { loadGatewayConfig } = await import('../config/load.ts');
  const { describeGateway: describe, printDescription } = await import('../gateway/describe.ts');
  const value = await describe(loadGatewayConfig(file));
  return { value, lines: printDescription(value) };
}

async function describeBroker(file: string): Promise<Description> {
  const { loadBrokerConfig } = await import('../config/load_broker.ts');
  const { describeBroker: describe, printBrokerDescription } = await import('../broker/describe.ts');
  const value = await describe(loadBrokerConfig(file), file);
  return { value, lines: printBrokerDescription(value) };
}
