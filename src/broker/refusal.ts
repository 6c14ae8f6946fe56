/** Error codes of the broker's answers: those of RFC 6749 §5.2, RFC 8707 §2, RFC 9396 §14.6, RFC 9449 §5 and §8, and RFC 6750 §3.1. */
export type BrokerError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_token'
  | 'invalid_scope'
  | 'invalid_target'
  | 'invalid_authorization_details'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'unauthorized_client'
  | 'access_denied'
  | 'temporarily_unavailable'
  | 'server_error'
  | 'not_found'
  | 'method_not_allowed';

/** A request that is not served: what the job is told, in words that are never built from its input. */
export interface Refusal {
  readonly ok: false;
  readonly status: number;
  readonly error: BrokerError;
  /** A sentence for the person at the keyboard; characters of RFC 6749 §5.2. */
  readonly description: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A value, or a refusal. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | Refusal;

/** Wraps a value. */
export function granted<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

/** Refuses. */
export function refuse(status: number, error: BrokerError, description: string): Refusal {
  return { ok: false, status, error, description };
}

/** Refuses for now (RFC 9110 §15.6.4); `seconds`: when to ask again. */
export function unavailable(description: string, seconds: number): Refusal {
  const headers = { 'retry-after': String(seconds) };
  return { ok: false, status: 503, error: 'temporarily_unavailable', description, headers };
}

/** The bearer token of the request is missing or bad (RFC 6750 §3). */
export function unauthenticated(error: 'invalid_client' | 'invalid_token', description: string): Refusal {
  const headers = { 'www-authenticate': `Bearer error="${error}", error_description="${description}"` };
  return { ok: false, status: 401, error, description, headers };
}
