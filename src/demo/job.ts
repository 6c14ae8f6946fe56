import type { Clock } from '../kernel/clock.ts';
import { type IssuedToken, TokenClient } from '../oauth/client_credentials.ts';
import { makeProof } from '../oauth/dpop_proof.ts';
import { discoverMetadata } from '../oauth/metadata.ts';
import { importSigningKey, type SigningKey } from '../oauth/signing_key.ts';
import { type JsonObject, parseJsonObject } from '../oauth/strict_json.ts';
import type { Session } from './session.ts';

/** One request to the gateway, as a job sends it. */
export interface JobCall {
  readonly method: string;
  readonly url: string;
  readonly token: string;
  /** Scheme of the Authorization header; the right one is DPoP. */
  readonly scheme?: 'DPoP' | 'Bearer';
  /** A proof for exactly this request; absent: none is sent. */
  readonly proof?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string;
}

/** What came back. */
export interface JobAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  /** As text, cut after 1 MiB. */
  readonly body: string;
  /** The problem document, when the gateway refused. */
  readonly problem: JsonObject | null;
}

const TIMEOUT_MS = 30_000;
const MAXIMUM_BODY = 1_048_576;

/** Asks the authorization server for a token that is bound to the key of the job. @throws Error that says what is the matter */
export async function fetchToken(session: Session, clock: Clock): Promise<IssuedToken> {
  const server = await discoverMetadata(session.issuer, { timeoutMs: 5000 });
  if (!server.ok) {
    throw new Error(
      `the authorization server ${session.issuer} does not answer (${server.problem}): is the demo running?`,
    );
  }
  const client = new TokenClient({
    server: server.value,
    clientId: session.clientId,
    clientKey: await importSigningKey(session.clientKey),
    proofKey: await importSigningKey(session.jobKey),
    timeoutMs: 10_000,
    clock,
  });
  const { resource, scopes, authorizationDetails, job } = session;
  return client.request({ resource, scopes, authorizationDetails, job });
}

/** Makes the proof for one call. */
export function proofFor(call: JobCall, key: SigningKey, clock: Clock, nonce?: string): Promise<string> {
  return makeProof({
    privateKey: key.privateKey,
    publicJwk: key.publicJwk,
    alg: key.alg,
    method: call.method,
    url: call.url,
    accessToken: call.token,
    clock,
    ...(nonce === undefined ? {} : { nonce }),
  });
}

/** Sends a call as it is. Redirects are not followed: the token is for this origin alone. @throws Error when nobody answers */
export async function sendCall(call: JobCall): Promise<JobAnswer> {
  const headers = new Headers(call.headers?.map(([name, value]) => [name, value] as [string, string]));
  headers.set('authorization', `${call.scheme ?? 'DPoP'} ${call.token}`);
  if (call.proof !== undefined) headers.set('dpop', call.proof);
  if (call.body !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/json');
  const response = await fetch(call.url, {
    method: call.method,
    headers,
    body: call.body ?? null,
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: Error) => {
    const cause = (error.cause as Error | undefined)?.message ?? error.message;
    throw new Error(`no answer from ${new URL(call.url).origin}: ${cause}`);
  });
  const body = await readBody(response);
  const { status, statusText } = response;
  return { status, statusText, headers: response.headers, body, problem: problemOf(response, body) };
}

/** Sends a call with a proof of the key; once more when a nonce is asked for (RFC 9449 §9). @returns the proof that was used, too */
export async function proveAndSend(
  call: JobCall,
  key: SigningKey,
  clock: Clock,
): Promise<{ answer: JobAnswer; proof: string }> {
  const proof = await proofFor(call, key, clock);
  const answer = await sendCall({ ...call, proof });
  const nonce = answer.headers.get('dpop-nonce');
  const asked = answer.status === 401 && answer.headers.get('www-authenticate')?.includes('use_dpop_nonce') === true;
  if (!asked || nonce === null) return { answer, proof };
  const second = await proofFor(call, key, clock, nonce);
  return { answer: await sendCall({ ...call, proof: second }), proof: second };
}

async function readBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAXIMUM_BODY) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function problemOf(response: Response, body: string): JsonObject | null {
  if (response.headers.get('content-type')?.startsWith('application/problem+json') !== true) return null;
  const json = parseJsonObject(body, { maxBytes: MAXIMUM_BODY });
  return json.ok && typeof json.value['reason'] === 'string' ? json.value : null;
}
