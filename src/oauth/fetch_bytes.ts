import { type ParseFailure, unparsed } from './parsed.ts';

/** One request for a document. */
export interface BytesRequest {
  readonly url: string;
  /** From the start to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Bytes of the answer, after decompression. */
  readonly maxBytes: number;
  /** What the content type must be; whether an answer without one is taken, the caller says too. */
  readonly isWanted: (contentType: string | null) => boolean;
  /** What is wanted, for the words about an answer that is not it. */
  readonly wanted: string;
  /** Statuses whose body is wanted; every other one is a failure. Default: 200. */
  readonly statuses?: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Present: a POST with this body; its content type stands in `headers`. */
  readonly body?: string;
  /** Ends the request early. */
  readonly signal?: AbortSignal;
  /** Told of status and header fields as soon as they are there, whatever becomes of the rest. */
  readonly onAnswer?: (response: Pick<Response, 'status' | 'headers'>) => void;
}

/** Why there is no document. */
export type FetchFailure = 'unreachable' | 'timeout' | 'redirected' | 'status' | 'content_type' | 'too_large';

/** The document, or why there is none. */
export type BytesAnswer = BytesDocument | FetchProblem<FetchFailure>;

/** A document that arrived whole. */
export interface BytesDocument {
  readonly ok: true;
  readonly status: number;
  readonly bytes: Buffer;
}

/** A failure, with words for the log that hold nothing of what the other side sent. */
export interface FetchProblem<Failure extends string> extends ParseFailure {
  readonly failure: Failure;
}

/**
 * Fetches a document, bounded in time and size. Redirects are not followed: what is fetched here decides whom to trust, and the
 * configured address is the one that was judged. Never rejects.
 */
export async function fetchBytes(request: BytesRequest): Promise<BytesAnswer> {
  const timeout = AbortSignal.timeout(request.timeoutMs);
  try {
    const response = await send(request, timeout);
    request.onAnswer?.(response);
    const refused = refusal(response, request);
    if (refused !== null) {
      await response.body?.cancel();
      return refused;
    }
    const bytes = await readBounded(response, request.maxBytes);
    if (bytes === null) return fetchProblem('too_large', `answered more than ${request.maxBytes} bytes`);
    return { ok: true, status: response.status, bytes };
  } catch (error) {
    if (timeout.aborted) return fetchProblem('timeout', `gave no answer within ${request.timeoutMs} ms`);
    return fetchProblem('unreachable', `cannot be reached${codeOf(error)}`);
  }
}

/** A failure in fixed words. */
export function fetchProblem<Failure extends string>(failure: Failure, words: string): FetchProblem<Failure> {
  return { ...unparsed(words), failure };
}

function send(request: BytesRequest, timeout: AbortSignal): Promise<Response> {
  return fetch(request.url, {
    method: request.body === undefined ? 'GET' : 'POST',
    // Uncompressed: these documents are small, and the bound below then holds for what travels too.
    headers: { 'accept-encoding': 'identity', ...request.headers },
    body: request.body ?? null,
    redirect: 'manual',
    signal: request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout]),
  });
}

function refusal(response: Response, request: BytesRequest): FetchProblem<FetchFailure> | null {
  const { status, headers } = response;
  if (status >= 300 && status < 400) return fetchProblem('redirected', `answered with a redirect (${status})`);
  if (!(request.statuses ?? [200]).includes(status)) return fetchProblem('status', `answered with status ${status}`);
  if (!request.isWanted(headers.get('content-type')))
    return fetchProblem('content_type', `answered with something that is not ${request.wanted}`);
  if (Number(headers.get('content-length')) > request.maxBytes) {
    return fetchProblem('too_large', `answered more than ${request.maxBytes} bytes`);
  }
  return null;
}

/** The body of an answer; null when it is longer. */
export async function readBounded(response: Response, maxBytes: number): Promise<Buffer | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) return null; // Leaving the loop cancels the rest.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The code of a network or TLS error, such as ECONNREFUSED: what the operator needs to know. */
export function codeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === 'string' && /^\w{1,60}$/.test(cause.code) ? ` (${cause.code})` : '';
}
