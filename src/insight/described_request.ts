import type { Catalogue } from '../config/catalogue.ts';
import { type Denial, deny } from '../kernel/denial.ts';
import { SHOWN_HEADERS } from '../policy/input.ts';
import type { PolicyInput } from '../policy/input_schema.ts';
import { createOperationIndex } from '../request/operation_index.ts';
import { readTarget } from '../request/target.ts';

/** A request as somebody tells of it; what is left out is as in the simplest token and job. */
export interface RequestDescription {
  readonly method: string;
  /** Path with query, as it would be sent. */
  readonly target: string;
  readonly catalogue: Catalogue;
  readonly scopes: readonly string[];
  readonly details: readonly Readonly<Record<string, unknown>>[];
  readonly claims: Readonly<Record<string, unknown>>;
  /** Members of the job; absent for a token that names none. */
  readonly job?: Readonly<Record<string, unknown>>;
  /** Scheme and authority that callers use. */
  readonly origin: string;
  /** The audience of the token (RFC 8707). */
  readonly resource: string;
  /** Header fields of the request, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed JSON; absent where the route does not show it. */
  readonly body?: unknown;
  /** Seconds since the Unix epoch. */
  readonly time: number;
}

const NO_JOB: NonNullable<PolicyInput['job']> = {
  provider: null,
  repository: null,
  repository_id: null,
  workflow: null,
  ref: null,
  ref_protected: null,
  environment: null,
  event: null,
  run_id: null,
  actor: null,
  runner: null,
  claims: {},
};

/** How long a described token lives, in seconds. */
const TOKEN_SECONDS = 300;

/** Makes the input document of a described request. The target is read, and the operation found, by the gateway's own code. */
export function describeInput(
  description: RequestDescription,
): { readonly input: PolicyInput } | { readonly denial: Denial } {
  const { method, catalogue, time, job } = description;
  const read = readTarget(description.target);
  if (!read.ok) return { denial: read.denial };
  // Deviations that a route may allow by name are not described.
  if (read.value.needs !== 0) return { denial: deny('request.target_ambiguous').denial };
  const { queryParameters, segments } = read.value.target;
  const rawHeaders = Object.entries(description.headers).flat();
  const found = createOperationIndex(catalogue).find(method, segments, { queryParameters, rawHeaders });
  const operation = found && {
    service: found.service,
    name: found.name,
    resource: found.resource,
    params: { ...found.params },
    access: found.access,
    scopes: found.scopes,
    authorization_details_type: found.authorizationDetailsType,
  };
  return {
    input: {
      version: 1,
      request: requestPart(description, read.value.target),
      operation,
      client: { id: 'described', auth_method: null },
      token: tokenPart(description, time),
      job: job === undefined ? null : { ...NO_JOB, ...withTextIds(job) },
    },
  };
}

/** The ids of a job are texts, also where somebody writes them as numbers: so the gateway reads them from a token. */
function withTextIds(job: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(job).map(([name, value]) => [name, Number.isSafeInteger(value) ? String(value) : value]),
  );
}

function requestPart(
  { method, origin, resource, body, headers, time }: RequestDescription,
  target: { path: string; segments: readonly string[]; queryParameters: Readonly<Record<string, readonly string[]>> },
): PolicyInput['request'] {
  return {
    id: 'described',
    time,
    route: 'described',
    method,
    host: new URL(origin).hostname,
    origin,
    resource,
    path: target.path,
    segments: target.segments,
    query: { ...target.queryParameters },
    headers: Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) => (SHOWN_HEADERS.has(name) ? [[name, [value]]] : [])),
    ),
    body: body ?? null,
    body_state: body === undefined ? 'not_requested' : 'parsed',
    peer_address: '192.0.2.1',
  };
}

function tokenPart({ scopes, details, claims, resource }: RequestDescription, time: number): PolicyInput['token'] {
  return {
    kind: 'jwt',
    issuer: 'https://as.example.com',
    subject: 'described',
    audience: [resource],
    jti: 'described',
    issued_at: time,
    expires_at: time + TOKEN_SECONDS,
    scopes,
    authorization_details: details,
    claims,
    binding: { method: 'dpop', thumbprint: null },
  };
}
