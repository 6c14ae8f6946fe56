import { Command, Option } from 'commander';
import type { AgentFlags } from './agent_flags.ts';

/** `sallyport agent exec | start | end`: the job's side. */
export function agentCommand(): Command {
  const command = new Command('agent').description(
    "the job's side: a key, a token that is bound to it, and proofs for ordinary tools",
  );
  command.addCommand(
    withFlags(new Command('exec'))
      .description('run a command whose tools reach the gateway through the agent, then end the job')
      .option('--user <user>', 'run the command as another user: a name, a uid or uid:gid; only root can')
      .argument('<command...>', 'the command and its arguments, after --')
      .action(async (argv: [string, ...string[]], flags: AgentFlags & { user?: string }) => {
        const { execWithAgent } = await import('./agent_exec.ts');
        process.exitCode = await execWithAgent(argv, flags);
      }),
  );
  command.addCommand(
    withFlags(new Command('start'))
      .description('start an agent in the background and print its variables; sallyport agent end ends it')
      .addOption(
        new Option('--print-env [format]', 'how: sh for eval "$(…)", github for $GITHUB_ENV, or json')
          .choices(['sh', 'github', 'json'])
          .default('sh')
          .preset('sh'),
      )
      .option(
        '--log <file>',
        'where the background agent writes what it has to say; absent: into the folder of the job',
      )
      .action(async (flags: AgentFlags & { printEnv: 'sh' | 'github' | 'json'; log?: string }) => {
        const { startInBackground } = await import('./agent_start.ts');
        process.exitCode = await startInBackground(flags);
      }),
  );
  command.addCommand(
    new Command('end')
      .description('end the job of an agent in the background: its tokens are worthless from then on')
      .addOption(new Option('--agent <socket>', 'socket of the agent').env('SALLYPORT_AGENT'))
      .action(async ({ agent }: { agent?: string }) => {
        const { endFromShell } = await import('./agent_start.ts');
        process.exitCode = await endFromShell(agent);
      }),
  );
  command.addCommand(
    withFlags(new Command('serve'), false)
      .description('used by start: the agent in the background itself')
      .action(async () => {
        const { serveInBackground } = await import('./agent_start.ts');
        await serveInBackground();
      }),
    { hidden: true },
  );
  return command;
}

/** The configuration is one file, or flags for the usual case of one API; each flag has a variable, too. */
function withFlags(command: Command, wanted = true): Command {
  if (!wanted) return command;
  const flag = (flags: string, description: string, variable: string) =>
    command.addOption(new Option(flags, description).env(`SALLYPORT_AGENT_${variable}`));
  flag('--config <file>', 'configuration file (docs/reference/agent.md); then no other flag but --user', 'CONFIG');
  flag('--broker <url>', 'base URL of the broker', 'BROKER');
  flag('--identity <source>', 'github, gitlab, buildkite, circleci, env:NAME or file:PATH', 'IDENTITY');
  flag('--audience <audience>', 'audience of the identity token, for github and buildkite', 'AUDIENCE');
  flag('--workflow <name>', 'workflow at the broker; absent: the one that the identity token names', 'WORKFLOW');
  flag('--environment <name>', 'deployment environment that is asked for', 'ENVIRONMENT');
  flag('--issuer <url>', 'instead of a broker: issuer identifier of the authorization server', 'ISSUER');
  flag('--client-id <id>', 'client at that server', 'CLIENT_ID');
  flag('--client-key-file <file>', 'private JWK of the client', 'CLIENT_KEY_FILE');
  flag('--api <url>', 'base URL of the API, behind the gateway', 'API');
  flag('--gateway <origin>', 'origin of the gateway, where it is not that of the API', 'GATEWAY');
  flag('--resource <uri>', 'what the token is for; absent: the base URL', 'RESOURCE');
  flag('--scope <scopes>', 'scopes to ask for, parted by spaces', 'SCOPE');
  flag('--authorization-details <json>', 'authorization_details to ask for, a JSON array', 'AUTHORIZATION_DETAILS');
  flag('--variable <names>', 'variables that get the local base URL, parted by commas', 'VARIABLE');
  command.addOption(
    new Option('--proxy', 'forward mode: HTTPS_PROXY with a CA of this job').env('SALLYPORT_AGENT_PROXY'),
  );
  return command;
}
