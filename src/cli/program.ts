import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config/problems.ts';
import { agentCommand } from './agent.ts';
import { authserverCommand } from './authserver.ts';
import { brokerCommand } from './broker.ts';
import { callCommand } from './call.ts';
import { configCommand } from './config.ts';
import { demoCloudCommand, demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { explainCommand } from './explain.ts';
import { gatewayCommand } from './gateway.ts';
import { policyCommand } from './policy.ts';
import { EXIT, exitCodeOf } from './usage_error.ts';

/** Runs one command line, without the program's name. @returns the exit code: 0 done, 1 refused or failed, 2 wrong usage */
export async function run(argv: readonly string[]): Promise<number> {
  const program = new Command('sallyport')
    .description(
      'Authorization gateway for cloud management APIs: sender-constrained tokens, single-use proofs, Rego policies.',
    )
    .version(version(), '--version')
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride()
    .hook('preAction', refuseBlindTrust);
  program.addCommand(gatewayCommand());
  program.addCommand(configCommand());
  program.addCommand(policyCommand());
  program.addCommand(authserverCommand(version()));
  program.addCommand(agentCommand());
  program.addCommand(brokerCommand(version()));
  program.addCommand(callCommand());
  program.addCommand(explainCommand());
  program.addCommand(doctorCommand());
  program.addCommand(demoCommand());
  program.addCommand(demoCloudCommand());
  for (const command of program.commands) passOn(program, command);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    process.stderr.write(`${explain(error)}\n`);
    return exitCodeOf(error);
  }
}

/** Node.js would take any certificate: of issuers' keys, of brokers that get identity tokens, of everybody that is asked here. */
function refuseBlindTrust(): void {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return;
  throw new Error(
    'NODE_TLS_REJECT_UNAUTHORIZED=0 is set, so no certificate would be verified; unset it (env -u NODE_TLS_REJECT_UNAUTHORIZED sallyport …), and name your own CA with NODE_EXTRA_CA_CERTS',
  );
}

/** Subcommands made elsewhere do not inherit these by themselves. */
function passOn(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) passOn(command, child);
}

/** What went wrong, for a person: the message alone where it was written for people, with the stack where nobody expected it. */
function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (!(error instanceof Error)) return `sallyport: ${String(error)}`;
  const unexpected = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  return unexpected ? `sallyport: unexpected failure\n${error.stack}` : `sallyport: ${error.message}`;
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
