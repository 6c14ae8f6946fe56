import { type BytesRequest, type FetchFailure, type FetchProblem, fetchBytes, fetchProblem } from './fetch_bytes.ts';
import { parseStrictJson } from './strict_json.ts';

/** One request for a JSON document. */
export type JsonRequest = Omit<BytesRequest, 'isWanted' | 'wanted'>;

/** Why there is no document. */
export type JsonFailure = FetchFailure | 'malformed';

/** The document, or why there is none. */
export type JsonAnswer = JsonDocument | JsonProblem;

/** A document that arrived whole and is strict JSON. */
export interface JsonDocument {
  readonly ok: true;
  readonly status: number;
  readonly value: unknown;
}

/** A failure, with words for the log that hold nothing of what the other side sent. */
export type JsonProblem = FetchProblem<JsonFailure>;

/** Fetches a JSON document under the rules of `fetchBytes`. Never rejects. */
export async function fetchJson(request: JsonRequest): Promise<JsonAnswer> {
  const headers = { accept: 'application/json', ...request.headers };
  const answer = await fetchBytes({ ...request, headers, isWanted: mayBeJson, wanted: 'JSON' });
  if (!answer.ok) return answer;
  const json = parseStrictJson(answer.bytes, request);
  return json.ok ? { ok: true, status: answer.status, value: json.value } : fetchProblem('malformed', json.problem);
}

/** Many servers of static files send keys as text or as bytes; a page for people is refused before it is read. */
function mayBeJson(contentType: string | null): boolean {
  return (
    contentType === null ||
    /^(application\/(.+\+)?json|text\/plain|application\/octet-stream)\s*(;|$)/i.test(contentType)
  );
}
