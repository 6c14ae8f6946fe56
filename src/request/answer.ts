import type { Route } from '../kernel/context.ts';
import { type Denial, REASONS, type Reason, type Requirements } from '../kernel/denial.ts';
import { type ChallengeInput, challengesFor, type DetailsChallenge } from './challenge.ts';
import { proxyStatusOf } from './proxy_status.ts';

/** A refusal to be answered. */
export interface Refusal extends ChallengeInput {
  /** Names the decision in the answer and in the record. */
  readonly decisionId: string;
  /** As received; HEAD is answered without a body. */
  readonly method: string;
  /** For `DPoP-Nonce`: what the caller's next proof should carry. Absent: nothing is said. */
  readonly nonce?: string | undefined;
  /** Ask for the connection to be closed: part of the request is unread and will not be. Some reasons close it in any case. */
  readonly close?: boolean;
}

/** An answer, ready to be written. */
export interface Answer {
  readonly status: number;
  /** Names and values in turn, as `writeHead` takes them. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** What answers are made with. */
export interface AnswersOptions {
  /** Signature algorithms that proofs may use. */
  readonly algorithms: readonly string[];
  readonly routes: readonly Route[];
  /** Whether a client certificate can reach the gateway at all. */
  readonly certificates: boolean;
  /** How insufficient authorization_details are answered. Absent: 403 insufficient_authorization_details. */
  readonly authorizationDetails?: DetailsChallenge;
}

/** After these it is not certain where the next request would begin, or whether the caller still listens (RFC 9112 §6.3, §9.6). */
const CLOSING: ReadonlySet<Reason> = new Set<Reason>([
  'request.malformed',
  'request.framing',
  'request.header_malformed',
  'request.header_repeated',
  'request.too_many_headers',
  'request.headers_too_large',
  'request.host_malformed',
  'request.timeout',
  'request.expectation_unsupported',
  'request.body_too_large',
  'request.body_unreadable',
  'gateway.overloaded',
]);

const MAXIMUM_REASONS = 16;
const MAXIMUM_MESSAGE = 512;
const MAXIMUM_FIELD = 2048;
/** Characters of JSON; a policy that asks for more is told of in its record. */
const MAXIMUM_REQUIREMENTS = 16_384;

/**
 * Makes the answers to refusals: status, challenge and problem document (RFC 9457) from the row of the reason. The caller reads fixed words,
 * configuration, the policy's words, and, when a stage disclosed them to the holder of the key, what was expected and what was seen.
 */
export function createAnswers(options: AnswersOptions): (refusal: Refusal) => Answer {
  const { algorithms, certificates, routes, authorizationDetails } = options;
  const everyMethod = [...new Set(routes.flatMap((route) => route.methods))].join(', ');
  return (refusal) => {
    const { denial, route, decisionId, method } = refusal;
    const details = denial.reason === 'policy.insufficient_authorization_details' ? authorizationDetails : undefined;
    const status = details?.status ?? REASONS[denial.reason].status;
    const body = `${JSON.stringify(problemOf(denial, decisionId, status))}\n`;
    const headers = [
      'Content-Type',
      'application/problem+json',
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Cache-Control',
      'no-store',
      'Proxy-Status',
      proxyStatusOf(denial.reason),
    ];
    for (const challenge of challengesFor(refusal, { algorithms, certificates, details }))
      headers.push('WWW-Authenticate', challenge);
    if (refusal.nonce !== undefined) headers.push('DPoP-Nonce', refusal.nonce); // RFC 9449 §8.1: one value.
    // RFC 9110 §15.5.6; where no route is known, whatever some route takes.
    if (status === 405) headers.push('Allow', route === null ? everyMethod : route.methods.join(', '));
    // RFC 6585 §4, RFC 9110 §10.2.3.
    if (status === 503 || status === 429)
      headers.push('Retry-After', String(Math.max(1, Math.ceil(denial.retryAfterSeconds ?? 1))));
    if (refusal.close === true || CLOSING.has(denial.reason)) headers.push('Connection', 'close');
    // RFC 9110 §9.3.2: the same header fields as for GET, Content-Length included.
    return { status, headers, body: method === 'HEAD' ? '' : body };
  };
}

/** RFC 9457 §3. `type` identifies the reason; it is a name, not an address to be fetched. */
function problemOf(denial: Denial, decisionId: string, status: number): Record<string, unknown> {
  const { title, advice } = REASONS[denial.reason];
  const problem: Record<string, unknown> = {
    type: `urn:sallyport:reason:${denial.reason}`,
    title,
    status,
    detail: advice,
    reason: denial.reason,
    decision_id: decisionId,
  };
  const { disclosure, requires, policyReasons } = denial;
  if (disclosure !== undefined) {
    problem['expected'] = bounded(disclosure.expected);
    problem['seen'] = bounded(disclosure.seen);
  }
  if (requires !== undefined) problem['required'] = requiredOf(requires);
  if (policyReasons !== undefined && policyReasons.length > 0) {
    problem['policy_reasons'] = policyReasons.slice(0, MAXIMUM_REASONS).map(({ code, message }) => ({
      code: code.slice(0, MAXIMUM_MESSAGE),
      ...(message === undefined ? {} : { message: message.slice(0, MAXIMUM_MESSAGE) }),
    }));
  }
  return problem;
}

function requiredOf(requires: Requirements): Requirements {
  return Object.fromEntries(Object.entries(requires).filter(([, value]) => fits(value)));
}

function fits(value: unknown): boolean {
  return JSON.stringify(value).length <= MAXIMUM_REQUIREMENTS;
}

function bounded(fields: Readonly<Record<string, string | number>>): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, MAXIMUM_FIELD) : value,
    ]),
  );
}
