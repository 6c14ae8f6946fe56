import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer } from '../net/plain_server.ts';
import type { Log } from '../telemetry/log.ts';
import type { AuthServerCounts } from './authserver_metrics.ts';
import type { CertificateReader, PresentedCertificate } from './certificate.ts';
import { readForm } from './form.ts';
import { ENDPOINTS, GRANT_TYPES, INNER_GRANTS } from './metadata.ts';
import type { Door } from './provider.ts';
import type { RegistrationEndpoint } from './registration_endpoint.ts';

/** What answers. */
export interface EndpointParts {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly door: Door;
  readonly counts: AuthServerCounts;
  /** Whether there is anybody who may ask about tokens. */
  readonly introspection: boolean;
  /** The public keys (RFC 7517 §5). */
  readonly publishedKeys: () => Promise<readonly object[]>;
  /** The client that an assertion without `client_id` speaks for; null where none or several could be meant. */
  readonly clientOfAssertion: (assertion: string) => string | null;
  readonly certificateOf: CertificateReader;
  /** Null: nobody can register. */
  readonly registration: RegistrationEndpoint | null;
  readonly log: Log;
}

interface Endpoint {
  readonly methods: readonly string[];
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
}

const READ = ['GET', 'HEAD'];
/** Seconds that resource servers may keep the keys: less than the next one is published before it signs. */
const KEYS_AGE = 300;

/**
 * The endpoints that exist, each under its exact path. oidc-provider has more routes than this server has uses; it sees requests of the door's
 * making only.
 */
export function makeEndpoints(parts: EndpointParts): Answer {
  const metadata = JSON.stringify(parts.metadata);
  const { registration } = parts;
  const endpoints = new Map<string, Endpoint>([
    [ENDPOINTS.token, { methods: ['POST'], answer: (request, response) => askForToken(request, response, parts) }],
    [ENDPOINTS.revocation, knock('revocation', parts)],
    [
      ENDPOINTS.jwks,
      {
        methods: READ,
        answer: async (_request, response) => {
          const keys = JSON.stringify({ keys: await parts.publishedKeys() });
          sendJson(response, { body: keys, caching: `max-age=${KEYS_AGE}` });
        },
      },
    ],
    [
      ENDPOINTS.metadata,
      { methods: READ, answer: (_request, response) => sendJson(response, { body: metadata, caching: 'max-age=300' }) },
    ],
  ]);
  if (parts.introspection) endpoints.set(ENDPOINTS.introspection, knock('introspection', parts));
  if (registration !== null) {
    endpoints.set(ENDPOINTS.registration, {
      methods: ['POST'],
      answer: (request, response) => registration.register(request, response),
    });
  }
  const find = (path: string): Endpoint | undefined =>
    endpoints.get(path) ?? (registration === null ? undefined : managed(path, registration));
  return (request, response) => {
    // Exact: RFC 3986 §6.2.1 comparison, so that no second spelling of a path exists; a full URL as target matches nothing.
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const endpoint = find(path);
    response.once('finish', () => parts.counts.request(nameOf(path, endpoint !== undefined), response.statusCode));
    if (endpoint === undefined) return sendError(response, 404, 'not_found');
    if (!endpoint.methods.includes(request.method ?? '')) {
      response.setHeader('allow', endpoint.methods.join(', '));
      return sendError(response, 405, 'method_not_allowed');
    }
    void answerSafely(endpoint, { request, response, log: parts.log });
  };
}

/** The endpoint as metrics name it: not by the path, which anybody can make up. */
function nameOf(path: string, known: boolean): string {
  if (!known) return 'unknown';
  return Object.entries(ENDPOINTS).find(([, place]) => place === path)?.[0] ?? 'client_configuration';
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly log: Log;
}

/** What nobody expected is an answer too, and a line in the log. */
async function answerSafely(endpoint: Endpoint, { request, response, log }: Exchange): Promise<void> {
  try {
    await endpoint.answer(request, response);
  } catch (error) {
    if (response.headersSent || response.destroyed) return void response.destroy();
    log.error({ err: error }, 'authorization server failed');
    sendError(response, 500, 'server_error');
  }
}

/** RFC 7592 §1.1: one address for each registered client, of characters that need no escaping. */
function managed(path: string, registration: RegistrationEndpoint): Endpoint | undefined {
  const prefix = `${ENDPOINTS.registration}/`;
  const clientId = path.slice(prefix.length);
  if (!path.startsWith(prefix) || !/^[A-Za-z0-9_-]{1,128}$/.test(clientId)) return undefined;
  return {
    methods: ['GET', 'PUT', 'DELETE'],
    answer: (request, response) => registration.manage(request, response, clientId),
  };
}

function knock(endpoint: keyof typeof INNER_GRANTS, parts: EndpointParts): Endpoint {
  return {
    methods: ['POST'],
    answer: async (request, response) => {
      const knocking = await readKnock(request, response, parts);
      if (knocking === null) return;
      knocking.form.set('grant_type', INNER_GRANTS[endpoint]);
      parts.door(request, response, knocking);
    },
  };
}

async function askForToken(request: IncomingMessage, response: ServerResponse, parts: EndpointParts): Promise<void> {
  const knocking = await readKnock(request, response, parts);
  if (knocking === null) return;
  const { form } = knocking;
  const grants: readonly string[] = Object.values(INNER_GRANTS);
  if (form.getAll('grant_type').some((grant) => grants.includes(grant)))
    return sendError(response, 400, 'unsupported_grant_type');
  nameClient(form, parts);
  parts.door(request, response, knocking);
}

/** RFC 7523 §2.1: a client that authenticates in no other way need not name itself, since the assertion says who it is. */
function nameClient(form: URLSearchParams, { clientOfAssertion }: EndpointParts): void {
  const assertion =
    form.get('grant_type') === GRANT_TYPES.jwtBearer ? form.get('assertion') : form.get('subject_token');
  if (assertion === null || form.has('client_id') || form.has('client_assertion')) return;
  const clientId = clientOfAssertion(assertion);
  if (clientId !== null) form.set('client_id', clientId);
}

/** The form and the certificate of a request; null where it was answered, or the caller went away in the middle. */
async function readKnock(
  request: IncomingMessage,
  response: ServerResponse,
  { certificateOf }: EndpointParts,
): Promise<{ form: URLSearchParams; certificate: PresentedCertificate | null } | null> {
  const form = await readForm(request).catch(() => null);
  if (form === null) return null;
  const certificate = certificateOf(request);
  if (form.ok && certificate.ok) return { form: form.value, certificate: certificate.value };
  const problem = [form, certificate].flatMap((part) => (part.ok ? [] : [part.problem]));
  response.setHeader('connection', 'close');
  sendError(response, 400, { error: 'invalid_request', error_description: problem.join('; ') });
  return null;
}

/** Answers with an error in the form of RFC 6749 §5.2. */
export function sendError(response: ServerResponse, status: number, error: string | Record<string, string>): void {
  sendJson(response, { status, body: JSON.stringify(typeof error === 'string' ? { error } : error) });
}

/** Answers with JSON text that must not be stored, unless `caching` says otherwise. */
export function sendJson(
  response: ServerResponse,
  { status = 200, body, caching = 'no-store' }: { status?: number; body: string; caching?: string },
): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': caching,
    'x-content-type-options': 'nosniff',
  });
  // For HEAD, Node.js sends the headers and leaves the body out.
  response.end(body);
}
