import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningAgent, startAgent } from '../agent/agent.ts';
import { createControlServer, endAgent } from '../agent/control.ts';
import type { Exported } from '../agent/environment.ts';
import { Notices } from '../agent/notices.ts';
import { printVariables, type ShellFormat } from '../agent/shell.ts';
import type { AgentConfig } from '../config/agent_schema.ts';
import { type AgentFlags, configOf } from './agent_flags.ts';
import { trustMore } from './agent_trust.ts';
import { untilStopped } from './until_stopped.ts';
import { userVariablesOf } from './user_variables.ts';

/** What the background process says when it knows: its variables, or why there is no agent. */
type FirstWords = { readonly exported: Exported } | { readonly problem: string };

const MAIN = new URL('../main.ts', import.meta.url);
const SELF = import.meta.url.endsWith('.ts') ? MAIN : new URL('../main.js', import.meta.url);

/** Starts an agent in a process of its own that stays behind, and prints its variables. @returns the exit code */
export async function startInBackground(flags: AgentFlags & { printEnv: ShellFormat; log?: string }): Promise<number> {
  const config = configOf(flags);
  trustMore(config.ca_file);
  const logFile =
    flags.log ?? join(mkdtempSync(join(process.env['RUNNER_TEMP'] || tmpdir(), 'sallyport-log-')), 'agent.log');
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(process.execPath, [...process.execArgv, SELF.pathname, 'agent', 'serve'], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  const words = await new Promise<FirstWords>((resolve) => {
    child.once('message', (message) => resolve(message as FirstWords));
    child.once('error', (error) => resolve({ problem: error.message }));
    child.once('exit', () => resolve({ problem: readFileSync(logFile, 'utf8').trim() || 'it ended at once' }));
    child.send(config);
  });
  if (child.connected) child.disconnect();
  child.unref();
  if ('problem' in words) {
    process.stderr.write(`sallyport agent: ${words.problem}\n`);
    return 1;
  }
  process.stdout.write(printVariables({ ...words.exported, SALLYPORT_AGENT_LOG: logFile }, flags.printEnv));
  return 0;
}

/** The background process itself: takes its configuration from the one that started it, and serves until it is told to end. */
export async function serveInBackground(): Promise<void> {
  if (process.send === undefined) throw new Error('serve is started by sallyport agent start');
  const config = await new Promise<AgentConfig>((resolve) =>
    process.once('message', (message) => resolve(message as AgentConfig)),
  );
  trustMore(config.ca_file);
  // Unhandled it would open the agent's memory to a debugger.
  process.on('SIGUSR1', () => undefined).on('SIGHUP', () => undefined);
  const notices = new Notices((line) => void process.stderr.write(`${line}\n`));
  const told = untilStopped();
  const say = (words: FirstWords) => new Promise<void>((resolve) => process.send?.(words, () => resolve()));
  let agent: RunningAgent;
  try {
    agent = await startAgent({ config, variables: userVariablesOf(process.env), notices, clock: Date.now, user: null });
  } catch (error) {
    await say({ problem: (error as Error).message });
    process.exitCode = 1;
    process.disconnect?.();
    return;
  }
  const over = Promise.withResolvers<void>();
  const control = createControlServer(notices, async () => {
    await agent.end();
    over.resolve();
  });
  await new Promise<void>(
    (resolve, reject) => void control.once('error', reject).listen(agent.control, () => resolve()),
  );
  await say({ exported: agent.exported });
  process.disconnect?.();
  await Promise.race([told, over.promise, agent.ended]);
  await agent.end();
  control.close();
}

/** Tells an agent in the background to end, and what it saw. @returns the exit code */
export async function endFromShell(socket: string | undefined): Promise<number> {
  if (socket === undefined)
    throw new Error('no agent is known here: SALLYPORT_AGENT is not set, and --agent was not given');
  const { requests, refused, refusals } = await endAgent(socket);
  process.stderr.write(`sallyport agent: the job has ended; ${requests} requests, ${refused} refused by the gateway\n`);
  for (const lines of refusals) process.stderr.write(`  ${lines.join('\n    ')}\n`);
  return 0;
}
