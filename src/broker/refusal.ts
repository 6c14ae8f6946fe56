import { BROKER_REASONS, type BrokerError, type BrokerReason } from './reasons.ts';

/** A request that is not served: what the job is told, in words that are never built from its input. */
export interface Refusal {
  readonly ok: false;
  readonly reason: BrokerReason;
  readonly status: number;
  readonly error: BrokerError;
  /** A sentence for the person at the keyboard; characters of RFC 6749 §5.2. */
  readonly description: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A value, or a refusal. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | Refusal;

/** What one refusal says beside its reason. */
interface Particulars {
  /** Fixed words that say which or why. */
  readonly detail?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Wraps a value. */
export function granted<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

/** Refuses. */
export function refuse(reason: BrokerReason, { detail, headers = {} }: Particulars = {}): Refusal {
  const { status, error, title } = BROKER_REASONS[reason];
  const description = `${detail === undefined ? title : `${title}: ${detail}`}.`;
  return { ok: false, reason, status, error, description, headers };
}

/** Refuses for now (RFC 9110 §10.2.3); `seconds`: when to ask again. */
export function refuseFor(seconds: number, reason: BrokerReason, detail?: string): Refusal {
  return refuse(reason, { headers: { 'retry-after': String(seconds) }, ...(detail !== undefined && { detail }) });
}

/** The bearer token of the request is missing or bad (RFC 6750 §3). */
export function unauthenticated(reason: BrokerReason, detail?: string): Refusal {
  const refusal = refuse(reason, detail === undefined ? {} : { detail });
  const { error, description } = refusal;
  return {
    ...refusal,
    headers: { 'www-authenticate': `Bearer error="${error}", error_description="${description}"` },
  };
}
