import { readFileSync } from 'node:fs';
import type { Overheard } from './eavesdropper.ts';
import { type Finished, type Program, run } from './program.ts';
import type { Records } from './records.ts';
import type { Stage } from './stage.ts';
import type { Story } from './story.ts';

/** The APIs of the job. */
export type ApiName = keyof Stage['behind'];

/** The job, as its tools see it. */
export interface Job {
  /** Its id at the broker. */
  readonly id: string;
  /** What its tools run with. */
  readonly env: NodeJS.ProcessEnv;
  /** New lines of the agent's, for the person. */
  said(): string[];
}

/** What is played with, from the first tool on. */
export interface Play {
  readonly story: Story;
  readonly stage: Stage;
  readonly broker: Program;
  readonly job: Job;
  readonly records: Records;
  /** The first request for each API that was read between agent and gateway. */
  readonly overheard: Map<ApiName, Overheard>;
}

/** A tool that the job runs. */
export interface Tool {
  readonly api: ApiName;
  readonly argv: readonly string[];
  /** As a person would type it. */
  readonly typed: string;
  /** What it must print. */
  readonly prints: string | RegExp;
  readonly code: number;
  /** Requests that reach the gateway, and what must become of each. */
  readonly outcomes: readonly string[];
}

/** Characters of what a tool printed that are shown. */
const SHOWN = 200;

/** The words of an agent in the background, from its log. */
export function wordsOf(logFile: string): () => string[] {
  let read = 0;
  return () => {
    const lines = readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
    const fresh = lines.slice(read);
    read = lines.length;
    return fresh;
  };
}

/** Runs a tool, and tells what it printed, what the gateway recorded, what the API saw, and what the agent said. */
export async function runTool(play: Play, tool: Tool): Promise<Finished> {
  const { story, stage, job } = play;
  const { api, argv, typed, outcomes } = tool;
  story.row('ran', typed);
  const finished = await run(argv, { env: job.env });
  const printed = finished.text.trim().replace(/\s+/g, ' ');
  const tell = finished.code === 0 ? story.good.bind(story) : story.bad.bind(story);
  tell('printed', printed.length > SHOWN ? `${printed.slice(0, SHOWN)} …` : printed);
  tellWords(play, outcomes);
  const right = typeof tool.prints === 'string' ? printed === tool.prints : tool.prints.test(printed);
  story.ensure(`${typed} prints ${String(tool.prints)}, not ${printed} ${finished.errors}`, right);
  story.expect(`the exit code of ${typed}`, finished.code, tool.code);
  await play.records.tell(outcomes);
  listen(play, api);
  const allowed = outcomes.filter((outcome) => outcome.startsWith('allowed')).length;
  tellUpstream(story, stage, api, allowed);
  return finished;
}

/** Keeps what the eavesdropper in front of the gateway read, and sees to it that it was as it must be. */
function listen({ story, stage, overheard }: Play, api: ApiName): void {
  for (const request of stage.front.take()) {
    story.ensure('each request of the agent has a bound token and a proof', isProven(request));
    if (!overheard.has(api)) overheard.set(api, request);
  }
}

/** Whether a request has a token in the scheme DPoP, and a proof. */
export function isProven(request: Overheard): boolean {
  return (
    /^DPoP eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(request.field('authorization') ?? '') && request.field('dpop') !== null
  );
}

/** The API sees the credential of the gateway, and nothing of the job's. */
function tellUpstream(story: Story, stage: Stage, api: ApiName, allowed: number): void {
  const seen = stage.behind[api].take();
  story.expect(`requests that reached ${api}`, seen.length, allowed);
  for (const request of seen) {
    story.expect(`the credential at ${api}`, request.field('authorization'), stage.apis.credentials[api]);
    story.ensure(
      `no token and no proof reaches ${api}`,
      request.field('dpop') === null && !request.head.includes('eyJ'),
    );
  }
  const what = allowed === 0 ? 'nothing' : `${allowed} with the gateway's own credential, no token, no proof`;
  story.row('API saw', what);
}

function tellWords({ story, job }: Play, outcomes: readonly string[]): void {
  const words = job.said();
  for (const [index, line] of words.entries()) story.row(index === 0 ? 'agent' : '', line);
  const refused = outcomes.some((outcome) => outcome.startsWith('refused'));
  story.expect('the agent says something, and only when something was refused', words.length > 0, refused);
  if (refused) story.ensure('the agent names the decision', /^ {2}Decision [\w-]+\.$/.test(words.at(-1) ?? ''));
}
