import type { BrokerConfig } from '../config/agent_schema.ts';
import type { Clock } from '../kernel/clock.ts';
import type { IssuedToken } from '../oauth/client_credentials.ts';
import { fetchJson, type JsonAnswer, type JsonProblem } from '../oauth/fetch_json.ts';
import { isSecureUrl } from '../oauth/secure_url.ts';
import type { SigningKey } from '../oauth/signing_key.ts';
import { isJsonObject, type JsonObject } from '../oauth/strict_json.ts';
import { readIssuedToken } from './issued_token.ts';
import type { ServerMemory } from './server_memory.ts';
import { type AskedRights, TokenUnavailable } from './token_source.ts';

/** Where the broker is asked, once its description is read. */
export interface BrokerEndpoints {
  readonly tokenEndpoint: string;
  /** What the proof for a token is made for: the authorization server's token endpoint, where the broker passes it on. */
  readonly proofTarget: string;
  /** With `{id}` in it. */
  readonly jobEndEndpoint: string;
}

/** What one question to the broker needs beside what is asked for. */
export interface BrokerQuestion {
  readonly config: BrokerConfig;
  readonly endpoints: BrokerEndpoints;
  readonly key: SigningKey;
  readonly identityToken: string;
  /** Of the authorization server, whose nonces the broker relays. */
  readonly memory: ServerMemory;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** A token with the identifier of its job, or why not. */
export type BrokerAnswer =
  | { readonly kind: 'token'; readonly token: IssuedToken; readonly jobId: string }
  | { readonly kind: 'nonce' }
  | { readonly kind: 'later'; readonly afterMs: number; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

const MAXIMUM_BYTES = 1_048_576;
const STATUSES = [200, 400, 401, 403, 404, 429, 500, 502, 503, 504];

/** Reads the broker's description of itself. @throws TokenUnavailable */
export async function findBroker(
  config: BrokerConfig,
  timeoutMs: number,
  allowPlaintext: boolean,
): Promise<BrokerEndpoints> {
  const base = config.url.replace(/\/$/, '');
  const answer = await fetchJson({ url: `${base}/.well-known/sallyport-broker`, timeoutMs, maxBytes: 65_536 });
  if (!answer.ok) {
    // A broker that does not know its authorization server yet says so with 503.
    const passing = ['unreachable', 'timeout', 'status'].includes(answer.failure);
    throw new TokenUnavailable(`the broker ${base} ${answer.problem}`, passing);
  }
  const document = isJsonObject(answer.value) ? answer.value : {};
  const read = (name: string, mayBeElsewhere = false): string => {
    const url = document[name];
    const good =
      typeof url === 'string' &&
      isSecureUrl(url.replace('{id}', 'id'), allowPlaintext) &&
      // The identity token and the end of the job are for the configured broker alone.
      (mayBeElsewhere || new URL(url).origin === new URL(base).origin);
    if (!good) throw new TokenUnavailable(`the broker ${base} describes no ${name} that can be used`, false);
    return url;
  };
  return {
    tokenEndpoint: read('broker_token_endpoint'),
    proofTarget: read('token_endpoint', true),
    jobEndEndpoint: read('job_end_endpoint'),
  };
}

/** Asks the broker once. Never rejects for what the broker said. */
export async function askBroker(question: BrokerQuestion, asked: AskedRights): Promise<BrokerAnswer> {
  const { endpoints, key, memory, identityToken, timeoutMs, clock } = question;
  const sentAt = clock();
  let retryAfter: string | null = null;
  let gaveNonce = false;
  let status = 0;
  const answer = await fetchJson({
    url: endpoints.tokenEndpoint,
    timeoutMs,
    maxBytes: MAXIMUM_BYTES,
    statuses: STATUSES,
    headers: {
      authorization: `Bearer ${identityToken}`,
      dpop: await memory.prove({ key, method: 'POST', url: endpoints.proofTarget }),
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: formOf(question.config, asked),
    onAnswer: ({ status: seenStatus, headers }) => {
      status = seenStatus;
      retryAfter = headers.get('retry-after');
      const seen = { nonce: headers.get('dpop-nonce'), date: headers.get('date') };
      gaveNonce = memory.learn({ ...seen, sentAt, receivedAt: clock() });
    },
  });
  if (!answer.ok && (answer.failure !== 'malformed' || isPassing(status)))
    return { kind: 'later', afterMs: 0, why: problemOf(answer, status) };
  return readAnswer(answer, { asked, sentAt, gaveNonce, retryAfter });
}

/** Tells the broker that the job is over. @returns null, or why it could not be done */
export async function endJobAt(
  url: string,
  { key, memory, timeoutMs, clock }: Pick<BrokerQuestion, 'key' | 'memory' | 'timeoutMs' | 'clock'>,
): Promise<string | null> {
  let why = '';
  for (let attempt = 0; attempt < 2; attempt++) {
    const sentAt = clock();
    let gaveNonce = false;
    let status = 0;
    const proof = await memory.prove({ key, method: 'POST', url });
    const answer = await fetchJson({
      url,
      timeoutMs,
      maxBytes: 65_536,
      statuses: [200, ...STATUSES],
      headers: { dpop: proof },
      body: '',
      onAnswer: ({ status: seen, headers }) => {
        status = seen;
        const said = { nonce: headers.get('dpop-nonce'), date: headers.get('date') };
        gaveNonce = memory.learn({ ...said, sentAt, receivedAt: clock() });
      },
    });
    if (status >= 200 && status < 300) return null;
    why = answer.ok
      ? (errorOf(answer.value)?.text ?? `the broker answered with status ${status}`)
      : problemOf(answer, status);
    if (!gaveNonce && status !== 401) break;
  }
  return why;
}

function formOf(config: BrokerConfig, asked: AskedRights): string {
  const form = new URLSearchParams({ resource: asked.resource });
  if (asked.scopes.length > 0) form.set('scope', asked.scopes.join(' '));
  if (asked.authorizationDetails.length > 0) {
    form.set('authorization_details', JSON.stringify(asked.authorizationDetails));
  }
  if (config.workflow !== undefined) form.set('workflow', config.workflow);
  if (config.environment !== undefined) form.set('environment', config.environment);
  return form.toString();
}

interface AnswerContext {
  readonly asked: AskedRights;
  readonly sentAt: number;
  readonly gaveNonce: boolean;
  readonly retryAfter: string | null;
}

function readAnswer(answer: JsonAnswer, { asked, sentAt, gaveNonce, retryAfter }: AnswerContext): BrokerAnswer {
  if (!answer.ok) return { kind: 'refused', why: problemOf(answer, 0) };
  const { status, value } = answer;
  if (status === 200 && isJsonObject(value)) {
    const token = readIssuedToken(value, asked, sentAt);
    const jobId = value['job_id'];
    if (typeof token === 'string') return { kind: 'refused', why: `the broker's answer cannot be used: ${token}` };
    if (typeof jobId !== 'string' || jobId === '' || jobId.length > 512) {
      return { kind: 'refused', why: "the broker's answer cannot be used: it has no job_id" };
    }
    return { kind: 'token', token, jobId };
  }
  const error = errorOf(value);
  if (error?.code === 'use_dpop_nonce' && gaveNonce) return { kind: 'nonce' };
  const why = `the broker refused: ${error?.text ?? `status ${status}`}`;
  if (isPassing(status)) return { kind: 'later', afterMs: secondsIn(retryAfter) * 1000, why };
  return { kind: 'refused', why };
}

/** Whether it is worth asking again. */
function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

/** What stands in front of a broker answers with what is no JSON: then its status says more. */
function problemOf({ failure, problem }: JsonProblem, status: number): string {
  if (failure !== 'malformed') return `the broker ${problem}`;
  return status >= 400 ? `the broker answered with status ${status}` : `the broker's answer cannot be used: ${problem}`;
}

/** RFC 6749 §5.2. */
function errorOf(value: unknown): { readonly code: string; readonly text: string } | null {
  if (!isJsonObject(value) || typeof value['error'] !== 'string') return null;
  const { error, error_description: description } = value as JsonObject & { error: string };
  const text = typeof description === 'string' ? `${error}: ${description}` : error;
  return { code: error, text: text.replace(/[\s\p{C}]+/gu, ' ').slice(0, 500) };
}

/** RFC 9110 §10.2.3, the form in seconds; anything else is taken for one second. */
function secondsIn(retryAfter: string | null): number {
  return retryAfter !== null && /^\d{1,5}$/.test(retryAfter) ? Math.max(Number(retryAfter), 1) : 1;
}
