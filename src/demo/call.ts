import type { Clock } from '../kernel/clock.ts';
import { explainRefusal, printable } from '../oauth/refusal_text.ts';
import { importSigningKey } from '../oauth/signing_key.ts';
import { fetchToken, type JobAnswer, type JobCall, proveAndSend, sendCall } from './job.ts';
import { loadSession } from './session.ts';
import { answerText, type Output, styled } from './words.ts';

/** What `sallyport call` was asked to do. */
export interface CallRequest {
  readonly method: string;
  /** Absolute, or a path of the gateway. */
  readonly target: string;
  readonly data?: string;
  /** As `Name: value`. */
  readonly headers: readonly string[];
  /** Send the same request again, with the same proof. */
  readonly repeatProof: boolean;
}

/** What it works with. */
export interface CallContext {
  /** Folder of the demo's keys and settings. */
  readonly directory: string;
  readonly output: Output;
  readonly clock: Clock;
}

/**
 * Calls the gateway as the demo's job: a new token bound to the job's key, a new proof, one request.
 * @returns 0 when the last answer was a success, else 1
 * @throws Error that says what to do, when no call could be made
 */
export async function runCall(request: CallRequest, context: CallContext): Promise<number> {
  const { directory, output, clock } = context;
  const session = await loadSession(directory);
  const url = urlOf(request.target, session.gateway);
  const key = await importSigningKey(session.jobKey);
  const { accessToken } = await fetchToken(session, clock);
  const call: JobCall = {
    method: request.method.toUpperCase(),
    url,
    token: accessToken,
    headers: request.headers.map(headerOf),
    ...(request.data === undefined ? {} : { body: request.data }),
  };
  const { answer, proof } = await proveAndSend(call, key, clock);
  show(output, call, answer);
  if (!request.repeatProof) return codeOf(answer);
  output.line('');
  output.line('Once more, the same request with the same proof:');
  const repeated = await sendCall({ ...call, proof });
  show(output, call, repeated);
  return codeOf(repeated);
}

/** The token is for the gateway and goes nowhere else. */
function urlOf(target: string, gateway: string): string {
  const url = URL.parse(target, gateway);
  if (url === null) throw new Error(`${printable(target)} is not a URL or a path`);
  if (url.origin !== gateway) throw new Error(`the token is for ${gateway} and is not sent to ${url.origin}`);
  url.hash = '';
  return url.href;
}

function headerOf(text: string): [string, string] {
  const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):\s*(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new Error(`--header expects "Name: value", not ${printable(text)}`);
  return [name, value];
}

function show(output: Output, call: JobCall, answer: JobAnswer): void {
  output.line(`${call.method} ${call.url}`);
  output.line(styled(output, answer.status < 400 ? 'green' : 'red', answerText(answer)));
  if (answer.problem !== null) for (const line of explainRefusal(answer.problem)) output.line(`  ${line}`);
  else {
    const decision = answer.headers.get('sallyport-decision-id');
    if (decision !== null) output.line(styled(output, 'dim', `  Decision ${printable(decision)}.`));
  }
}

function codeOf(answer: JobAnswer): number {
  return answer.status < 400 ? 0 : 1;
}
