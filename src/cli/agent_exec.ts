import { constants } from 'node:os';
import { startAgent } from '../agent/agent.ts';
import { CommandNotRun, runCommand } from '../agent/command.ts';
import { environmentOf } from '../agent/environment.ts';
import { userToBecome, userVariables } from '../agent/machine_user.ts';
import { Notices } from '../agent/notices.ts';
import { type AgentFlags, configOf } from './agent_flags.ts';
import { trustMore } from './agent_trust.ts';
import { userVariablesOf } from './user_variables.ts';

/** Runs a command with an agent beside it. @returns the exit code of the command; 128 + n when signal n ended it */
export async function execWithAgent(
  argv: readonly [string, ...string[]],
  flags: AgentFlags & { readonly user?: string },
): Promise<number> {
  const config = configOf(flags);
  const user = flags.user === undefined ? null : userToBecome(flags.user);
  trustMore(config.ca_file);
  const notices = new Notices((line) => void process.stderr.write(`${line}\n`));
  const variables = userVariablesOf(process.env);
  // A signal that comes while the agent starts must not be lost on the way to nothing.
  let early: NodeJS.Signals | null = null;
  const stop = (signal: NodeJS.Signals) => {
    early = signal;
  };
  process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop);
  const agent = await startAgent({ config, variables, notices, clock: Date.now, user });
  try {
    if (early !== null) return 128 + constants.signals[early];
    const own = { ...variables, ...(user === null ? {} : userVariables(user)) };
    const environment = environmentOf(own, agent.exported);
    const running = runCommand({ argv, environment, user, atTerminal: process.stdin.isTTY === true });
    process.off('SIGINT', stop).off('SIGTERM', stop).off('SIGHUP', stop);
    return await running;
  } catch (error) {
    if (!(error instanceof CommandNotRun)) throw error;
    notices.say(error.message);
    return error.exitCode;
  } finally {
    await agent.end();
  }
}
