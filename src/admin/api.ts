import type { IncomingMessage } from 'node:http';
import type { MaybePromise } from '../kernel/result.ts';
import { BearerTokenFile } from '../net/bearer_token_file.ts';
import { readBody } from '../net/read_body.ts';
import type { Log } from '../telemetry/log.ts';

/** One endpoint that only the holder of the API token reaches. */
export interface AdminEndpoint {
  /** What each method does; others are answered with 405. */
  readonly methods: Readonly<Record<string, (request: AdminRequest) => MaybePromise<AdminAnswer>>>;
  /** Bytes that the body of a request may have. */
  readonly maxBodyBytes: number;
}

/** An authenticated request whose body was read. */
export interface AdminRequest {
  /** Path without query, as it was sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Without parameters, lower case; null when there is none. */
  readonly contentType: string | null;
  readonly body: Buffer;
}

/** What is answered: JSON, or nothing but a status. */
export interface AdminAnswer {
  readonly status: number;
  readonly value?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The endpoints by exact path; a path that ends in `/` stands for every path with one more segment, one that ends in `/*` for all below it. */
export type AdminApi = Readonly<Record<string, AdminEndpoint>>;

/** Answers a request of the API; null when no endpoint has its path. */
export type AnswerApi = (request: IncomingMessage, path: string) => Promise<AdminAnswer> | null;

/**
 * The authenticated part of an admin port. Without a token file there is none: every path is unknown. The token is asked for before anything
 * of the request is looked at (RFC 6750 §2.1, §3).
 * @throws Error that names the token file and says what to do
 */
export function createAdminApi(api: AdminApi, tokenFile: string | undefined, log?: Log): AnswerApi {
  if (tokenFile === undefined) return () => null;
  const token = new BearerTokenFile(tokenFile, (problem) =>
    log?.error({ problem }, 'admin.api_token_file was replaced by something unusable; no token is good now'),
  );
  const endpoints = new Map(Object.entries(api));
  const trees = [...endpoints].filter(([place]) => place.endsWith('/*'));
  return (request, path) => {
    const endpoint =
      endpoints.get(path) ??
      endpoints.get(path.slice(0, path.lastIndexOf('/') + 1)) ??
      trees.find(([place]) => path.startsWith(place.slice(0, -1)))?.[1];
    if (endpoint === undefined) return null;
    return answer(endpoint, { request, path, token });
  };
}

interface Arrival {
  readonly request: IncomingMessage;
  readonly path: string;
  readonly token: BearerTokenFile;
}

async function answer(endpoint: AdminEndpoint, { request, path, token }: Arrival): Promise<AdminAnswer> {
  const verdict = token.judge(request.headers.authorization);
  if (verdict === 'unavailable') return { status: 503, value: { error: 'the API token cannot be read' } };
  if (verdict !== 'good') return unauthorized(verdict === 'wrong');
  const act = Object.hasOwn(endpoint.methods, request.method ?? '')
    ? endpoint.methods[request.method ?? '']
    : undefined;
  if (act === undefined) {
    return {
      status: 405,
      value: { error: 'method not allowed' },
      headers: { Allow: Object.keys(endpoint.methods).join(', ') },
    };
  }
  const body = await readBody(request, endpoint.maxBodyBytes);
  if (body === null) return { status: 413, value: { error: `expected at most ${endpoint.maxBodyBytes} bytes` } };
  const contentType = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? null;
  const query = new URLSearchParams((request.url ?? '').slice(path.length + 1));
  return act({ path, query, contentType, body });
}

/** RFC 6750 §3.1: no error code when no credential was presented. */
function unauthorized(wrong: boolean): AdminAnswer {
  const challenge = `Bearer realm="sallyport admin"${wrong ? ', error="invalid_token"' : ''}`;
  return {
    status: 401,
    value: { error: 'expected Authorization: Bearer with the API token' },
    headers: { 'WWW-Authenticate': challenge },
  };
}
