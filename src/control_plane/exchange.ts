import http, { type Agent, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';

/** One request to a service. */
export interface ExchangeRequest {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
  /** Milliseconds from the start to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Bytes of the answer. */
  readonly maxBytes: number;
  /** Ends the request early. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer that arrived whole, or why there is none, in words that hold nothing of what the other side sent. */
export type ExchangeAnswer =
  | {
      readonly ok: true;
      readonly status: number;
      readonly headers: IncomingHttpHeaders;
      readonly body: Buffer;
    }
  | { readonly ok: false; readonly problem: string };

/**
 * Sends one request and reads the answer, bounded in time and size. Redirects are not followed: where policies come from is configured.
 * Never rejects.
 */
export async function exchange(request: ExchangeRequest, agent: Agent): Promise<ExchangeAnswer> {
  const timeout = AbortSignal.timeout(request.timeoutMs);
  const signal = request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout]);
  try {
    const response = await send(request, agent, signal);
    const body = await readBounded(response, request.maxBytes);
    if (body === null) return { ok: false, problem: `answered more than ${request.maxBytes} bytes` };
    return { ok: true, status: response.statusCode ?? 0, headers: response.headers, body };
  } catch (error) {
    if (request.signal?.aborted === true) return { ok: false, problem: 'was not waited for' };
    if (timeout.aborted) return { ok: false, problem: `gave no whole answer within ${request.timeoutMs} ms` };
    return { ok: false, problem: `cannot be reached (${codeOf(error)})` };
  }
}

function send(request: ExchangeRequest, agent: Agent, signal: AbortSignal): Promise<IncomingMessage> {
  const { url, method, headers, body } = request;
  const client = url.startsWith('https:') ? https : http;
  const length = body === undefined ? {} : { 'content-length': String(body.length) };
  return new Promise((resolve, reject) => {
    client
      .request(url, { method, agent, signal, headers: { ...headers, ...length }, maxHeaderSize: 65_536 }, resolve)
      .on('error', reject)
      .end(body);
  });
}

async function readBounded(response: IncomingMessage, maxBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Leaving the loop ends the connection.
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The code of a network or TLS error, such as ECONNREFUSED: what the operator needs to know. */
function codeOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && /^\w{1,60}$/.test(code) ? code : 'unknown error';
}
