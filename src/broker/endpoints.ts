import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BearerTokenFile } from '../net/bearer_token_file.ts';
import type { Answer } from '../net/plain_server.ts';
import { hasBody, readBody } from '../net/read_body.ts';
import type { Log } from '../telemetry/log.ts';
import type { JobEnd } from './job_end.ts';
import type { Jobs } from './jobs.ts';
import { granted, type Outcome, type Refusal, refuse, refuseFor } from './refusal.ts';
import type { AuthorizationServer } from './server.ts';
import type { TokenEndpoint } from './token_endpoint.ts';

/** What the endpoints stand before. */
export interface EndpointsOptions {
  /** What jobs use, and sign: from the configuration, never from a header. */
  readonly origin: string;
  readonly server: AuthorizationServer;
  readonly tokens: TokenEndpoint;
  readonly ends: JobEnd;
  readonly jobs: Jobs;
  /** The engine's credential; null: it has none. */
  readonly engine: BearerTokenFile | null;
  readonly log: Log;
}

interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const METADATA = '/.well-known/sallyport-broker';
const END = /^\/jobs\/([\w-]{43})\/end$/;
const BODY_BYTES = 65_536;
const FORM = 'application/x-www-form-urlencoded';

/** The endpoints of the broker, each under its exact path: metadata, `POST /token`, `POST /jobs/{id}/end`. */
export function makeEndpoints(options: EndpointsOptions): Answer {
  return (request, response) => {
    answer(options, request)
      .catch((error: unknown) => {
        options.log.error({ err: error }, 'a request failed unexpectedly');
        return replyOf(refuse('unexpected'));
      })
      .then((reply) => send(request, response, reply))
      .catch(() => request.destroy());
  };
}

async function answer(options: EndpointsOptions, request: IncomingMessage): Promise<Reply> {
  // Exact: no second spelling of a path exists.
  const [path = ''] = (request.url ?? '').split('?', 1);
  const end = END.exec(path);
  if (path === METADATA) return allowed(request, ['GET', 'HEAD']) ?? describe(options);
  if (path === '/token') return allowed(request, ['POST']) ?? serveToken(options, request);
  if (end !== null) return allowed(request, ['POST']) ?? serveEnd(options, request, { id: end[1] ?? '', path });
  return replyOf(refuse('endpoint_unknown'));
}

function describe({ origin, server: { endpoints } }: EndpointsOptions): Reply {
  if (endpoints === null) return replyOf(refuseFor(2, 'server_unknown'));
  return {
    status: 200,
    headers: { 'cache-control': 'max-age=60' },
    body: {
      issuer: endpoints.issuer,
      token_endpoint: endpoints.token,
      broker_token_endpoint: `${origin}/token`,
      job_end_endpoint: `${origin}/jobs/{id}/end`,
      dpop_signing_alg_values_supported: endpoints.proofAlgorithms,
    },
  };
}

async function serveToken({ tokens }: EndpointsOptions, request: IncomingMessage): Promise<Reply> {
  const body = await readForm(request);
  if (!body.ok) return replyOf(body);
  const authorizations = fields(request, 'authorization');
  if (authorizations.length > 1) return replyOf(refuse('authorization_repeated'));
  const outcome = await tokens.serve({
    identityToken: /^bearer +([\w.~+/-]+=*)$/i.exec(authorizations[0] ?? '')?.[1] ?? null,
    proof: single(fields(request, 'dpop')),
    body: body.value,
  });
  if (!outcome.ok) return replyOf(outcome);
  const { nonce } = outcome.value;
  return { status: 200, body: outcome.value.body, ...(nonce !== null && { headers: { 'dpop-nonce': nonce } }) };
}

async function serveEnd(
  { ends, jobs, engine, origin }: EndpointsOptions,
  request: IncomingMessage,
  { id, path }: { readonly id: string; readonly path: string },
): Promise<Reply> {
  const body: Outcome<Buffer> = hasBody(request) ? await readForm(request) : granted(Buffer.alloc(0));
  if (!body.ok) return replyOf(body);
  const authorization = single(fields(request, 'authorization'));
  if (engine !== null && authorization !== null) {
    const verdict = engine.judge(authorization);
    if (verdict === 'unavailable') return replyOf(refuseFor(5, 'engine_token_unavailable'));
    if (verdict !== 'good') {
      const headers = { 'www-authenticate': 'Bearer realm="sallyport broker", error="invalid_token"' };
      return replyOf(refuse('engine_token_wrong', { headers }));
    }
    const job = jobs.find(id);
    if (job === undefined) return replyOf(refuse('job_unknown'));
    return { status: (await ends.end(job, 'engine', body.value)) ? 204 : 202 };
  }
  const job = await ends.authenticate(id, single(fields(request, 'dpop')), origin + path);
  if (!job.ok) return replyOf(job);
  return { status: (await ends.end(job.value, 'job', body.value)) ? 204 : 202 };
}

async function readForm(request: IncomingMessage): Promise<Outcome<Buffer>> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== FORM) return refuse('form_expected', { detail: `Content-Type: ${FORM}` });
  const body = await readBody(request, BODY_BYTES);
  return body === null ? refuse('body_too_large', { detail: `it may have ${BODY_BYTES} bytes` }) : granted(body);
}

/** The values of a field, each line by itself: node:http would join or drop them. */
function fields({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}

function single(values: readonly string[]): string | null {
  return values.length === 1 ? (values[0] ?? null) : null;
}

function allowed(request: IncomingMessage, methods: readonly string[]): Reply | null {
  if (methods.includes(request.method ?? '')) return null;
  const allow = methods.join(', ');
  return replyOf(refuse('method_not_allowed', { detail: `use ${allow}`, headers: { allow } }));
}

function replyOf({ reason, status, error, description, headers = {} }: Refusal): Reply {
  return { status, body: { error, error_description: description, reason: `broker.${reason}` }, headers };
}

function send(request: IncomingMessage, response: ServerResponse, { status, body, headers }: Reply): void {
  const text = body === undefined ? '' : JSON.stringify(body);
  // A body that was not read is in the way of the next request.
  if (hasBody(request) && !request.readableEnded) response.setHeader('connection', 'close');
  response.writeHead(status, {
    'cache-control': 'no-store', // RFC 6749 §5.1
    'x-content-type-options': 'nosniff',
    ...(text !== '' && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    ...(text === '' && status !== 204 && { 'content-length': 0 }),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}
