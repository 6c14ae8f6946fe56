import { Command, Option } from 'commander';
import type { AuthServerConfig } from '../config/authserver_schema.ts';
import type { ConfigKind, FileKind } from '../config/kind.ts';

const KINDS = ['gateway', 'authserver', 'broker', 'agent'] as const satisfies readonly ConfigKind[];

/** `sallyport config check FILE` and `sallyport config schema`. */
export function configCommand(): Command {
  return new Command('config')
    .description('look at a configuration without serving it')
    .addCommand(
      new Command('check')
        .description(
          'read everything that the configuration of a gateway, authorization server, broker or agent names, and print what would be served; policies are compiled, nothing is written',
        )
        .argument('<file>', 'configuration file')
        .addOption(new Option('--of <program>', 'whose it is; absent: its keys tell').choices(KINDS))
        .option('--json', 'for machines')
        .action(async (file: string, { of, json }: { of?: ConfigKind; json?: true }) => {
          const kind = of ?? (await import('../config/kind.ts')).kindOf(file);
          const { value, lines } = await DESCRIBE[kind](file);
          process.stdout.write(`${json ? JSON.stringify(value, null, 2) : lines.join('\n')}\n`);
        }),
    )
    .addCommand(
      new Command('schema')
        .description('print the JSON Schema of a configuration, for editors (# yaml-language-server: $schema=…)')
        .addOption(new Option('--of <file>', 'which file').choices([...KINDS, 'workflows']).default('gateway'))
        .action(async ({ of }: { of: FileKind }) => {
          const { EDITOR_SCHEMAS } = await import('../config/kind.ts');
          process.stdout.write(`${JSON.stringify(EDITOR_SCHEMAS[of](), null, 2)}\n`);
        }),
    );
}

interface Description {
  readonly value: unknown;
  readonly lines: readonly string[];
}

const DESCRIBE: Readonly<Record<ConfigKind, (file: string) => Promise<Description>>> = {
  gateway: async (file) => {
    const { loadGatewayConfig } = await import('../config/load.ts');
    const { describeGateway, printDescription } = await import('../gateway/describe.ts');
    const value = await describeGateway(loadGatewayConfig(file), file);
    return { value, lines: printDescription(value) };
  },
  authserver: async (file) => {
    const { loadAuthServerConfig } = await import('../config/load_authserver.ts');
    const { describeAuthServer } = await import('../authserver/describe.ts');
    const { printAuthServerDescription } = await import('../authserver/describe_print.ts');
    const config = loadAuthServerConfig(file);
    const value = await describeAuthServer({ config, file, compilePolicy: () => compileIssuance(config) });
    return { value, lines: printAuthServerDescription(value) };
  },
  broker: async (file) => {
    const { loadBrokerConfig } = await import('../config/load_broker.ts');
    const { describeBroker, printBrokerDescription } = await import('../broker/describe.ts');
    const value = await describeBroker(loadBrokerConfig(file), file);
    return { value, lines: printBrokerDescription(value) };
  },
  agent: async (file) => {
    const { loadAgentConfig } = await import('../config/load_agent.ts');
    const { describeAgent } = await import('../agent/describe.ts');
    const { printAgentDescription } = await import('../agent/describe_print.ts');
    const { userVariablesOf } = await import('./user_variables.ts');
    const variables = userVariablesOf(process.env);
    const value = await describeAgent({ config: loadAgentConfig(file), file, variables });
    return { value, lines: printAgentDescription(value) };
  },
};

/** Compiles and tries the issuance policy once. @returns its revision */
async function compileIssuance({ issuance_policy: files }: Pick<AuthServerConfig, 'issuance_policy'>): Promise<string> {
  if (files === undefined) return '';
  const { startIssuancePolicy } = await import('../issuance/issuance_policy.ts');
  const { createLog } = await import('../telemetry/log.ts');
  const policy = await startIssuancePolicy({ ...files, watch: false }, createLog({ level: 'fatal' }));
  policy.close();
  return policy.revision();
}
