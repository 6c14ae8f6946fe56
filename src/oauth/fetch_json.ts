import { type ParseFailure, unparsed } from './parsed.ts';
import { parseStrictJson } from './strict_json.ts';

/** One request for a JSON document. */
export interface JsonRequest {
  readonly url: string;
  /** From the start to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Bytes of the answer, after decompression. */
  readonly maxBytes: number;
  /** Statuses whose body is wanted; every other one is a failure. Default: 200. */
  readonly statuses?: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Present: a POST with this body; its content type stands in `headers`. */
  readonly body?: string;
  /** Ends the request early. */
  readonly signal?: AbortSignal;
}

/** Why there is no document. */
export type JsonFailure =
  | 'unreachable'
  | 'timeout'
  | 'redirected'
  | 'status'
  | 'content_type'
  | 'too_large'
  | 'malformed';

/** The document, or why there is none. */
export type JsonAnswer = JsonDocument | JsonProblem;

/** A document that arrived whole and is strict JSON. */
export interface JsonDocument {
  readonly ok: true;
  readonly status: number;
  readonly value: unknown;
}

/** A failure, with words for the log that hold nothing of what the other side sent. */
export interface JsonProblem extends ParseFailure {
  readonly failure: JsonFailure;
}

/**
 * Fetches a JSON document, bounded in time and size. Redirects are not followed: what is fetched here decides whom to trust, and the
 * configured address is the one that was judged. Never rejects.
 */
export async function fetchJson(request: JsonRequest): Promise<JsonAnswer> {
  const timeout = AbortSignal.timeout(request.timeoutMs);
  try {
    const response = await send(request, timeout);
    const refused = refusal(response, request);
    if (refused !== null) {
      await response.body?.cancel();
      return refused;
    }
    const bytes = await readBounded(response, request.maxBytes);
    if (bytes === null) return problem('too_large', `answered more than ${request.maxBytes} bytes`);
    const json = parseStrictJson(bytes, request);
    return json.ok ? { ok: true, status: response.status, value: json.value } : problem('malformed', json.problem);
  } catch (error) {
    if (timeout.aborted) return problem('timeout', `gave no answer within ${request.timeoutMs} ms`);
    return problem('unreachable', `cannot be reached${codeOf(error)}`);
  }
}

function send(request: JsonRequest, timeout: AbortSignal): Promise<Response> {
  return fetch(request.url, {
    method: request.body === undefined ? 'GET' : 'POST',
    // Uncompressed: these documents are small, and the bound below then holds for what travels too.
    headers: { accept: 'application/json', 'accept-encoding': 'identity', ...request.headers },
    body: request.body ?? null,
    redirect: 'manual',
    signal: request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout]),
  });
}

function refusal(response: Response, request: JsonRequest): JsonProblem | null {
  const { status, headers } = response;
  if (status >= 300 && status < 400) return problem('redirected', `answered with a redirect (${status})`);
  if (!(request.statuses ?? [200]).includes(status)) return problem('status', `answered with status ${status}`);
  if (!mayBeJson(headers.get('content-type')))
    return problem('content_type', 'answered with something that is not JSON');
  if (Number(headers.get('content-length')) > request.maxBytes) {
    return problem('too_large', `answered more than ${request.maxBytes} bytes`);
  }
  return null;
}

/** Many servers of static files send keys as text or as bytes; a page for people is refused before it is read. */
function mayBeJson(contentType: string | null): boolean {
  return (
    contentType === null ||
    /^(application\/(.+\+)?json|text\/plain|application\/octet-stream)\s*(;|$)/i.test(contentType)
  );
}

async function readBounded(response: Response, maxBytes: number): Promise<Buffer | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) return null; // Leaving the loop cancels the rest.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function problem(failure: JsonFailure, words: string): JsonProblem {
  return { ...unparsed(words), failure };
}

/** The code of a network or TLS error, such as ECONNREFUSED: what the operator needs to know. */
function codeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' && /^\w{1,60}$/.test(cause.code) ? ` (${cause.code})` : '';
}
