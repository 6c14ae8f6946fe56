import { HOP_BY_HOP } from '../kernel/fields.ts';

/** Answer fields that end here, lower case. */
const ENDS_HERE: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  // RFC 9449 §8.2: a nonce is for the server that gave it; the caller would sign the upstream's into its next proof for us.
  'dpop-nonce',
  // The upstream challenges the gateway's credential; the caller can do nothing about it and would take its own token for refused.
  'www-authenticate',
  'authentication-info',
  // RFC 7838 §2: would send the caller around the gateway.
  'alt-svc',
]);

/** Connection options that are the common case and name no field. */
const NAMES_NOTHING = /^(?:,\s*(?:keep-alive|close)\s*)*$/i;

/** What the caller's header list depends on besides the answer. */
export interface ResponseHeaderOptions {
  /** The gateway's name in Via and Proxy-Status. */
  readonly pseudonym: string;
  readonly decisionId: string;
  /** Protocol version of the upstream's answer. */
  readonly httpVersion: string;
  /** Obligation: fields to remove, lower case. */
  readonly remove: readonly string[];
  readonly status: number;
  /** Of the gateway itself, for the caller's next proof (RFC 9449 §8.2); null: none is due. */
  readonly nonce: string | null;
}

/**
 * The header fields that the caller gets, names and values in turn, repetitions, order and spelling kept. Null when the answer is framed in
 * a way that cannot be passed on (RFC 9112 §6.1: a transfer coding other than chunked, which nobody asked for).
 */
export function responseHeaders(raw: readonly (Buffer | string)[], options: ResponseHeaderOptions): string[] | null {
  const { remove, pseudonym, decisionId, httpVersion, status, nonce } = options;
  let headers: string[] = [];
  let connection = '';
  let chunked = false;
  let proxied = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i] as Buffer | string);
    const lower = name.toLowerCase();
    const value = latin1(raw[i + 1] as Buffer | string);
    if (ENDS_HERE.has(lower)) {
      if (lower === 'connection') connection += `,${value}`;
      if (lower !== 'transfer-encoding') continue;
      if (chunked || value.trim().toLowerCase() !== 'chunked') return null;
      chunked = true;
      continue;
    }
    // RFC 9110 §8.6: 204 carries no Content-Length.
    if (lower.startsWith('sallyport-') || (status === 204 && lower === 'content-length')) continue;
    if (remove.length > 0 && remove.includes(lower)) continue;
    proxied ||= lower === 'proxy-status';
    headers.push(name, value);
  }
  if (connection !== '') headers = withoutNamed(headers, connection);
  // RFC 9209 §2: what stands before the gateway's own member came from behind it.
  if (proxied) headers.push('Proxy-Status', pseudonym);
  // RFC 9110 §7.6.3: the version that the answer was received in.
  headers.push('Via', `${httpVersion} ${pseudonym}`, 'Sallyport-Decision-Id', decisionId);
  if (nonce !== null) headers.push('DPoP-Nonce', nonce);
  return headers;
}

/** RFC 9110 §7.6.1: less what the upstream's Connection names; framing is not its to name away. */
function withoutNamed(headers: string[], connection: string): string[] {
  if (NAMES_NOTHING.test(connection)) return headers;
  const named = new Set(connection.split(',').map((option) => option.trim().toLowerCase()));
  named.delete('content-length');
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (!named.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}

function latin1(text: Buffer | string): string {
  return typeof text === 'string' ? text : text.toString('latin1');
}
