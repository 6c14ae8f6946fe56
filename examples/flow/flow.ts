/**
 * The whole standard flow as one story: `npm run demo:flow`. A workflow gets a client of its own, a job shows who it is, gets tokens that are
 * bound to its key, works with three unmodified tools through agent and gateway, is robbed in vain, and ends. Ends by itself with 0 when every
 * step went as it must, else with 1; nothing is left running.
 */
import { join } from 'node:path';
import { terminalOutput } from '../../src/cli/output.ts';
import { startBroker, startJob, tellTokens } from './issue.ts';
import type { Play } from './job.ts';
import { endAgent, endJob, execJob } from './job_end.ts';
import { Records } from './records.ts';
import { type Stage, type Started, setStage } from './stage.ts';
import { duration, NotAsExpected, Story } from './story.ts';
import { steal } from './theft.ts';
import { curl, reachTooFar, work, workOn } from './tools.ts';

const began = performance.now();
const output = terminalOutput();
const interrupt = new AbortController();
const story = new Story(output, interrupt.signal);
const started: Started = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => interrupt.abort(new NotAsExpected(signal)));

// Whoever reads along may go, as `head` does; what was started has to be stopped all the same.
process.stdout.on('error', () => interrupt.abort(new NotAsExpected('nobody reads the story')));

process.exitCode = await tell();

async function tell(): Promise<number> {
  let good = true;
  try {
    await play();
  } catch (error) {
    good = false;
    const why = interrupt.signal.aborted ? interrupt.signal.reason : error;
    story.bad('FAILED', why instanceof NotAsExpected ? why.message : String((why as Error).stack));
  }
  good = (await closeAll()) && good;
  const took = duration(performance.now() - began);
  story.line(
    good
      ? `Every step went as it must, in ${took}. Nothing is left running.`
      : 'Not every step went as it must; see above.',
  );
  return good ? 0 : 1;
}

async function play(): Promise<void> {
  story.line(
    'One workflow, two jobs, three tools that know nothing of tokens; authorization server, broker, agent and gateway around them.',
  );
  story.line('Starting; the policy is being compiled …');
  const stage = await setStage(started, interrupt.signal);
  introduce(stage);
  const broker = await story.step('The broker registers a client for the workflow (RFC 7591).', () =>
    startBroker(story, stage),
  );
  const job = await story.step(
    'A job starts, and shows who it is: an identity token in the shape of GitHub Actions.',
    () => startJob(story, stage, started),
  );
  await story.step(
    'The broker narrowed what the job asks for, and got tokens bound to its key (RFC 9396, RFC 9449).',
    () => tellTokens(story, stage),
  );
  const records = new Records(join(stage.folder, 'state/records.jsonl'), story);
  const played: Play = { story, stage, broker, job, records, overheard: new Map() };
  await work(played);
  await reachTooFar(played);
  await story.step('Somebody copied a token out of the traffic between agent and gateway.', () => steal(played));
  await story.step('The job itself works on with that token.', () =>
    curl(played, '/projects/p1', { prints: /HTTP 200$/, code: 0, outcomes: ['allowed'] }),
  );
  await story.step('The CI engine ends the job: its tokens are worthless, though they have not expired.', () =>
    endJob(played),
  );
  await story.step('The tools of the job try to go on, with agent, key and tokens as before.', () => workOn(played));
  await story.step('The agent ends.', () => endAgent(played));
  await story.step(
    'Another job, as CI systems run it: the agent around one command, and the end of the job with it.',
    () => execJob(played),
  );
  await story.step('What the gateway recorded: each request once.', async () => {
    await records.finish();
    for (const [outcome, count] of records.counts) story.row(String(count), outcome);
  });
}

function introduce({ ci, apis, authserver, gateway, front }: Stage): void {
  story.line();
  const row = (name: string, where: string, what: string) =>
    story.line(`  ${name.padEnd(21)} ${where.padEnd(23)} ${what}`);
  row('CI system', ci.origin, 'gives identity tokens to its jobs');
  row('authorization server', authserver.origin, 'sallyport authserver');
  row('gateway', front.origin, `sallyport gateway, listening on ${gateway.port}; somebody reads the traffic before it`);
  row('cloud', apis.origins.cloud, 'takes calls with the credential of the gateway only, like the other two');
  row('DynamoDB', apis.origins.dynamodb, '(dynalite)');
  row('Kubernetes API', apis.origins.kubernetes, '');
}

/** In the reverse order of starting. @returns whether every program ended as it must */
async function closeAll(): Promise<boolean> {
  let good = true;
  story.line();
  for (const { name, close } of started.splice(0).reverse()) {
    const code = await close().catch((error: Error) => error.message);
    if (code === undefined || code === 0) continue;
    story.bad('FAILED', `${name} ended with ${String(code)}`);
    good = false;
  }
  return good;
}
