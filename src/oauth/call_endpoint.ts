import { codeOf, readBounded } from './fetch_bytes.ts';
import { parseStrictJson } from './strict_json.ts';

/** One request to an endpoint of an authorization server that answers with JSON, also when it refuses. */
export interface EndpointCall {
  readonly url: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** From the start to the last byte of the answer. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** What came back, or why nothing did. */
export type EndpointAnswer = EndpointReply | EndpointSilence;

/** An answer, whatever it says. */
export interface EndpointReply {
  readonly ok: true;
  readonly status: number;
  readonly headers: Headers;
  /** Of strict JSON; null when there is no body, or another. */
  readonly value: unknown;
}

/** No answer that could be read. Fixed words for the log, that hold nothing of what the other side sent. */
export interface EndpointSilence {
  readonly ok: false;
  readonly why: 'unreachable' | 'timeout' | 'redirected' | 'too_large';
  readonly problem: string;
}

/** Bytes of an answer. */
const MAX_BYTES = 262_144;
const MAX_DEPTH = 16;

/** Calls an endpoint, bounded in time and size. Redirects are not followed: what is sent is a credential for this address. Never rejects. */
export async function callEndpoint(call: EndpointCall): Promise<EndpointAnswer> {
  const timeout = AbortSignal.timeout(call.timeoutMs);
  try {
    const response = await fetch(call.url, {
      method: call.method,
      headers: { accept: 'application/json', 'accept-encoding': 'identity', ...call.headers },
      body: call.body ?? null,
      redirect: 'manual',
      signal: call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]),
    });
    const { status, headers } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return silence('redirected', `answered with a redirect (${status})`);
    }
    const bytes = await readBounded(response, MAX_BYTES);
    if (bytes === null) return silence('too_large', `answered more than ${MAX_BYTES} bytes`);
    const json = parseStrictJson(bytes, { maxBytes: MAX_BYTES, maxDepth: MAX_DEPTH });
    return { ok: true, status, headers, value: json.ok ? json.value : null };
  } catch (error) {
    if (timeout.aborted) return silence('timeout', `gave no answer within ${call.timeoutMs} ms`);
    return silence('unreachable', `cannot be reached${codeOf(error)}`);
  }
}

/** Seconds that a Retry-After asks to wait (RFC 9110 §10.2.3), 1 to `most`; null when there is none. */
export function retryAfterOf(headers: Headers, nowMs: number, most: number): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  // RFC 9110 §5.6.7: every form of a date begins with the name of a day; what else Date.parse takes is none.
  const date = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN;
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : (date - nowMs) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 1), most) : null;
}

function silence(why: EndpointSilence['why'], problem: string): EndpointSilence {
  return { ok: false, why, problem };
}
