import type { Clock } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import { explainRefusal } from '../oauth/refusal_text.ts';
import { generatePrivateJwk, importSigningKey, type SigningKey } from '../oauth/signing_key.ts';
import { type JobAnswer, type JobCall, proofFor, sendCall } from './job.ts';
import { recordLines } from './records.ts';
import type { Scene } from './scene.ts';
import { answerText, type Output, shortened, styled } from './words.ts';

/** What the story is told with. */
export interface Telling {
  readonly scene: Scene;
  readonly token: IssuedToken;
  readonly output: Output;
  readonly clock: Clock;
}

/** One call of the story: what is sent, and what must come back. */
interface Step {
  readonly title: string;
  readonly method: string;
  readonly path: string;
  /** Where the proof comes from. */
  readonly proof: 'new' | 'same' | 'stranger' | 'none';
  /** Straight to the cloud, past the gateway. */
  readonly direct?: true;
  readonly status: number;
  /** Reason of the refusal; null where the gateway does not refuse. */
  readonly reason: string | null;
}

const BUILDS = '/v1/projects/p1/builds';

const STEPS: readonly Step[] = [
  {
    title: 'An allowed call: the job creates a build in its project p1.',
    method: 'POST',
    path: BUILDS,
    proof: 'new',
    status: 201,
    reason: null,
  },
  {
    title: 'It reaches too far: the same job wants to delete the project.',
    method: 'DELETE',
    path: '/v1/projects/p1',
    proof: 'new',
    status: 403,
    reason: 'policy.insufficient_scope',
  },
  {
    title: 'Right scope, wrong place: it creates a build in project p2, which its authorization_details do not cover.',
    method: 'POST',
    path: '/v1/projects/p2/builds',
    proof: 'new',
    status: 403,
    reason: 'policy.insufficient_authorization_details',
  },
  {
    title: 'A replay: somebody recorded request 1 and sends it again, byte for byte.',
    method: 'POST',
    path: BUILDS,
    proof: 'same',
    status: 401,
    reason: 'proof.replayed',
  },
  {
    title: 'A stolen token: it leaked from a log, and the thief makes proofs with a key of his own.',
    method: 'POST',
    path: BUILDS,
    proof: 'stranger',
    status: 401,
    reason: 'proof.key_mismatch',
  },
  {
    title: 'The stolen token again, as a plain bearer token without a proof.',
    method: 'POST',
    path: BUILDS,
    proof: 'none',
    status: 401,
    reason: 'proof.bound_token_as_bearer',
  },
  {
    title: 'Around the gateway: the token straight to the cloud, which knows only the credential of its gateway.',
    method: 'POST',
    path: BUILDS,
    proof: 'new',
    direct: true,
    status: 401,
    reason: null,
  },
];

/** Plays the calls in order and tells each: what was sent, what came back, what the record says. @returns whether all went as they must */
export async function tellStory(telling: Telling): Promise<boolean> {
  const keys = {
    job: await importSigningKey(telling.scene.session.jobKey),
    stranger: await importSigningKey(await generatePrivateJwk()),
  };
  let recorded: string | undefined;
  let good = true;
  for (const [index, step] of STEPS.entries()) {
    const call = await prepare(telling, step, { ...keys, recorded });
    recorded ??= call.proof;
    const answer = await sendCall(call);
    if (!(await tell(telling, { step, number: index + 1, call, answer }))) good = false;
  }
  return good;
}

async function prepare(
  { scene, token, clock }: Telling,
  step: Step,
  keys: { job: SigningKey; stranger: SigningKey; recorded: string | undefined },
): Promise<JobCall> {
  const origin = step.direct === true ? scene.cloud : scene.session.gateway;
  const call: JobCall = { method: step.method, url: origin + step.path, token: token.accessToken };
  if (step.proof === 'none') return { ...call, scheme: 'Bearer' };
  if (step.proof === 'same' && keys.recorded !== undefined) return { ...call, proof: keys.recorded };
  const key = step.proof === 'stranger' ? keys.stranger : keys.job;
  return { ...call, proof: await proofFor(call, key, clock) };
}

interface Played {
  readonly step: Step;
  readonly number: number;
  readonly call: JobCall;
  readonly answer: JobAnswer;
}

const PROOFS: Readonly<Record<Step['proof'], string>> = {
  new: 'a new proof',
  same: 'the proof of request 1',
  stranger: "a proof with the thief's key",
  none: '',
};

async function tell({ scene, output }: Telling, { step, number, call, answer }: Played): Promise<boolean> {
  const row = (name: string, text: string) => output.line(`   ${styled(output, 'dim', name.padEnd(8))} ${text}`);
  const reason = answer.problem?.['reason'] ?? null;
  const expected = answer.status === step.status && reason === step.reason;
  output.line('');
  output.line(styled(output, 'bold', `${number}. ${step.title}`));
  row('request', `${call.method} ${call.url}`);
  row('', `Authorization: ${call.scheme ?? 'DPoP'} ${shortened(call.token)}`);
  if (call.proof !== undefined) row('', `DPoP: ${shortened(call.proof)} (${PROOFS[step.proof]})`);
  row('answer', styled(output, answer.status < 400 ? 'green' : 'red', answerText(answer)));
  // The last sentence names the decision, which the record does too.
  if (answer.problem !== null) for (const line of explainRefusal(answer.problem).slice(0, -1)) row('', line);
  if (step.direct !== true) {
    const record = await scene.records.next(2000);
    const [what = 'none was written', ...rest] = record === null ? [] : recordLines(record);
    row('record', what);
    for (const line of rest) row('', line);
    if (record === null) return false;
  }
  if (!expected) row('', styled(output, 'red', `NOT AS EXPECTED: ${step.status} ${step.reason ?? ''}`.trim()));
  return expected;
}
